"""What a file is: told by its content alone, and without decoding what may be huge."""

import asyncio
import codecs
import io
import re
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final

from runnel.chat.attachments.ports import Examined
from runnel.chat.text import clean
from runnel.errors import Code, RunnelError
from runnel.files.pdf import PdfTexts

#: As many as puremagic looks at, and more.
_HEAD_BYTES: Final = 4096
#: Between two of them other threads get their turn.
_PIECE_BYTES: Final = 64 * 1024
#: The header of a picture, with all that may stand before its pixels. A file that is nothing but
#: comments would be read for seconds.
_HEADER_BYTES: Final = 1024 * 1024
_PDF: Final = "application/pdf"
_WEBP: Final = "image/webp"
_IMAGES: Final = frozenset({"image/png", "image/jpeg", _WEBP, "image/gif"})
_TEXTS: Final = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".csv": "text/csv",
    ".json": "application/json",
}
_ENCODINGS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
#: What no text has: all controls but tab, line feed, form feed and carriage return.
_BINARY: Final = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")


class Kinds:
    """Implements chat.attachments.ports.Examiner."""

    def __init__(self, pdfs: PdfTexts, *, max_pixels: int, max_characters: int) -> None:
        self._pdfs = pdfs
        self._max_pixels = max_pixels
        self._max_characters = max_characters

    async def examine(self, name: str, file: BinaryIO) -> Examined:
        kind = await asyncio.to_thread(_magic, file)
        if kind == _PDF:
            text = await self._pdfs.text(file)
            return Examined(_PDF, characters=len(text), text=text)
        # A text may begin as a picture does; no picture is a text to its end.
        found = await asyncio.to_thread(self._as_text, name, file)
        if found is None and kind is not None:
            found = await asyncio.to_thread(self._as_image, kind, file)
        if found is None:
            raise _unfit(
                "Attachments are pictures (PNG, JPEG, WebP, GIF), PDFs, and texts in UTF-8 or"
                " UTF-16 (as Markdown, CSV, JSON); this file is none of them."
            )
        return found

    def _as_text(self, name: str, file: BinaryIO) -> Examined | None:
        file.seek(0)
        piece = file.read(_PIECE_BYTES)
        encoding = next(
            (name for bom, name in _ENCODINGS.items() if piece.startswith(bom)), "utf-8"
        )
        decoder = codecs.getincrementaldecoder(encoding)()
        pieces: list[str] = []
        characters = 0
        try:
            while piece:
                pieces.append(decoder.decode(piece))
                if _BINARY.search(pieces[-1]):
                    return None
                characters += len(pieces[-1])
                if characters > self._max_characters:
                    raise self._too_long()
                piece = file.read(_PIECE_BYTES)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return None
        given = "".join(pieces)
        text = clean(given)
        if not text.strip():
            raise _unfit("There is no text in the file.")
        return Examined(
            _TEXTS.get(PurePosixPath(name).suffix.lower(), "text/plain"),
            characters=len(text),
            text=None if encoding == "utf-8" and text == given else text,
        )

    def _as_image(self, kind: str, file: BinaryIO) -> Examined:
        file.seek(0)
        # Of a WebP the library reads the container to its end, as that says what is where.
        header = io.BytesIO(file.read() if kind == _WEBP else file.read(_HEADER_BYTES))
        from runnel.files import pictures  # noqa: PLC0415 - many a server is never given one

        try:
            width, height = pictures.size(kind, header)
        except pictures.DecompressionBombError:
            raise self._too_many_pixels("far more") from None
        except Exception:  # noqa: BLE001 - a broken header makes the library raise anything
            raise _unfit("The picture cannot be read: its header is broken.") from None
        if width * height > self._max_pixels:
            raise self._too_many_pixels(f"{width} × {height}")
        return Examined(kind, width=width, height=height)

    def _too_many_pixels(self, how_many: str) -> RunnelError:
        return RunnelError(
            Code.PAYLOAD_TOO_LARGE,
            f"The picture has {how_many} pixels; {self._max_pixels} are allowed.",
            field="file",
        )

    def _too_long(self) -> RunnelError:
        return RunnelError(
            Code.PAYLOAD_TOO_LARGE,
            f"The text has more than {self._max_characters} characters.",
            field="file",
        )


def _magic(file: BinaryIO) -> str | None:
    """Which of the kinds that are no text a file begins as. Raises RunnelError for an empty one."""
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if not head:
        raise _unfit("The file is empty.")
    import puremagic  # noqa: PLC0415 - as said

    try:
        found: list[Any] = puremagic.magic_string(head)  # pyright: ignore[reportUnknownMemberType] - it is half typed
    except puremagic.PureError:
        return None
    kinds = [str(each.mime_type) for each in found]
    return next((kind for kind in kinds if kind == _PDF or kind in _IMAGES), None)


def _unfit(message: str) -> RunnelError:
    return RunnelError(Code.INVALID_REQUEST, message, field="file")
