"""Streams that block, from a thread of their own: in order, in batches, and left at any time."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from runnel.models.threads import _MOST_AHEAD, from_thread
from waiting import soon, until

SECONDS = 5


class Source:
    """Counts, as fast as it is read, until it is told to wait; and says what became of it."""

    def __init__(self, *, most: int, wait_at: int | None = None) -> None:
        self._most = most
        self._wait_at = wait_at
        self.made = 0
        self.waits = threading.Event()
        self.goes_on = threading.Event()
        self.interrupted = threading.Event()
        self.ended_in: list[threading.Thread] = []

    def begin(self) -> Generator[int]:
        try:
            for number in range(self._most):
                if number == self._wait_at:
                    self.waits.set()
                    assert self.goes_on.wait(SECONDS)
                self.made += 1
                yield number
        finally:
            self.ended_in.append(threading.current_thread())

    def interrupt(self) -> None:
        self.interrupted.set()
        self.goes_on.set()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as pool:
        yield pool


@pytest.mark.parametrize("count", [0, 1, _MOST_AHEAD, 5 * _MOST_AHEAD + 7])
async def test_everything_comes_once_and_in_order(threads: ThreadPoolExecutor, count: int) -> None:
    source = Source(most=count)
    stream = from_thread(threads, source.begin, source.interrupt)
    batches = [batch async for batch in stream]
    assert [number for batch in batches for number in batch] == list(range(count))
    assert all(batches)
    assert not source.interrupted.is_set()


async def test_what_is_ready_together_comes_together(threads: ThreadPoolExecutor) -> None:
    source = Source(most=50, wait_at=1)
    stream = from_thread(threads, source.begin, source.interrupt)
    assert list(await anext(stream)) == [0]
    source.goes_on.set()
    until(lambda: source.ended_in)  # the loop does nothing else meanwhile
    assert list(await anext(stream)) == list(range(1, 50))


async def test_an_item_does_not_wait_for_the_next(threads: ThreadPoolExecutor) -> None:
    source = Source(most=2, wait_at=1)
    stream = from_thread(threads, source.begin, source.interrupt)
    assert list(await anext(stream)) == [0]
    assert not source.goes_on.is_set()
    await stream.aclose()


async def test_what_the_thread_raises_comes_behind_what_it_made(
    threads: ThreadPoolExecutor,
) -> None:
    def begin() -> Generator[int]:
        yield from range(3)
        raise OSError("the line is dead")

    got: list[int] = []

    async def read() -> None:
        async for batch in from_thread(threads, begin, _nothing):
            got.extend(batch)

    with pytest.raises(OSError, match="the line is dead"):
        await read()
    assert got == [0, 1, 2]


async def test_what_cannot_even_begin_is_raised(threads: ThreadPoolExecutor) -> None:
    def begin() -> Generator[int]:
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        await anext(from_thread(threads, begin, _nothing))


async def test_a_thread_is_nothing_far_ahead_of_its_reader(threads: ThreadPoolExecutor) -> None:
    source = Source(most=10 * _MOST_AHEAD)
    stream = from_thread(threads, source.begin, source.interrupt)
    read = len(await anext(stream))
    # One more than there is room for: it is made, and waits to be put.
    await soon(lambda: source.made == read + _MOST_AHEAD + 1)
    read += len(await anext(stream))
    assert read <= 2 * _MOST_AHEAD + 1
    await soon(lambda: source.made == read + _MOST_AHEAD + 1)
    await stream.aclose()
    await soon(lambda: source.ended_in)


async def test_leaving_interrupts_the_wait_and_ends_the_source_in_its_own_thread(
    threads: ThreadPoolExecutor,
) -> None:
    source = Source(most=10, wait_at=3)
    stream = from_thread(threads, source.begin, source.interrupt)
    await anext(stream)
    await soon(source.waits.is_set)
    await stream.aclose()
    assert source.interrupted.is_set()
    await soon(lambda: source.ended_in)
    assert source.ended_in[0].name.startswith("reader")
    assert source.made < 10


async def test_a_cancelled_reader_interrupts_too(threads: ThreadPoolExecutor) -> None:
    source = Source(most=1, wait_at=0)
    stream = from_thread(threads, source.begin, source.interrupt)
    reading = asyncio.ensure_future(anext(stream))
    await soon(source.waits.is_set)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert source.interrupted.is_set()


async def test_leaving_after_the_end_interrupts_nothing(threads: ThreadPoolExecutor) -> None:
    source = Source(most=1)
    stream = from_thread(threads, source.begin, source.interrupt)
    await anext(stream)
    await soon(lambda: source.ended_in)
    await asyncio.to_thread(threads.submit(_nothing).result)  # the thread is free again
    await stream.aclose()
    assert not source.interrupted.is_set()


async def test_who_leaves_before_a_thread_is_free_nothing_begins(
    threads: ThreadPoolExecutor,
) -> None:
    first, second = Source(most=1, wait_at=0), Source(most=1)
    one = from_thread(threads, first.begin, first.interrupt)
    other = from_thread(threads, second.begin, second.interrupt)
    asked = [asyncio.ensure_future(anext(stream)) for stream in (one, other)]
    await soon(first.waits.is_set)
    asked[1].cancel()
    await asyncio.gather(asked[1], return_exceptions=True)
    first.goes_on.set()
    assert list(await asked[0]) == [0]
    await asyncio.to_thread(threads.submit(_nothing).result)
    assert (second.made, second.interrupted.is_set()) == (0, False)


def test_a_thread_ends_though_the_loop_it_worked_for_is_gone(threads: ThreadPoolExecutor) -> None:
    source = Source(most=_MOST_AHEAD, wait_at=1)
    kept: list[AsyncGenerator[Sequence[int]]] = []  # so that nothing closes it with the loop

    async def read() -> None:
        kept.append(from_thread(threads, source.begin, source.interrupt))
        await anext(kept[0])

    loop = asyncio.new_event_loop()
    loop.run_until_complete(read())
    loop.close()
    source.goes_on.set()
    threads.submit(_nothing).result(SECONDS)
    assert source.made == _MOST_AHEAD


def _nothing() -> None:
    """Does nothing."""
