"""What is in the attachments of a talk, read before a prompt is fitted, and within bounds."""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from runnel.chat.attachments.ports import AttachmentFiles
from runnel.chat.entities import Attachment, Turn
from runnel.errors import RunnelError

_log = structlog.stdlib.get_logger()
#: Of the pictures of one prompt together; in a request they take a third more.
MOST_IMAGE_BYTES: Final = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Contents:
    """By ids: the beginnings of documents' texts, and pictures as `data:` URLs."""

    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    images: Mapping[str, str] = field(default_factory=dict[str, str])


NOTHING: Final = Contents()


async def contents_of(
    files: AttachmentFiles, turns: Sequence[Turn], *, most_characters: int, images: bool
) -> Contents:
    """Of the newest turns first: so many characters, and with `images` the pictures that have room.

    What cannot be read is left out, and logged.
    """
    texts: dict[str, str] = {}
    pictures: dict[str, str] = {}
    most_bytes = MOST_IMAGE_BYTES
    for each in _newest(turns):
        if not each.is_image and most_characters > 0:
            text = await _text(files, each, most_characters)
            if text is not None:
                texts[each.id] = text
                most_characters -= len(text)
        elif each.is_image and images and each.bytes <= most_bytes:
            picture = await _picture(files, each)
            if picture is not None:
                pictures[each.id] = picture
                most_bytes -= each.bytes
    return Contents(texts, pictures)


def _newest(turns: Sequence[Turn]) -> Sequence[Attachment]:
    """Each once, however many turns have it."""
    newest = [each for turn in reversed(turns) for each in turn.attachments]
    return list({each.id: each for each in newest}.values())


async def _text(files: AttachmentFiles, attachment: Attachment, most: int) -> str | None:
    try:
        text = await files.read_text(attachment.id, most)
    except RunnelError:  # it is logged by whoever raises it
        return None
    return text if text is not None else _missing(attachment)


async def _picture(files: AttachmentFiles, attachment: Attachment) -> str | None:
    try:
        content = await files.read(attachment.id)
    except RunnelError:
        return None
    if content is None:
        return _missing(attachment)
    encoded = await asyncio.to_thread(base64.b64encode, content)
    return f"data:{attachment.media_type};base64,{encoded.decode()}"


def _missing(attachment: Attachment) -> None:
    _log.warning("attachment.missing", attachment_id=attachment.id)
