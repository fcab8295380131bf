# pyright: reportPrivateUsage=false
"""What the server holds for WebSockets and their answers, counted."""

import asyncio
import gc
import os
import sys
from collections.abc import Iterable, Sized
from dataclasses import dataclass, replace
from pathlib import Path

from runnel.control.memory import MemoryBus, MemoryConnections
from runnel.edge.limits import WindowMemory
from standing import Standing
from waiting import POLL_SECONDS, POLLS


@dataclass(frozen=True, slots=True)
class Held:
    """`descriptors` are the whole process's: both ends of whatever is connected."""

    tasks: int
    descriptors: int
    connections: int
    sockets: int
    registered: int
    channels: int
    hearing: int
    followers: int
    log_readers: int
    holdings: int
    audience: int

    def within(self, expected: "Held") -> bool:
        """What was just ending may have been counted in what is expected."""
        return self.tasks <= expected.tasks and replace(self, tasks=expected.tasks) == expected


def held(stand: Standing) -> Held:
    """What it holds now."""
    parts = stand.server.server.parts

    async def count() -> Held:
        bus, register = parts.channels._bus, parts.connections
        assert isinstance(bus, MemoryBus)
        assert isinstance(register, MemoryConnections)
        assert bool(register._connected) == bool(register._of_user)
        return Held(
            tasks=len(asyncio.all_tasks()),
            descriptors=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - no files, and nothing waits
            connections=stand.server.connections,
            sockets=len(parts.sockets),
            registered=len(register._connected),
            channels=_all(parts.channels._channels.values()),
            hearing=_all(bus._hearing.values()),
            followers=stand.followers,
            log_readers=_all(stand.log._waiting.values()),
            holdings=_all(parts.watch._by_user.values()) + _all(parts.watch._by_login.values()),
            audience=sum(
                audience.readers for audience in parts.chat._followers.audiences._audiences.values()
            ),
        )

    return stand.server.call(count())


async def settled(stand: Standing, expected: Held, *, but_descriptors: bool = False) -> Held:
    """What is held once that is as expected: those who vanish are found out soon."""
    for _ in range(POLLS):
        now = await asyncio.to_thread(held, stand)
        wanted = replace(expected, descriptors=now.descriptors) if but_descriptors else expected
        if now.within(wanted):
            return now
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError(f"{held(stand)} is not {expected}")


def memory(stand: Standing) -> tuple[int, int]:
    """Blocks that the interpreter has given out, and bytes that the process has.

    What is kept of ended answers for some time, on purpose, is forgotten before.
    """
    # Each question counts against its user's limit, for a minute.
    storage = stand.server.server.parts.limiter.windows.storage
    assert isinstance(storage, WindowMemory)
    stand.server.call(storage.reset())

    async def drop() -> None:
        for generation_id in tuple(stand.log._finished):
            stand.log.drop(generation_id)

    stand.server.call(drop())
    stand.provider._requests.clear()
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    return sys.getallocatedblocks(), resident * os.sysconf("SC_PAGE_SIZE")


def _all(groups: Iterable[Sized]) -> int:
    return sum(map(len, groups))
