"""Logs in a real Redis for tests: one instance, or two of which one writes and the other reads."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from runnel.chat.ports import LogReader, Recovered
from runnel.events import Event, Position
from runnel.streamlog.redis import RedisLog
from runnel.streamlog.redis_link import Link
from runnel.streamlog.redis_mirror import Mirror
from runnel.streamlog.redis_reader import RedisReader

PAGE_BYTES: Final = 1000
_SETTLED_SECONDS: Final = 20


def redis_log(url: str, prefix: str, **changes: Any) -> RedisLog:
    options: dict[str, Any] = {
        "timeout_seconds": 5,
        "retention_seconds": 3600,
        "running_seconds": 3600,
        "total_bytes": 10**9,
        "page_bytes": PAGE_BYTES,
        "tail_bytes": 64 * 1024,
    }
    return RedisLog(url, prefix=prefix, **options | changes)


async def until(condition: Callable[[], bool], seconds: float = _SETTLED_SECONDS) -> None:
    """Waits for what must come to be."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        await asyncio.sleep(0.002)


class Settling:
    """Tells when logs know all that there is to know, and nothing is on its way."""

    def __init__(self, url: str, *logs: RedisLog) -> None:
        self._logs = logs
        self._link = Link(url, timeout_seconds=5)

    async def __call__(self) -> None:
        deadline = time.monotonic() + _SETTLED_SECONDS
        while True:
            await asyncio.sleep(0)
            if not self._busy() and await self._all_known() and not self._busy():
                break
            assert time.monotonic() < deadline, "they do not settle"
            await asyncio.sleep(0.001)
        for _ in range(3):
            await asyncio.sleep(0)

    def _busy(self) -> bool:
        return any(
            not log._commits.idle.is_set() or any(map(_looks, log._mirrors.values()))
            for log in self._logs
        )

    async def _all_known(self) -> bool:
        for log in self._logs:
            for generation_id, mirror in tuple(log._mirrors.items()):
                if not mirror.live:
                    continue
                epoch, last = await self._link.call(
                    "HMGET", log._keys.meta(generation_id), "epoch", "last"
                )
                at = None if epoch is None else Position(int(epoch), int(last))
                # Of a log that is gone it tells nothing more, and knows no better.
                if at is not None and mirror.last != at:
                    return False
        return True

    async def close(self) -> None:
        await self._link.close()


def _looks(mirror: Mirror) -> bool:
    """Whether a look is on its way, or what it found is not taken yet."""
    return any(isinstance(reader, RedisReader) and reader._looking for reader in mirror.readers)


class Apart:
    """A stream log of two instances: what is written through one is read through the other."""

    def __init__(self, writes: RedisLog, reads: RedisLog) -> None:
        self.writes = writes
        self.reads = reads

    def begin(
        self, generation_id: str, epoch: int, fence: int, first: Event
    ) -> "asyncio.Future[Position]":
        return self.writes.begin(generation_id, epoch, fence, first)

    def append(
        self, generation_id: str, fence: int, after: Position, events: Sequence[Event]
    ) -> "asyncio.Future[Position]":
        return self.writes.append(generation_id, fence, after, events)

    async def recover(self, generation_id: str, fence: int) -> Recovered | None:
        return await self.writes.recover(generation_id, fence)

    def read(self, generation_id: str, after: Position | None = None) -> LogReader:
        return self.reads.read(generation_id, after)

    async def epoch(self, generation_id: str) -> int | None:
        return await self.reads.epoch(generation_id)

    def check(self) -> None:
        self.writes.check()
        self.reads.check()

    def hide(self, generation_id: str) -> None:
        self.reads.hide(generation_id)

    def drop(self, generation_id: str) -> None:
        """As if both had heard of it."""
        self.writes.drop(generation_id)
        self.reads.drop(generation_id)

    def tidy(self) -> None:
        self.writes.tidy()

    @property
    def full(self) -> bool:
        return self.writes.full


@asynccontextmanager
async def alone(url: str, prefix: str, **changes: Any) -> AsyncGenerator[tuple[RedisLog, Settling]]:
    async with redis_log(url, prefix, **changes) as log:
        settling = Settling(url, log)
        try:
            yield log, settling
        finally:
            await settling.close()


@asynccontextmanager
async def apart(url: str, prefix: str, **changes: Any) -> AsyncGenerator[tuple[Apart, Settling]]:
    async with (
        redis_log(url, prefix, **changes) as writes,
        redis_log(url, prefix, **changes) as reads,
    ):
        settling = Settling(url, writes, reads)
        try:
            yield Apart(writes, reads), settling
        finally:
            await settling.close()
