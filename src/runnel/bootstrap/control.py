"""What instances tell each other and count together: in memory, or over Redis."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from runnel.accounts.connections import Connections
from runnel.accounts.tickets import Spent
from runnel.chat.attendance import Presence
from runnel.chat.notices import Bus
from runnel.chat.orders import Orders
from runnel.control.memory import MemoryBus, MemoryConnections, MemoryPresence, MemorySpent
from runnel.edge.limits import WindowMemory, WindowStorage
from runnel.settings import Settings


@dataclass(frozen=True, slots=True)
class Control:
    """`windows` are those of the limits."""

    bus: Bus
    orders: Orders
    connections: Connections
    spent: Spent
    windows: WindowStorage
    presence: Presence


@asynccontextmanager
async def open_control(settings: Settings, instance: str) -> AsyncGenerator[Control]:
    """`instance` names this one. That Redis is away keeps no server from starting."""
    if settings.redis_url:
        from runnel.bootstrap.control_redis import over_redis  # noqa: PLC0415 - only Redis needs it

        async with over_redis(settings, instance) as control:
            yield control
    else:
        bus = MemoryBus()
        yield Control(
            bus, bus.orders, MemoryConnections(), MemorySpent(), WindowMemory(), MemoryPresence()
        )
