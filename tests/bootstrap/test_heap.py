"""The garbage collector of a process that serves: kept away from what stays, and from busy moments."""

import asyncio
import gc
import os
import platform
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from runnel.bootstrap import heap
from waiting import soon

Gauges = dict[str, Callable[[], float]]
#: Blocks that come from the heap, and 60 MB of them.
FREED_BYTES: Final = 60_000
FREED: Final = 1000


class Circle:
    """What only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def left_behind() -> "weakref.ref[Circle]":
    return weakref.ref(Circle())


@pytest.fixture(autouse=True)
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Looks often, and at whatever there is; afterwards all is as it was."""
    monkeypatch.setattr(heap, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(heap, "_WORTH_A_LOOK", 0)
    # Nothing but the quiet moments collects.
    monkeypatch.setattr(heap, "_THRESHOLDS", (1_000_000, 10, 10))
    thresholds, callbacks = gc.get_threshold(), list(gc.callbacks)
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    assert gc.callbacks == callbacks


@pytest.fixture
def gauges() -> Gauges:
    return {}


def noting(gauges: Gauges) -> heap.Gauge:
    def note(name: str, what: str, value: Callable[[], float]) -> None:
        assert what.endswith(".")
        gauges[name] = value

    return note


async def test_what_is_there_is_never_looked_through_again(gauges: Gauges) -> None:
    there: list[list[object]] = [[] for _ in range(1000)]
    before = left_behind()
    async with heap.settled(noting(gauges), lambda: False):
        assert before() is None
        assert gauges["gc_frozen_objects"]() > len(there)
        assert all(each is not there for each in gc.get_objects())


async def test_garbage_goes_when_nobody_waits_and_not_before(gauges: Gauges) -> None:
    quiet = False
    async with heap.settled(noting(gauges), lambda: quiet):
        garbage = left_behind()
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert garbage() is not None
        quiet = True
        await soon(lambda: garbage() is None)
    # Nobody waited for that.
    assert gauges["gc_seconds"]() == gauges["gc_longest_seconds"]() == 0


async def test_what_lived_through_a_quiet_moment_is_settled_too(gauges: Gauges) -> None:
    async with heap.settled(noting(gauges), lambda: True):
        kept: list[list[object]] = [[] for _ in range(1000)]
        frozen = gauges["gc_frozen_objects"]()
        await soon(lambda: gauges["gc_frozen_objects"]() >= frozen + len(kept) / 2)


async def test_a_collection_at_another_time_is_told_with_how_long_it_took(gauges: Gauges) -> None:
    async with heap.settled(noting(gauges), lambda: False):
        gc.collect()
        gc.collect()
        longest, total = gauges["gc_longest_seconds"](), gauges["gc_seconds"]()
    assert 0 < longest < total


def test_large_blocks_can_be_given_back_wherever_this_runs() -> None:
    heap.give_back_large_blocks()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others keep no heap like this")
async def test_what_the_start_has_freed_is_given_back_to_the_system(gauges: Gauges) -> None:
    blocks = [b"-" * FREED_BYTES for _ in range(FREED)]
    del blocks[:-1]  # the last one keeps those below it from going back by themselves
    before = resident_bytes()
    async with heap.settled(noting(gauges), lambda: False):
        assert before - resident_bytes() > FREED * FREED_BYTES / 2
