"""The one order of an end: first the row, which decides it, then the terminal event."""

import asyncio
import time
from typing import Final

import structlog

from runnel.chat.entities import Ending, Generation
from runnel.chat.ports import Observer, StaleFence, Store, StreamLog
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

    async def end(self, generation: Generation, ending: Ending, question: str) -> None:
        """Stores an end and tells it; whoever came first is told instead. Raises StaleFence.

        The log has to end right before `ending.position`.
        """
        ended = await self._stored(generation, ending)
        if ended is None:  # purged with its session or its user
            self._log.drop(generation.id)
            return
        if ended.end is None:
            raise StaleFence(generation.id)
        last = Position(ending.position.epoch, ending.position.offset - 1)
        if ended.end != ending.position:
            # Another ended it first, with a text of its own, in an epoch that readers have to see
            # begin: what they have from here is not what is kept.
            last = await self._log.begin(
                generation.id, ended.end.epoch, generation.fence, Reset(ended.text)
            )
        await self._log.append(generation.id, generation.fence, last, [ended.terminal()])
        self._observer.ended(ended, question)
        _log.info(
            "generation.ended",
            generation_id=generation.id,
            model=ended.model,
            status=ended.status.value,
            code=ended.failure and ended.failure.code.value,
            latency_ms=ended.latency_ms,
            first_token_ms=ended.first_token_ms,
        )

    async def give_up(self, generation: Generation, ending: Ending, question: str) -> None:
        """One try at the plainest end, so that no generation is left running; then readers go."""
        try:
            ended = await self._store.finish(generation.id, generation.fence, ending)
            if ended is not None and ended.end is not None:
                self._observer.ended(ended, question)
        except Exception:  # noqa: BLE001 - there is nothing left to try
            _log.exception("generation.not_ended", generation_id=generation.id)
        finally:
            self._log.drop(generation.id)

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
