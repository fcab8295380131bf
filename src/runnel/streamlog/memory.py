"""The stream log of one process: events in memory, readers woken by futures.

No queue per reader: a reader keeps a cursor and drains the log itself.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Sequence
from sys import getsizeof

from runnel.chat.ports import LogMissing, PositionConflict, Recovered, StaleFence
from runnel.events import Batch, Event, Position, Reset, text_of
from runnel.streamlog.batches import add_last, batch_of, size_of


class _Log:
    """One epoch of one generation."""

    __slots__ = (
        "batches",
        "closed_at",
        "epoch",
        "fence",
        "joined",
        "last",
        "shared",
        "size",
        "text",
    )

    def __init__(self, epoch: int, fence: int) -> None:
        self.epoch = epoch
        self.fence = fence
        self.batches: list[Batch] = []
        self.last = Position(epoch, -1)
        self.size = 0
        self.shared = False  # whether it has had several readers at a time
        self.closed_at: float | None = None
        self.joined = 0  # of how many batches `text` is the whole text
        self.text = ""

    def add(self, events: Sequence[Event]) -> int:
        batch = batch_of(self.epoch, self.last.offset + 1, events, shared=self.shared)
        if self.shared:
            add_last(self.batches, batch)
        else:
            self.batches.append(batch)
        self.last = batch.last
        self.size += batch.size
        return batch.size


class MemoryLog:
    """Implements chat.ports.StreamLog.

    Finished logs are kept `retention_seconds`; over `total_bytes` they go oldest first. A
    running log is never trimmed: the producer bounds it.
    """

    def __init__(self, *, retention_seconds: float, total_bytes: int, page_bytes: int) -> None:
        self._retention_seconds = retention_seconds
        self._total_bytes = total_bytes
        self._page_bytes = page_bytes
        self._logs: dict[str, _Log] = {}
        self._finished: dict[str, float] = {}  # in the order in which they finished
        self._waiting: dict[str, set[MemoryReader]] = {}
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes that all logs hold, about."""
        return self._size

    def begin(
        self, generation_id: str, epoch: int, fence: int, first: Event
    ) -> "asyncio.Future[Position]":
        done: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        old = self._logs.get(generation_id)
        if old is not None and fence < old.fence:
            done.set_exception(StaleFence(generation_id))
        elif old is not None and epoch <= old.epoch:
            refused = f"{generation_id}: epoch {epoch} after {old.epoch}"
            done.set_exception(PositionConflict(refused))
        else:
            if old is not None:
                self._drop(generation_id)
            log = self._logs[generation_id] = _Log(epoch, fence)
            self._add(generation_id, log, [first])
            done.set_result(log.last)
        return done

    def append(
        self, generation_id: str, fence: int, after: Position, events: Sequence[Event]
    ) -> "asyncio.Future[Position]":
        done: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        log = self._logs.get(generation_id)
        if log is None or log.epoch != after.epoch:
            done.set_exception(LogMissing(generation_id))
        elif fence < log.fence:
            done.set_exception(StaleFence(generation_id))
        elif log.last != after or log.closed_at is not None:
            refused = f"{generation_id} ends at {log.last}, not {after}"
            done.set_exception(PositionConflict(refused))
        else:
            log.fence = fence
            self._add(generation_id, log, events)
            done.set_result(log.last)
        return done

    async def recover(self, generation_id: str, fence: int) -> Recovered | None:
        log = self._logs.get(generation_id)
        if log is None:
            return None
        if fence < log.fence:
            raise StaleFence(generation_id)
        log.fence = fence
        return Recovered(log.last, self.text(log), log.closed_at is not None)

    def check(self) -> None:
        return

    def read(self, generation_id: str, after: Position | None = None) -> "MemoryReader":
        return MemoryReader(self, generation_id, after)

    async def epoch(self, generation_id: str) -> int | None:
        log = self._logs.get(generation_id)
        return None if log is None else log.epoch

    def hide(self, generation_id: str) -> None:
        for reader in tuple(self._waiting.get(generation_id, ())):
            reader.close()

    def drop(self, generation_id: str) -> None:
        self.hide(generation_id)
        if generation_id in self._logs:
            self._drop(generation_id)

    def tidy(self) -> None:
        oldest_kept = time.monotonic() - self._retention_seconds
        for generation_id, finished_at in tuple(self._finished.items()):
            if finished_at > oldest_kept and self._size <= self._total_bytes:
                return
            if generation_id not in self._waiting:
                self._drop(generation_id)
        for generation_id in tuple(self._finished):
            if self._size <= self._total_bytes:
                return
            self.drop(generation_id)  # who reads it still attaches again, and is told by the row

    @property
    def full(self) -> bool:
        if self._size > self._total_bytes:
            self.tidy()
        return self._size > self._total_bytes

    def _add(self, generation_id: str, log: _Log, events: Sequence[Event]) -> None:
        readers = self._waiting.get(generation_id, ())
        if len(readers) > 1:
            log.shared = True
        self._size += log.add(events)
        if events[-1].terminal:
            log.closed_at = self._finished[generation_id] = time.monotonic()
        for reader in readers:
            reader.wake()

    def _drop(self, generation_id: str) -> None:
        self._size -= self._logs.pop(generation_id).size
        self._finished.pop(generation_id, None)

    def text(self, log: _Log) -> str:
        """For readers: the whole text of a log, whose parts are put together once."""
        new = [event for batch in log.batches[log.joined :] for event in batch.events]
        if new:
            more = text_of(new)
            log.text += more
            log.joined = len(log.batches)
            log.size += getsizeof(more)
            self._size += getsizeof(more)
        return log.text

    def log_of(self, generation_id: str) -> _Log | None:
        """For readers: the log's present epoch."""
        return self._logs.get(generation_id)

    def enter(self, generation_id: str, reader: "MemoryReader") -> None:
        """For readers: be woken by what is appended. The log stays while it has readers."""
        self._waiting.setdefault(generation_id, set()).add(reader)

    def leave(self, generation_id: str, reader: "MemoryReader") -> None:
        """For readers: no longer."""
        readers = self._waiting.get(generation_id)
        if readers is not None:
            readers.discard(reader)
            if not readers:
                del self._waiting[generation_id]

    @property
    def page_bytes(self) -> int:
        """How much a reader takes at a time, about."""
        return self._page_bytes


