"""What instances tell each other and count together: in memory, or over Redis."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from runnel.bootstrap.background import running
from runnel.chat.notices import Bus
from runnel.chat.orders import Orders
from runnel.control.memory import MemoryBus
from runnel.control.redis_bus import RedisBus
from runnel.control.redis_client import open_redis
from runnel.settings import Settings

_MOST_CONNECTIONS: Final = 8
_FLUSH_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Control:
    bus: Bus
    orders: Orders


@asynccontextmanager
async def open_control(settings: Settings, instance: str) -> AsyncGenerator[Control]:
    """`instance` names this one. That Redis is away keeps no server from starting."""
    if not settings.redis_url:
        bus = MemoryBus()
        yield Control(bus, bus.orders)
        return
    seconds = settings.redis_timeout_seconds
    async with open_redis(
        settings.redis_url, timeout_seconds=seconds, most_connections=_MOST_CONNECTIONS
    ) as client:
        bus = RedisBus(client, settings.redis_key_prefix, instance, timeout_seconds=seconds)
        async with running(bus.talk(), bus.listen()):
            yield Control(bus, bus.orders)
            await bus.flush(_FLUSH_SECONDS)
