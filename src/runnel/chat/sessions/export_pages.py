"""What an export reads, a page at a time: the port, and the ways through sessions that it allows.

No page is larger than its bounds, and nothing is held between two of them but the cursor.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from runnel.chat.entities import Role, SessionRef
from runnel.chat.sessions.records import AttachmentRecord, MessageRecord, SessionRecord
from runnel.errors import Code, RunnelError

#: Rows of a page, at most; one whose texts are long ends earlier, and the next asks for fewer.
MOST_ROWS: Final = 200
_FIRST_ROWS: Final = 50


@dataclass(frozen=True, slots=True)
class Whole:
    """A session, and what it held at that moment: later messages are of another export.

    Without this bound, a branch that grows meanwhile could be told without its beginning.
    """

    session: SessionRecord
    message_count: int
    last_message_id: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended, in the order of depths and, within one, of ids."""

    depth: int
    id: str


@dataclass(frozen=True, slots=True)
class Messages:
    """A page of messages; `following` is None behind the last. `files` names their attachments."""

    messages: Sequence[MessageRecord]
    following: Place | None
    files: Mapping[str, AttachmentRecord] = field(default_factory=dict[str, AttachmentRecord])


@dataclass(frozen=True, slots=True)
class Fork:
    """A message that a branch other than the active one goes on from, with its first words."""

    role: Role
    timestamp: datetime
    words: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run of messages that are not of the active branch, from a depth on, one below the other.

    `fork` is None for another beginning.
    """

    stem_id: str
    first_depth: int
    fork: Fork | None
    place: Place


class ExportStore(Protocol):
    """Reads sessions for an export. Every call is one short transaction.

    Raises RunnelError `store_unavailable` if the database is away.
    """

    async def session(self, user_id: str, ref: SessionRef) -> Whole | None:
        """A user's own session that is shown to it, by its id or its name."""
        ...

    async def sessions(self, user_id: str, after: SessionRecord | None) -> Sequence[Whole]:
        """A page of a user's sessions, in the order in which they were begun; empty at the end."""
        ...

    async def attachments(self, session_id: str, after: str | None) -> Sequence[AttachmentRecord]:
        """A page of a session's attachments, by their ids; empty at the end."""
        ...

    async def messages(self, whole: Whole, after: Place | None, most: int) -> Messages:
        """A page of a session's messages, parents before their children."""
        ...

    async def branch(self, whole: Whole, after: Place | None, most: int) -> Messages:
        """A page of the active branch, from its root down."""
        ...

    async def stretches(self, whole: Whole, after: Place | None) -> Sequence[Stretch]:
        """A page of what is not of the active branch; empty at the end."""
        ...

    async def stretch(
        self, whole: Whole, stretch: Stretch, after: Place | None, most: int
    ) -> Messages:
        """A page of such a stretch, downwards."""
        ...


class FileReader(Protocol):
    """Gives the bytes of attachments."""

    async def read(self, attachment_id: str) -> bytes | None:
        """A file as it was given; None if it is not there."""
        ...


_Page = Callable[[Place | None, int], Coroutine[Any, Any, Messages]]


class Pages:
    """The ways through what a user has."""

    def __init__(self, store: ExportStore, files: FileReader) -> None:
        self._store = store
        self._files = files

    async def sessions(self, user_id: str, first: Sequence[Whole]) -> AsyncGenerator[Whole]:
        """All sessions of a user, of which the first page was read already."""
        page = first
        while page:
            for whole in page:
                yield whole
            page = await self._store.sessions(user_id, page[-1].session)

    async def attachments(self, whole: Whole) -> AsyncGenerator[tuple[AttachmentRecord, bytes]]:
        """A session's attachments with their bytes, one at a time.

        Raises RunnelError `store_unavailable` for a file that is not there.
        """
        session_id, after = whole.session.session_id, None
        while page := await self._store.attachments(session_id, after):
            for attachment in page:
                yield attachment, await self._bytes(attachment)
            after = page[-1].attachment_id

    async def messages(self, whole: Whole) -> AsyncGenerator[Messages]:
        """All messages. Raises RunnelError `conflict` if the session is purged meanwhile."""
        seen = 0
        async for page in _walk(lambda after, most: self._store.messages(whole, after, most)):
            seen += len(page.messages)
            yield page
        _refuse_lost(whole, seen)

    async def branch(self, whole: Whole) -> AsyncGenerator[Messages]:
        """The active branch."""
        async for page in _walk(lambda after, most: self._store.branch(whole, after, most)):
            yield page

    async def stretches(self, whole: Whole) -> AsyncGenerator[Stretch]:
        """All that is not of the active branch, in the order of what it grows from."""
        after: Place | None = None
        while page := await self._store.stretches(whole, after):
            for stretch in page:
                yield stretch
            after = page[-1].place

    async def stretch(self, whole: Whole, stretch: Stretch) -> AsyncGenerator[Messages]:
        """The messages of one of them."""
        async for page in _walk(lambda at, most: self._store.stretch(whole, stretch, at, most)):
            yield page

    async def _bytes(self, attachment: AttachmentRecord) -> bytes:
        found = await self._files.read(attachment.attachment_id)
        if found is None:
            raise RunnelError(
                Code.STORE_UNAVAILABLE,
                f"The file of attachment {attachment.attachment_id} is gone. Put it back, or delete"
                " the attachment.",
            )
        return found


async def _walk(read: _Page) -> AsyncGenerator[Messages]:
    after: Place | None = None
    most = _FIRST_ROWS
    while True:
        page = await read(after, most)
        if page.messages:
            yield page
        after = page.following
        if after is None:
            return
        # What does not fit into a page was measured in vain: long texts are asked for in fewer.
        most = min(MOST_ROWS, 2 * len(page.messages))


def _refuse_lost(whole: Whole, seen: int) -> None:
    if seen < whole.message_count:
        raise RunnelError(
            Code.CONFLICT,
            f"Session {whole.session.session_id} was deleted while it was exported.",
        )
