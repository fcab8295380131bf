"""What instances tell each other and count together: in memory, or over Redis."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from limits.aio.storage.base import Storage

from runnel.accounts.connections import Connections
from runnel.accounts.tickets import Spent
from runnel.bootstrap.background import running
from runnel.chat.attendance import Presence
from runnel.chat.notices import Bus
from runnel.chat.orders import Orders
from runnel.control.memory import MemoryBus, MemoryConnections, MemoryPresence, MemorySpent
from runnel.control.redis_bus import RedisBus
from runnel.control.redis_client import open_redis
from runnel.control.redis_connections import RedisConnections
from runnel.control.redis_reach import Reach
from runnel.control.redis_readers import RedisPresence
from runnel.control.redis_spent import RedisSpent
from runnel.control.redis_windows import RedisWindows
from runnel.edge.limits import WindowMemory
from runnel.settings import Settings

#: The listener and the talker have one each.
_BUS_CONNECTIONS: Final = 3
_COUNTING_CONNECTIONS: Final = 16
#: Nobody waits longer for what is counted.
_COUNTING_SECONDS: Final = 0.5
_FLUSH_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Control:
    """`windows` are those of the limits."""

    bus: Bus
    orders: Orders
    connections: Connections
    spent: Spent
    windows: Storage
    presence: Presence


@asynccontextmanager
async def open_control(settings: Settings, instance: str) -> AsyncGenerator[Control]:
    """`instance` names this one. That Redis is away keeps no server from starting."""
    if settings.redis_url:
        async with _over_redis(settings, instance) as control:
            yield control
    else:
        bus = MemoryBus()
        yield Control(
            bus, bus.orders, MemoryConnections(), MemorySpent(), WindowMemory(), MemoryPresence()
        )


@asynccontextmanager
async def _over_redis(settings: Settings, instance: str) -> AsyncGenerator[Control]:
    prefix, seconds = settings.redis_key_prefix, settings.redis_timeout_seconds
    counting_seconds = min(seconds, _COUNTING_SECONDS)
    async with AsyncExitStack() as stack:
        talking = await stack.enter_async_context(
            open_redis(
                settings.redis_url, timeout_seconds=seconds, most_connections=_BUS_CONNECTIONS
            )
        )
        counting = await stack.enter_async_context(
            open_redis(
                settings.redis_url,
                timeout_seconds=counting_seconds,
                most_connections=_COUNTING_CONNECTIONS,
            )
        )
        reach = Reach(counting, timeout_seconds=counting_seconds)
        bus = RedisBus(talking, prefix, instance, timeout_seconds=seconds)
        connections = RedisConnections(counting, reach, prefix)
        spent = RedisSpent(counting, reach, prefix)
        windows = RedisWindows(counting, reach, prefix, WindowMemory())
        await stack.enter_async_context(
            running(bus.talk(), bus.listen(), reach.watch(), connections.watch(), spent.watch())
        )
        presence = RedisPresence(counting, reach, prefix, instance)
        yield Control(bus, bus.orders, connections, spent, windows, presence)
        await bus.flush(_FLUSH_SECONDS)
