"""Purging: gone for everybody at once, and then, piece by piece, deleted wherever it is kept.

The mark decides. What breaks off behind it, as by a crash, the clean-up goes on with.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from runnel.chat.aborting import Aborting
from runnel.chat.attachments.ports import AttachmentFiles
from runnel.chat.ids import may_be_id
from runnel.chat.notices import Bus, Gone
from runnel.chat.ports import StreamLog
from runnel.chat.running import END_WAIT_SECONDS, Running
from runnel.errors import Code, RunnelError

_log = structlog.stdlib.get_logger()
#: So many messages are deleted in one transaction: others write in between.
_MESSAGES_AT_A_TIME: Final = 500
_SESSIONS_AT_A_TIME: Final = 50
#: How long an account is closed to what is new if whoever deletes it is gone in mid-work.
_LEAVING: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Marked:
    """A session that is gone for everybody, and whose rows follow."""

    session_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """What one transaction deleted: how many messages, and the generations that made some."""

    messages: int
    generation_ids: Sequence[str]


class PurgeStore(Protocol):
    """What purging writes. Every call is one short transaction.

    Raises RunnelError `store_unavailable`.
    """

    async def leave(self, user_id: str, until: datetime) -> None:
        """Nothing is begun for a user till then, on any instance."""
        ...

    async def stay(self, user_id: str, until: datetime) -> None:
        """What was said so is taken back, unless another has said something else meanwhile."""
        ...

    async def mark(self, user_id: str, session_id: str, moment: datetime) -> bool:
        """From now on nobody finds the session, nor what was made in it, and its name is free.

        What is being made in it is to be aborted. False if the user has no such session.
        """
        ...

    async def mark_some(self, user_id: str, moment: datetime, most: int) -> Sequence[Marked]:
        """The same for some of a user's sessions, whatever their state; empty if it has none."""
        ...

    async def delete_messages(self, marked: Marked, most: int) -> Deleted:
        """Deletes the deepest messages of a marked session with all that hangs on them.

        What ended generations took of tokens is added to what is kept of the user's.
        """
        ...

    async def attachments(self, session_id: str) -> Sequence[str]:
        """The ids of a session's attachments."""
        ...

    async def attachments_of_user(self, user_id: str) -> Sequence[str]:
        """The same of all that a user has."""
        ...

    async def delete_session(self, session_id: str) -> None:
        """Deletes the row of a marked session, and what is left of it."""
        ...


class Texts(Protocol):
    """Where questions and answers are written down beside the store."""

    async def forget(self, ids: Collection[str]) -> None:
        """Takes those of these sessions, or users, out; none is written any more either.

        Raises OSError if some could not be taken out; then it is to be tried again.
        """
        ...


