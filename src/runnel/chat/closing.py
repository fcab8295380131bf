"""The one order of an end: first the row, which decides it, then the terminal event."""

import asyncio
import time
from contextlib import suppress
from typing import Final

import structlog

from runnel.chat.entities import Ending, Generation
from runnel.chat.ports import (
    LogMissing,
    Observer,
    PositionConflict,
    StaleFence,
    Store,
    StreamLog,
)
from runnel.errors import RunnelError
from runnel.events import Position, Reset

_log = structlog.stdlib.get_logger()
_MAX_RETRY_PAUSE: Final = 5.0


class Closing:
    """Ends generations. Readers of an end that cannot be stored are let go after a while."""

    def __init__(
        self, store: Store, log: StreamLog, observer: Observer, *, store_retry_seconds: float
    ) -> None:
        self._store = store
        self._log = log
        self._observer = observer
        self._store_retry_seconds = store_retry_seconds

    async def end(
        self, generation: Generation, ending: Ending, question: str, last: Position | None
    ) -> None:
        """Stores an end and tells it; whoever came first is told instead. Raises StaleFence.

        `last` is where the log ends, if it has all of the text; else its end is told in an epoch
        of its own.
        """
        ended = await self._stored(generation, ending)
        if ended is None:  # purged with its session or its user
            self._log.drop(generation.id)
            return
        if ended.end is None or ended.fence != generation.fence:
            raise StaleFence(generation.id)
        self._tell_others(ended, question)
        try:
            await self._tell_readers(ended, last)
        except StaleFence:
            raise
        except Exception:  # noqa: BLE001 - it has ended, whatever comes: it is told once
            _log.exception("generation.end_not_told", generation_id=generation.id)
            self._log.hide(generation.id)

    async def leave(self, generation_id: str) -> None:
        """Another has become the owner of a generation, or it is gone: its readers are let go."""
        self._log.hide(generation_id)
        try:
            if not await self._store.see_all([generation_id]):
                self._log.drop(generation_id)
        except RunnelError:
            return  # a log that nobody reads goes by itself

    def _tell_others(self, ended: Generation, question: str) -> None:
        self._observer.ended(ended, question)
        _log.info(
            "generation.ended",
            generation_id=ended.id,
            model=ended.model,
            status=ended.status.value,
            code=ended.failure and ended.failure.code.value,
            latency_ms=ended.latency_ms,
            first_token_ms=ended.first_token_ms,
        )

    async def _tell_readers(self, ended: Generation, last: Position | None) -> None:
        end = ended.end
        assert end is not None
        before = Position(end.epoch, end.offset - 1)
        try:
            if last != before:
                # An end that stands in an epoch of its own, which readers have to see begin: what
                # they have from here is not what is kept.
                await self._begin(ended, end.epoch)
            await self._log.append(ended.id, ended.fence, before, [ended.terminal()])
        except (LogMissing, PositionConflict):
            # The log was lost in this moment. Who attaches again is told by the row.
            self._log.hide(ended.id)

    async def _begin(self, ended: Generation, epoch: int) -> None:
        first = ended.start() if epoch == 1 and not ended.text else Reset(ended.text)
        with suppress(PositionConflict):  # it has begun, and that was not known
            await self._log.begin(ended.id, epoch, ended.fence, first)

    async def give_up(self, generation: Generation, ending: Ending, question: str) -> None:
        """One try at the plainest end, so that no generation is left running; then readers go."""
        try:
            ended = await self._store.finish(generation.id, generation.fence, ending)
        except Exception:  # noqa: BLE001 - there is nothing left to try
            _log.exception("generation.not_ended", generation_id=generation.id)
            self._log.drop(generation.id)
            return
        if ended is not None and ended.fence != generation.fence:
            await self.leave(generation.id)  # its log is another's by now
            return
        self._log.drop(generation.id)
        if ended is not None and ended.end is not None:
            self._observer.ended(ended, question)

    async def _stored(self, generation: Generation, ending: Ending) -> Generation | None:
        """Writes the end, for as long as it takes."""
        hide_at = time.monotonic() + self._store_retry_seconds
        pause = 0.05
        while True:
            try:
                return await self._store.finish(generation.id, generation.fence, ending)
            except RunnelError:
                _log.warning("generation.end_not_stored", generation_id=generation.id)
            if time.monotonic() > hide_at:
                self._log.hide(generation.id)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_RETRY_PAUSE)
