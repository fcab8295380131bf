"""How attachments stand in the turns of a prompt, as far as its budget goes."""

import html
import math
import re
from dataclasses import replace
from typing import Final

from runnel.chat.attachments.contents import Contents
from runnel.chat.entities import Attachment, Image, Turn
from runnel.chat.text import BYTES_PER_TOKEN, estimate_tokens

#: Less of a document than this says nothing.
_LEAST_BYTES: Final = 256
#: As far as is known, Anthropic's models scale pictures down to this longest edge, and count a
#: token for so many pixels, some 1600 at most. For all others it is an estimate.
_LONGEST_EDGE: Final = 1568
_PIXELS_PER_TOKEN: Final = 750
_MOST_IMAGE_TOKENS: Final = 1600
_CLOSING: Final = re.compile("</(?=attachment)", re.IGNORECASE)


class Room:
    """What is `left` of a budget of tokens; how many attachments were `given`, and `cut` of these.

    Without `images` the model takes none.
    """

    def __init__(self, tokens: int, contents: Contents, *, images: bool) -> None:
        self.left = tokens
        self.given = 0
        self.cut = 0
        self._contents = contents
        self._images = images

    def enclose(self, turn: Turn) -> Turn:
        """The turn with what there is room for of its attachments, before its own text."""
        if not turn.attachments:
            return turn
        own = replace(turn, attachments=())
        parts = [part for each in turn.attachments if (part := self._part(each)) is not None]
        if not parts:
            return own
        texts = [part for part in parts if isinstance(part, str)]
        text = "\n\n".join([*texts, turn.text])
        if len(texts) == len(parts):
            return replace(own, text=text)
        return replace(own, text=text, parts=[*parts, turn.text])

    def _part(self, attachment: Attachment) -> str | Image | None:
        part = self._image(attachment) if attachment.is_image else self._document(attachment)
        self.given += part is not None
        return part

    def _image(self, attachment: Attachment) -> Image | None:
        url = self._contents.images.get(attachment.id)
        weight = image_tokens(attachment.width or 0, attachment.height or 0)
        if url is None or not self._images or weight > self.left:
            return None
        self.left -= weight
        return Image(url)

    def _document(self, attachment: Attachment) -> str | None:
        read = self._contents.texts.get(attachment.id)
        if read is None:
            return None
        characters = attachment.characters or 0
        shown = _tagged(attachment, read)
        if len(read) < characters or estimate_tokens(shown) > self.left:
            around = len(_tagged(attachment, _cut_note(characters, characters)).encode())
            most_bytes = self.left * BYTES_PER_TOKEN - around
            if most_bytes < _LEAST_BYTES:
                return None
            # Marks that would end it too early grow by a byte each.
            kept = _harmless(read).encode()[:most_bytes].decode(errors="ignore")
            shown = _tagged(attachment, kept + _cut_note(len(kept), characters))
            self.cut += 1
        self.left -= estimate_tokens(shown)
        return shown


def image_tokens(width: int, height: int) -> int:
    """About how many tokens a picture is."""
    scale = min(1, _LONGEST_EDGE / max(width, height, 1))
    return min(_MOST_IMAGE_TOKENS, math.ceil(width * height * scale**2 / _PIXELS_PER_TOKEN))


def _tagged(attachment: Attachment, text: str) -> str:
    name = html.escape(attachment.name)
    return f'<attachment name="{name}">\n{_harmless(text)}\n</attachment>'


def _harmless(text: str) -> str:
    """A document cannot end itself and speak on as if it were the question."""
    return _CLOSING.sub(r"<\\/", text)


def _cut_note(shown: int, characters: int) -> str:
    return f"\n[Cut here: {shown} of {characters} characters are shown.]"
