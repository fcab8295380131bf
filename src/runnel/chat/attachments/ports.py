"""What the chat core needs of whoever keeps attachments, and of whoever can tell what they are."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from runnel.chat.entities import Attachment


@dataclass(frozen=True, slots=True)
class Examined:
    """What a file is, by its content. A picture has a size in pixels, a document `characters`.

    `text` is a document's text, cleaned, where the file's own bytes are not just that in UTF-8.
    """

    media_type: str
    width: int | None = None
    height: int | None = None
    characters: int | None = None
    text: str | None = None


class Examiner(Protocol):
    """Tells what files are."""

    async def examine(self, name: str, file: BinaryIO) -> Examined:
        """By the content; the name only tells kinds of text apart.

        Raises RunnelError `invalid_request` for what is not taken, `payload_too_large` for what
        has too many pixels or too much text, `overloaded`.
        """
        ...


class AttachmentFiles(Protocol):
    """Keeps bytes outside the database, by the ids that the store made.

    Raises RunnelError `store_unavailable` where the disk fails.
    """

    async def write(self, attachment_id: str, file: BinaryIO, text: str | None) -> None:
        """Keeps a file whole or not at all, and beside it its text, where that differs."""
        ...

    async def read(
        self, attachment_id: str, begin: int = 0, most_bytes: int | None = None
    ) -> bytes | None:
        """A file as it was given, or so much of it from there on; None if it is not there."""
        ...

    async def read_text(self, attachment_id: str, most_characters: int) -> str | None:
        """The beginning of a document's text, at most so much; None if it is not there."""
        ...

    async def delete(self, attachment_ids: Collection[str]) -> None:
        """Forgets files; those that are not there are passed over."""
        ...


class AttachmentStore(Protocol):
    """What is known of attachments. Every call is one short transaction.

    Raises RunnelError `store_unavailable` if the database is away.
    """

    async def add(self, user_id: str, attachment: Attachment, most_bytes: int) -> None:
        """A new one, of no session yet.

        Raises RunnelError `payload_too_large` where the user would have more than `most_bytes`
        then, and `unauthorized` where there is no such user any more.
        """
        ...

    async def refuse_leaving(self, user_id: str) -> None:
        """Raises RunnelError `conflict` while a user's account is being deleted, `unauthorized` if
        it is gone.
        """
        ...

    async def find(self, user_id: str, attachment_id: str) -> Attachment | None:
        """A user's own; None if it does not exist or is another's."""
        ...

    async def delete(self, attachment_ids: Collection[str]) -> None:
        """Messages lose what is deleted."""
        ...

    async def unused(self, before: datetime, most: int) -> Sequence[str]:
        """Those that no question has used and that were made before, oldest first."""
        ...
