"""What counts in Redis, as an instance has it: a client of its own, and whoever looks after it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from runnel.control.redis_client import RedisClient, open_redis
from runnel.control.redis_reach import Reach

#: How long a call to Redis may take. A machine that is busy takes its time too.
TIMEOUT_SECONDS = 10
#: The same where Redis is frozen, and the bound itself is waited for.
HASTY_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Counting:
    client: RedisClient
    reach: Reach


@asynccontextmanager
async def counting(
    url: str, *, timeout_seconds: float = TIMEOUT_SECONDS
) -> AsyncGenerator[Counting]:
    async with open_redis(url, timeout_seconds=timeout_seconds, most_connections=16) as client:
        reach = Reach(client, timeout_seconds=timeout_seconds)
        watching = asyncio.create_task(reach.watch())
        try:
            yield Counting(client, reach)
        finally:
            watching.cancel()
            (end,) = await asyncio.gather(watching, return_exceptions=True)
            assert isinstance(end, asyncio.CancelledError)


async def back(one: Counting) -> None:
    """Until it is known to it that Redis answers again."""
    for _ in range(500):
        if not one.reach._away.is_set():
            return
        await asyncio.sleep(0.02)
    raise AssertionError
