"""The heap of a process that serves: no stream waits for the garbage collector, or for long.

For a process of its own alone: the collector is one for all that runs in a process.
"""

import asyncio
import ctypes
import gc
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, NoReturn

from runnel.bootstrap.background import running
from runnel.bootstrap.huge_pages import use_huge_pages

#: Shows a number: its name, what it is, and what it is now.
Gauge = Callable[[str, str, Callable[[], float]], None]

#: A collection of the youngest after so many new objects more than went, one of the middle ones
#: after five of those: 2,500 objects at most, which takes 2 ms, and 10 on a busy machine. A full
#: one, whose time grows with all that the answers under way and the logs hold, only if there was no
#: quiet moment for it while five million objects more came than went: three are full logs
#: (LOG_TOTAL_BYTES), and hardly anything of an answer needs a collector to go.
_THRESHOLDS: Final = (500, 5, 2000)
#: In a quiet moment already after so many of the middle ones.
_WORTH_A_LOOK: Final = 40
_LOOK_SECONDS: Final = 2.0
#: Larger blocks are taken from the system and given back to it (mallopt(3)). Left to itself, glibc
#: keeps for good what the hash of a password took, 19 MB, in each of the threads that make them.
_LARGE_BYTES: Final = 1024 * 1024
#: What asking glibc raises where there is another, or none.
_NO_GLIBC: Final = (OSError, AttributeError, TypeError)
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def give_back_large_blocks() -> None:
    """To be called before anything large is allocated. Does nothing without glibc."""
    with suppress(*_NO_GLIBC):
        mallopt: Any = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)


@asynccontextmanager
async def settled(gauge: Gauge, is_quiet: Callable[[], bool]) -> AsyncGenerator[None]:
    """To be entered once, when all is loaded and nobody is connected yet.

    What is there then stays for good, 300,000 objects: each full collection would look through
    them all, and stop every stream for a tenth of a second meanwhile.
    """
    gc.collect(0)  # of the older some hundred objects would go, after a tenth of a second
    gc.freeze()
    with suppress(*_NO_GLIBC):
        ctypes.CDLL(None).malloc_trim(0)  # what no huge page takes up again
    use_huge_pages()
    gc.set_threshold(*_THRESHOLDS)
    clock = _Clock()
    gauge("gc_frozen_objects", "Objects never looked through for garbage.", gc.get_freeze_count)
    gauge("gc_seconds", "How long collections took, beside those of idle moments.", clock.total)
    gauge("gc_longest_seconds", "How long the longest of them took.", clock.longest)
    gc.callbacks.append(clock)
    try:
        async with running(_tidy(is_quiet, clock)):
            yield
    finally:
        gc.callbacks.remove(clock)


async def _tidy(is_quiet: Callable[[], bool], clock: "_Clock") -> NoReturn:
    """Looks through all that came since the last time, when nobody waits; what lives is settled."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if gc.get_count()[2] >= _WORTH_A_LOOK and is_quiet():
            with clock.stopped():
                gc.collect()
                gc.freeze()


class _Clock:
    """How long collections stopped everything else.

    Plain numbers: whoever counts with locks might be stopped with one of them held.
    """

    def __init__(self) -> None:
        self._began = self._total = self._longest = 0.0
        self._stopped = False

    def __call__(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        elif not self._stopped:
            took = time.perf_counter() - self._began
            self._total += took
            self._longest = max(self._longest, took)

    def total(self) -> float:
        return self._total

    def longest(self) -> float:
        return self._longest

    @contextmanager
    def stopped(self) -> Generator[None]:
        """Inside, nothing counts."""
        self._stopped = True
        try:
            yield
        finally:
            self._stopped = False
