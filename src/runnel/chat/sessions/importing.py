"""Brings exported sessions back, with their ids: each whole or not at all, in bounded batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from runnel.chat.entities import SessionRef
from runnel.chat.sessions.import_checks import attachment_content, ended
from runnel.chat.sessions.import_reading import Given
from runnel.chat.sessions.import_values import invalid
from runnel.chat.sessions.records import (
    AttachmentRecord,
    GivenAttachment,
    MessageRecord,
    SessionRecord,
)
from runnel.chat.sessions.refs import session_ref
from runnel.errors import Code, RunnelError

#: A transaction writes no more messages, so that those of a running server need not wait.
MOST_MESSAGES: Final = 200
_MOST_CHARACTERS: Final = 1024 * 1024


class ImportStore(Protocol):
    """Writes what is imported. Every call is one short transaction.

    Raises RunnelError `store_unavailable` if the database is away, and `conflict`, naming what is
    there already.
    """

    async def begin(self, user_id: str, session: SessionRecord) -> bool:
        """A session that nobody sees yet, and that the clean-up takes if nothing comes of it.

        False where an earlier import has left a part of it, to be removed before.
        """
        ...

    async def add_attachment(
        self, user_id: str, session_id: str, attachment: AttachmentRecord
    ) -> None: ...

    async def holds(self, session_id: str, attachment_id: str) -> bool:
        """Whether it is there still, in a session that nobody has purged meanwhile."""
        ...

    async def add_messages(self, user_id: str, messages: Sequence[MessageRecord]) -> None:
        """Messages of one session, whose answers have all ended.

        Raises RunnelError `invalid_request` for one whose parent, question or attachment is none
        of the session's.
        """
        ...

    async def finish(self, user_id: str, session: SessionRecord, messages: int) -> None:
        """Shows the session, which has so many messages, to its user.

        Raises RunnelError `invalid_request` if the last of its active branch is not there.
        """
        ...

    async def attachment_ids(self, session_id: str) -> Sequence[str]: ...

    async def remove(self, session_id: str, most: int) -> bool:
        """Removes so many messages of it at most, the deepest first; then the session.

        Whether it is gone. One that was finished is left as it is.
        """
        ...


class FileWriter(Protocol):
    """Keeps the bytes of attachments."""

    async def keep(self, attachment: AttachmentRecord, content: bytes) -> None:
        """Raises RunnelError `invalid_request` for what is not what the record says."""
        ...

    async def delete(self, attachment_ids: Sequence[str]) -> None: ...


@dataclass(slots=True)
class Imported:
    """How much was brought back; `refused` sessions were there already."""

    sessions: int = 0
    messages: int = 0
    attachments: int = 0
    refused: int = 0


class Importing:
    """Imports for one user. `tell` is told, a line each, of sessions that are refused."""

    def __init__(
        self,
        store: ImportStore,
        files: FileWriter,
        user_id: str,
        username: str,
        tell: Callable[[str], None],
    ) -> None:
        self._store = store
        self._files = files
        self._user_id = user_id
        self._username = username
        self._tell = tell
        self.done = Imported()

    async def run(self, given: Iterable[Given]) -> Imported:
        """Brings back all sessions but those that are there already.

        Raises RunnelError `invalid_request` at the first thing that is wrong with a file. Of that
        session nothing is left then; those before it are there.
        """
        for place, session, rest in _by_session(given):
            if session.name is not None and not _fits(session.name, self._username):
                raise invalid(place, f"name: no session of {self._username} can be called that")
            try:
                await self._bring(session, rest)
            except RunnelError as error:
                if error.code is not Code.CONFLICT:
                    raise
                self.done.refused += 1
                self._tell(f"{place}: session {session.session_id}: {error.message}")
                for _ in rest:  # what is wrong with the file is found in these too
                    pass
        return self.done

    async def _bring(self, session: SessionRecord, given: Iterator[Given]) -> None:
        if not await self._store.begin(self._user_id, session):
            await self._remove(session)
            await self._store.begin(self._user_id, session)
        try:
            counted = await self._fill(session, given)
            await self._store.finish(self._user_id, session, counted.messages)
        except BaseException:
            await self._remove(session)
            raise
        self.done.sessions += 1
        self.done.messages += counted.messages
        self.done.attachments += counted.attachments

    async def _fill(self, session: SessionRecord, given: Iterator[Given]) -> Imported:
        counted = Imported()
        batch: list[MessageRecord] = []
        characters = 0
        for each in given:
            record = each.record
            if isinstance(record, GivenAttachment):
                if counted.messages or batch:
                    raise invalid(each.place, "attachments come before messages")
                await self._attach(session, record, each.place)
                counted.attachments += 1
            elif isinstance(record, MessageRecord):
                if record.session_id != session.session_id:
                    raise invalid(each.place, "session_id: is not that of the session before it")
                batch.append(ended(record, each.place))
                characters += len(record.content)
            if len(batch) >= MOST_MESSAGES or characters >= _MOST_CHARACTERS:
                counted.messages += await self._write(batch)
                batch, characters = [], 0
        counted.messages += await self._write(batch)
        return counted

    async def _write(self, batch: Sequence[MessageRecord]) -> int:
        if batch:
            await self._store.add_messages(self._user_id, batch)
        return len(batch)

    async def _attach(self, session: SessionRecord, given: GivenAttachment, place: str) -> None:
        content = attachment_content(given, place)
        # First the row: without one nobody would find the file again to delete it.
        await self._store.add_attachment(self._user_id, session.session_id, given)
        await self._files.keep(given, content)
        if not await self._store.holds(session.session_id, given.attachment_id):
            # Who purged it may have looked for its files before there was this one.
            await self._files.delete([given.attachment_id])
            raise RunnelError(Code.CONFLICT, "it was deleted while it was imported")

    async def _remove(self, session: SessionRecord) -> None:
        """What was begun of a session: its files before its rows."""
        await self._files.delete(await self._store.attachment_ids(session.session_id))
        while not await self._store.remove(session.session_id, MOST_MESSAGES):
            pass


def _by_session(given: Iterable[Given]) -> Iterator[tuple[str, SessionRecord, Iterator[Given]]]:
    """Each session with what follows it up to the next, to be read before the next."""
    reading = iter(given)
    upcoming: Given | None = next(reading, None)

    def rest() -> Iterator[Given]:
        nonlocal upcoming
        for each in reading:
            if isinstance(each.record, SessionRecord):
                upcoming = each
                return
            yield each

    while upcoming is not None:
        place, session = upcoming.place, upcoming.record
        if not isinstance(session, SessionRecord):
            raise invalid(place, "stands before the first session")
        upcoming = None
        yield place, session, rest()


def _fits(name: str, username: str) -> bool:
    try:
        return session_ref(name, username) == SessionRef(name=name)
    except RunnelError:
        return False
