"""The bus and the orders of many instances, over one channel of Redis'.

Whoever is here hears at once; what comes back from the channel is not told again.
"""

import asyncio
from contextlib import AbstractContextManager
from typing import Final, NoReturn, cast, get_args

import structlog

from runnel.chat.notices import Hear, Notice
from runnel.chat.orders import HearOrder, Order
from runnel.control.memory import MemoryBus, MemoryOrders
from runnel.control.redis_channel import RedisChannel
from runnel.control.redis_client import RedisClient
from runnel.control.spoken import read, written

_log = structlog.stdlib.get_logger()
_NOTICES: Final[tuple[type, ...]] = get_args(Notice)


class RedisOrders:
    """Implements chat.orders.Orders. `publish` and `hearing` are those of this instance's too."""

    def __init__(self, here: MemoryOrders, channel: RedisChannel, instance: str) -> None:
        self._here = here
        self._channel = channel
        self._instance = instance

    def publish(self, order: Order) -> None:
        self._here.publish(order)
        self._channel.say(written(order, self._instance))

    def hearing(self, hear: HearOrder) -> AbstractContextManager[None]:
        return self._here.hearing(hear)


class RedisBus:
    """Implements chat.notices.Bus, and has the orders beside it in `orders`.

    `instance` names this one. Whatever is said while Redis is away may be lost: whoever needs it
    looks at the store.
    """

    def __init__(
        self, client: RedisClient, prefix: str, instance: str, *, timeout_seconds: float
    ) -> None:
        self._here = MemoryBus()
        self._instance = instance
        self._channel = RedisChannel(
            client, f"{{{prefix}}}:notices", timeout_seconds=timeout_seconds
        )
        self.orders: Final = RedisOrders(self._here.orders, self._channel, instance)

    @property
    def listening(self) -> asyncio.Event:
        """Set while the channel is listened to."""
        return self._channel.listening

    def publish(self, notice: Notice) -> None:
        self._here.publish(notice)
        self._channel.say(written(notice, self._instance))

    def hearing(self, user_id: str, hear: Hear) -> AbstractContextManager[None]:
        return self._here.hearing(user_id, hear)

    async def flush(self, seconds: float) -> None:
        """Until the others are told all, but not for longer than that."""
        await self._channel.flush(seconds)

    async def talk(self) -> NoReturn:
        """Tells the others, until it is cancelled."""
        await self._channel.talk()

    async def listen(self) -> NoReturn:
        """Hears the others, until it is cancelled."""
        await self._channel.listen(self._hear)

    def _hear(self, message: bytes) -> None:
        said = read(message, but_of=self._instance)
        if said is None:
            return
        try:
            if isinstance(said, _NOTICES):
                self._here.publish(cast("Notice", said))
            else:
                self._here.orders.publish(cast("Order", said))
        except Exception:  # noqa: BLE001 - the outermost frame: what comes next is to be heard
            _log.exception("control.not_heard")