class MemoryReader:
    """Implements chat.ports.LogReader: a cursor into one generation's log."""

    __slots__ = (
        "_closed",
        "_cursor",
        "_ended",
        "_generation_id",
        "_home",
        "_index",
        "_log",
        "_loop",
        "_news",
        "_stirred",
    )

    def __init__(self, home: MemoryLog, generation_id: str, after: Position | None) -> None:
        self._home = home
        self._generation_id = generation_id
        self._cursor = after
        self._log: _Log | None = None
        self._index = 0  # of the first batch not yet read, in self._log
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Future[None] | None = None
        self._stirred = True  # whether there may be something behind the cursor
        self._closed = False
        self._ended = False  # the terminal event is read; no later epoch is told behind it
        home.enter(generation_id, self)

    async def next(self) -> Sequence[Batch]:
        while not (self._closed or self._ended):
            if self._stirred:
                batches = self._take()
                if batches or self._ended:
                    return batches
            self._news = self._loop.create_future()
            try:
                await self._news
            finally:
                self._news = None
        return ()

    async def fetch(self) -> None:
        return

    def close(self) -> None:
        self._closed = True
        self._home.leave(self._generation_id, self)
        self.wake()

    def wake(self) -> None:
        """The log has news, or the reader was closed."""
        self._stirred = True
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _take(self) -> Sequence[Batch]:
        log = self._home.log_of(self._generation_id)
        if log is None:
            self._stirred = False
            return ()
        there = len(log.batches)
        if log is not self._log:
            batches = [*self._place(log)]
            size = sum(batch.size for batch in batches)
        else:
            batches, size = [], 0
        while self._index < there and size < self._home.page_bytes:
            batch = log.batches[self._index]
            batches.append(batch)
            self._index += 1
            size += batch.size
        self._stirred = self._index < there
        self._ended = log.closed_at is not None and not self._stirred
        return batches

    def _place(self, log: _Log) -> Sequence[Batch]:
        """Finds the cursor in a log and sets the next whole batch; what is to be read before it.

        A log begun anew under a reader is read from its first event, which is a `reset`.
        """
        before, self._log, self._index = self._log, log, 0
        if self._cursor is None or before is not None:
            return ()
        if self._cursor.epoch == log.epoch and self._cursor <= log.last:
            return self._rest(log, self._cursor.offset)
        # The whole text so far, and then on; but an end that is there is told by itself.
        offset = log.last.offset - (1 if log.closed_at is not None else 0)
        reset = Reset(self._home.text(log))
        return [Batch(log.epoch, offset, (reset,), size_of(reset)), *self._rest(log, offset)]

    def _rest(self, log: _Log, offset: int) -> Sequence[Batch]:
        """What is behind an offset in the batch that it stands in; the next batch is set."""
        self._index = bisect_right(log.batches, offset, key=lambda batch: batch.offset)
        rest = log.batches[self._index - 1].after(offset)
        return [rest] if rest.events else ()