class Purging:
    """Purges sessions and users. What was begun is carried through whoever waits for it."""

    def __init__(
        self,
        store: PurgeStore,
        running: Running,
        aborting: Aborting,
        log: StreamLog,
        bus: Bus,
        *,
        files: AttachmentFiles,
        texts: Texts,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._running = running
        self._aborting = aborting
        self._log = log
        self._files = files
        self._texts = texts
        self._bus = bus
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: set[str] = set()

    async def purge_session(self, user_id: str, session_id: str) -> None:
        """Aborts what runs in a user's session, and deletes it and all that was made in it.

        Texts that the disk would not let go of are logged as an error, and tried again by the
        clean-up. Raises RunnelError `not_found` for unknown and foreign alike, and
        `store_unavailable`, behind which the clean-up goes on if the mark was set.
        """
        await self._carried_through(self._purge_session(user_id, session_id))

    async def purge_user(self, user_id: str, remove: Callable[[], Awaitable[None]]) -> None:
        """Deletes all that is of a user, who can ask nothing meanwhile; `remove` the account itself.

        If it breaks off before that, the account is there, and it can be called again. Raises
        RunnelError `store_unavailable`, also where the disk would not let go of something, and
        what `remove` raises.
        """
        await self._carried_through(self._purge_user(user_id, remove))

    async def finish(self, marked: Sequence[Marked]) -> None:
        """Deletes what is left of marked sessions, but for those that are being deleted now.

        Raises RunnelError `store_unavailable`.
        """
        left = [each for each in marked if each.session_id not in self._busy]
        await self._carried_through(self._finish(left))

    async def close(self) -> None:
        """Cancels what is being deleted; the clean-up of the next start goes on with it."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carried_through(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget_task)
        await asyncio.shield(task)

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Whoever began it may have left; then nobody else looks at how it went.
            task.exception()

    async def _purge_session(self, user_id: str, session_id: str) -> None:
        fit = may_be_id(session_id)
        if not fit or not await self._store.mark(user_id, session_id, self._clock()):
            raise RunnelError(Code.NOT_FOUND, "There is no such session.")
        await self._aborting.abort_session(session_id, "user", seconds=END_WAIT_SECONDS)
        # Whoever is in it has been told the end of what ran. Of an account that goes, its sockets
        # hear otherwise, and what the clean-up takes they see for themselves.
        self._bus.publish(Gone(user_id, session_id))
        await self._finish([Marked(session_id, user_id)])

    async def _purge_user(self, user_id: str, remove: Callable[[], Awaitable[None]]) -> None:
        async with self._leaving(user_id):
            await self._aborting.abort_user(user_id, "user", seconds=END_WAIT_SECONDS)
            try:
                # First of all: without the account nobody would try it again.
                await self._texts.forget([user_id])
            except OSError as error:
                _log.error("purge.texts_left", user_id=user_id, why=_why(error))
                raise RunnelError(
                    Code.STORE_UNAVAILABLE, "Not all could be deleted. Try again.", retry_after=1
                ) from error
            while marked := await self._store.mark_some(
                user_id, self._clock(), _SESSIONS_AT_A_TIME
            ):
                emptied, fault = await self._empty_all(marked)
                for session_id in emptied:
                    await self._store.delete_session(session_id)
                if fault is not None:
                    raise fault
            await self._files.delete(await self._store.attachments_of_user(user_id))
            await remove()

    @asynccontextmanager
    async def _leaving(self, user_id: str) -> AsyncGenerator[None]:
        """Inside, nothing is begun for the user any more; if it breaks off, again."""
        until = self._clock() + _LEAVING
        await self._store.leave(user_id, until)
        try:
            yield
        except BaseException:
            with suppress(RunnelError):  # then it is over by itself
                await self._store.stay(user_id, until)
            raise

    async def _finish(self, marked: Sequence[Marked]) -> None:
        emptied, fault = await self._empty_all(marked)
        if emptied:
            try:
                await self._texts.forget(emptied)
            except OSError as error:
                # While the rows are there, the clean-up tries again.
                _log.error("purge.texts_left", session_ids=emptied, why=_why(error))
                emptied = []
        for session_id in emptied:
            await self._store.delete_session(session_id)
        if fault is not None:
            raise fault

    async def _empty_all(self, marked: Sequence[Marked]) -> tuple[list[str], RunnelError | None]:
        """Those that are empty now, and what was wrong with the last of the others."""
        busy = {each.session_id for each in marked} - self._busy
        self._busy |= busy
        emptied: list[str] = []
        fault: RunnelError | None = None
        try:
            for each in marked:
                try:
                    await self._empty(each)
                    emptied.append(each.session_id)
                except RunnelError as error:
                    fault = error
        finally:
            self._busy -= busy
        return emptied, fault

    async def _empty(self, marked: Marked) -> None:
        session_id = marked.session_id
        await self._aborting.abort_session(session_id, "user", seconds=END_WAIT_SECONDS)
        # Before their rows, by which alone they are found again.
        await self._files.delete(await self._store.attachments(session_id))
        while True:
            deleted = await self._store.delete_messages(marked, _MESSAGES_AT_A_TIME)
            self._forget_logs(deleted.generation_ids)
            if not deleted.messages:
                return

    def _forget_logs(self, generation_ids: Sequence[str]) -> None:
        for generation_id in generation_ids:
            # One that is made still, though it was long waited for, drops its own.
            if not self._running.makes(generation_id):
                self._log.drop(generation_id)


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
