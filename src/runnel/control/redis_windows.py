"""The windows of the limits, shared by all instances; while Redis is away each counts by itself.

The moments in them are those of the instances' clocks.
"""

from typing import Any

from limits.aio.storage import RedisStorage
from limits.aio.storage.base import MovingWindowSupport
from typing_extensions import override

from runnel.control.redis_client import RedisClient
from runnel.control.redis_reach import AwayError, Reach


class RedisWindows(RedisStorage):
    """limits' storage in Redis. It fails nobody: `alone` counts while Redis is away."""

    def __init__(
        self, client: RedisClient, reach: Reach, prefix: str, alone: MovingWindowSupport
    ) -> None:
        pool: Any = client.connection_pool  # limits says that options are plain values
        super().__init__(
            "redis://",  # the pool knows where
            implementation="redispy",
            key_prefix=f"{{{prefix}}}:limits",
            connection_pool=pool,
        )
        self._reach = reach
        self._alone = alone

    @override
    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        try:
            return await self._reach.ask(
                lambda: self.bridge.acquire_entry(key, limit, expiry, amount)
            )
        except AwayError:
            return await self._alone.acquire_entry(key, limit, expiry, amount)

    @override
    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        try:
            return await self._reach.ask(lambda: self.bridge.get_moving_window(key, limit, expiry))
        except AwayError:
            return await self._alone.get_moving_window(key, limit, expiry)
