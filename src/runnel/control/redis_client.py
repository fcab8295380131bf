"""The client of Redis as the control uses it: it tries nothing again by itself.

Whoever calls bounds the call by `asyncio.timeout`. The client's own bound of a call stands on
`asyncio.wait_for`, which before Python 3.12 may swallow that its task was cancelled.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeAlias

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

#: redis says too little of its types.
RedisClient: TypeAlias = Any
#: What a call raises whose Redis is away, or does not do what it is told. RuntimeError is what
#: uvloop says of a connection that was reset while nobody read from it.
FAULTS: Final = (RedisError, OSError, TimeoutError, RuntimeError)


@asynccontextmanager
async def open_redis(
    url: str, *, timeout_seconds: float, most_connections: int
) -> AsyncGenerator[RedisClient]:
    """A client that connects when it is used. Whoever finds no free connection waits for one."""
    pools: Any = BlockingConnectionPool
    pool = pools.from_url(
        url,
        max_connections=most_connections,
        timeout=timeout_seconds,
        socket_timeout=None,
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    client: RedisClient = Redis.from_pool(pool)
    try:
        yield client
    finally:
        with suppress(*FAULTS):  # over TLS it waits for a word of the other end
            async with asyncio.timeout(timeout_seconds):
                await client.aclose()
