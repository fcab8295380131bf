"""Streams of libraries that can only block: one thread a stream, and batches for the loop.

The alternative, a hop to a thread pool and back for each item, costs more than the items.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Final, Generic, TypeVar

T = TypeVar("T")
#: A thread waits for its reader once it is so many items ahead.
_MOST_AHEAD: Final = 256


class _Handover(Generic[T]):
    """What one thread makes and one task takes: in order, all that is ready at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._changed = threading.Condition()
        self._items: list[T] = []
        self.finished = False
        self._error: Exception | None = None
        self._closed = False

    def run(self, begin: Callable[[], Generator[T]]) -> None:
        """The thread's whole life."""
        try:
            if not self._closed:
                with closing(begin()) as items:
                    for item in items:
                        if not self._put(item):
                            break
        except Exception as error:  # noqa: BLE001 - handed over as it is
            self._error = error
        finally:
            self.finished = True
            self._wake()

    def _put(self, item: T) -> bool:
        """False if nobody wants any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < _MOST_AHEAD)
            self._items.append(item)
            first = len(self._items) == 1
        if first:
            self._wake()
        return not self._closed

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop has gone, and who waited in it
            self._loop.call_soon_threadsafe(self._news.set)

    async def take(self) -> Sequence[T]:
        """All that is ready; waits if nothing is. Empty at the end. Raises what the thread did."""
        while True:
            finished = self.finished  # before the items: what came until then is among them
            with self._changed:
                batch, self._items = self._items, []
                self._changed.notify()
            if batch:
                return batch
            if finished:
                if self._error is not None:
                    raise self._error
                return ()
            await self._news.wait()
            self._news.clear()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()


async def from_thread(
    threads: ThreadPoolExecutor, begin: Callable[[], Generator[T]], interrupt: Callable[[], None]
) -> AsyncGenerator[Sequence[T]]:
    """What a blocking generator makes, in batches. It runs in one thread from begin to end.

    `interrupt` is called when nobody reads any more: it is to end a wait that the thread is in.
    """
    handover: _Handover[T] = _Handover()
    running = threads.submit(handover.run, begin)
    try:
        while batch := await handover.take():
            yield batch
    finally:
        handover.close()
        if not (running.cancel() or handover.finished):
            interrupt()
