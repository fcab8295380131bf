"""The control of one process: notices, orders, connections and spent tickets, in memory."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from runnel.accounts.connections import Connected
from runnel.chat.notices import Hear, Notice
from runnel.chat.orders import HearOrder, Order


class MemoryOrders:
    """Implements chat.orders.Orders."""

    def __init__(self) -> None:
        self._hearing: dict[object, HearOrder] = {}

    def publish(self, order: Order) -> None:
        for hear in tuple(self._hearing.values()):
            hear(order)

    @contextmanager
    def hearing(self, hear: HearOrder) -> Generator[None]:
        place = object()
        self._hearing[place] = hear
        try:
            yield
        finally:
            del self._hearing[place]


class MemoryBus:
    """Implements chat.notices.Bus, and has the orders beside it in `orders`."""

    def __init__(self) -> None:
        self.orders: Final = MemoryOrders()
        self._hearing = defaultdict[str, dict[object, Hear]](dict)

    def publish(self, notice: Notice) -> None:
        for hear in tuple(self._hearing.get(notice.user_id, {}).values()):
            hear(notice)

    @contextmanager
    def hearing(self, user_id: str, hear: Hear) -> Generator[None]:
        place = object()
        self._hearing[user_id][place] = hear
        try:
            yield
        finally:
            del self._hearing[user_id][place]
            if not self._hearing[user_id]:
                del self._hearing[user_id]


class MemoryConnections:
    """Implements accounts.connections.Connections."""

    def __init__(self) -> None:
        self._connected: dict[str, Connected] = {}
        self._of_user = Counter[str]()

    async def enter(self, connected: Connected, *, most_of_user: int) -> bool:
        if self._of_user[connected.user_id] >= most_of_user:
            return False
        self._connected[connected.id] = connected
        self._of_user[connected.user_id] += 1
        return True

    async def locate(self, connection_id: str, session_id: str) -> None:
        connected = self._connected[connection_id]
        self._connected[connection_id] = replace(connected, session_id=session_id)

    async def leave(self, connection_id: str) -> None:
        connected = self._connected.pop(connection_id, None)
        if connected is not None:
            self._of_user[connected.user_id] -= 1
            if not self._of_user[connected.user_id]:
                del self._of_user[connected.user_id]

    def get(self, connection_id: str) -> Connected | None:
        """One that is registered."""
        return self._connected.get(connection_id)

    @property
    def all(self) -> Sequence[Connected]:
        """All that are registered."""
        return tuple(self._connected.values())

    async def page(self, after: str | None, limit: int) -> Sequence[Connected]:
        ids = sorted(id_ for id_ in self._connected if after is None or id_ > after)
        return [self._connected[id_] for id_ in ids[:limit]]


class MemoryPresence:
    """Implements chat.attendance.Presence: there is nobody elsewhere."""

    async def tell(self, there: Mapping[str, float]) -> None:
        del there

    async def seconds_left(self, generation_ids: Collection[str]) -> Mapping[str, float]:
        del generation_ids
        return {}


class MemorySpent:
    """Implements accounts.tickets.Spent. What was issued before it was made counts as used."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._since = int(clock())
        self._until: dict[str, float] = {}  # in the order in which they were spent

    async def spend(self, ticket_id: str, issued_at: int, seconds: float) -> bool:
        now = self._clock()
        for id_, until in tuple(self._until.items()):
            if until > now:
                break
            del self._until[id_]
        if ticket_id in self._until or issued_at < self._since:
            return False
        self._until[ticket_id] = now + seconds
        return True
