"""The clean-up: closes what nobody goes on with, and deletes what was closed long ago.

It takes a few sessions at a time, with pauses, and none that is being answered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn, Protocol

import structlog

from runnel.chat.attachments.service import Attachments
from runnel.chat.sessions.purging import Marked, Purging
from runnel.errors import RunnelError

_log = structlog.stdlib.get_logger()
#: So many sessions, or attachments, are taken at a time.
_A_BATCH: Final = 50
#: Between two batches; whoever asks goes first.
_PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class CleanUpRules:
    """After which time without anything happening; None: never.

    `purge_after` counts from when a session was closed; an import of it is something that happened
    too, and both count from there. `hidden_after` is for sessions that no
    list shows, `unused_after` for attachments that no question has used.
    """

    close_after: timedelta | None
    purge_after: timedelta | None
    hidden_after: timedelta | None
    unused_after: timedelta


class CleanUpStore(Protocol):
    """What the clean-up finds and decides. Every call is one short transaction.

    Whatever is asked or opened again meanwhile is left alone, as is what is being answered. Raises
    RunnelError `store_unavailable`.
    """

    async def close(self, before: datetime, moment: datetime, most: int) -> int:
        """Closes sessions in which nothing has happened since `before`; how many."""
        ...

    async def mark_closed(self, before: datetime, moment: datetime, most: int) -> Sequence[Marked]:
        """Marks sessions as purged that were closed before."""
        ...

    async def mark_hidden(self, before: datetime, moment: datetime, most: int) -> Sequence[Marked]:
        """Marks hidden sessions as purged in which nothing has happened since `before`."""
        ...

    async def marked(self, after: str, most: int) -> Sequence[Marked]:
        """What is marked and still there, in the order of ids, behind the id `after`."""
        ...


class CleanUp:
    """One loop for everything that goes by its age."""

    def __init__(
        self,
        store: CleanUpStore,
        purging: Purging,
        attachments: Attachments,
        rules: CleanUpRules,
        *,
        every_seconds: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._purging = purging
        self._attachments = attachments
        self._rules = rules
        self._every_seconds = every_seconds
        self._clock = clock

    async def watch(self) -> NoReturn:
        """One round after the other, until it is cancelled."""
        while True:
            try:
                await self.round()
            except RunnelError as error:
                _log.warning("clean_up.broke_off", code=error.code.value)  # the next goes on
            except Exception:  # noqa: BLE001 - the outermost frame: the next round must come
                _log.exception("clean_up.failed")
            await asyncio.sleep(self._every_seconds)

    async def round(self) -> None:
        """Takes all that is old enough. Raises RunnelError `store_unavailable`."""
        await self._go_on_with_marked()
        rules = self._rules
        closed = await self._all(rules.close_after, self._close)
        purged = await self._all(rules.purge_after, self._purge_closed)
        hidden = await self._all(rules.hidden_after, self._purge_hidden)
        unused = await self._all(rules.unused_after, self._delete_unused)
        if closed or purged or hidden or unused:
            _log.info(
                "clean_up.done",
                closed=closed,
                purged=purged,
                hidden_purged=hidden,
                attachments_deleted=unused,
            )

    async def _go_on_with_marked(self) -> None:
        """What an earlier purge has left: it was broken off, or the disk would not let it go."""
        after = ""
        while marked := await self._store.marked(after, _A_BATCH):
            try:
                await self._purging.finish(marked)
            except RunnelError as error:
                # The others are taken all the same.
                _log.warning("clean_up.not_finished", code=error.code.value)
            after = marked[-1].session_id
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _all(self, age: timedelta | None, take: Callable[[datetime], Awaitable[int]]) -> int:
        """Batch by batch; how many there were."""
        total = 0
        while age is not None:
            taken = await take(self._clock() - age)
            total += taken
            if taken < _A_BATCH:
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        return total

    async def _close(self, before: datetime) -> int:
        return await self._store.close(before, self._clock(), _A_BATCH)

    async def _purge_closed(self, before: datetime) -> int:
        return await self._purge(await self._store.mark_closed(before, self._clock(), _A_BATCH))

    async def _purge_hidden(self, before: datetime) -> int:
        return await self._purge(await self._store.mark_hidden(before, self._clock(), _A_BATCH))

    async def _purge(self, marked: Sequence[Marked]) -> int:
        await self._purging.finish(marked)
        return len(marked)

    async def _delete_unused(self, before: datetime) -> int:
        return await self._attachments.delete_unused(before, _A_BATCH)
