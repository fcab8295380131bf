"""The windows of the limits, shared by all instances; while Redis is away each counts by itself.

The moments in them are those of the instances' clocks.
"""

import time
from typing import Any

from limits.aio.storage import RedisStorage
from limits.aio.storage.base import MovingWindowSupport
from typing_extensions import override

from runnel.control.redis_client import RedisClient
from runnel.control.redis_reach import AwayError, Reach
from runnel.control.redis_scripts import HIT


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
        self._hit = client.register_script(HIT)

    async def hit(self, key: str, limit: int, expiry: int) -> tuple[bool, float, int]:
        """In one call, where limits' own way takes two."""
        now = time.time()
        keys, arguments = [self.bridge.prefixed_key(key)], [now, limit, expiry]
        try:
            taken, count, since = await self._reach.ask(lambda: self._hit(keys, arguments))
        except AwayError:
            alone = await self._alone.acquire_entry(key, limit, expiry)
            return alone, *await self._alone.get_moving_window(key, limit, expiry)
        return bool(taken), float(since) if count else now, count

    @override
    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        try:
            return await self._reach.ask(lambda: self.bridge.get_moving_window(key, limit, expiry))
        except AwayError:
            return await self._alone.get_moving_window(key, limit, expiry)
