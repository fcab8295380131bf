"""What instances tell each other and count together, over the Redis that they share."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from runnel.bootstrap.background import running
from runnel.bootstrap.control import Control
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


@asynccontextmanager
async def over_redis(settings: Settings, instance: str) -> AsyncGenerator[Control]:
    """That it is away keeps no server from starting."""
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
