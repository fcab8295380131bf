"""That whoever uses the client can be cancelled at any moment."""

import asyncio
import random
from collections import Counter

from runnel.control.redis_client import RedisClient, open_redis

TIMES = 300


async def work(client: RedisClient) -> None:
    script = client.register_script("return 1")
    while True:
        async with asyncio.timeout(1):
            await script(keys=(), args=())
        async with client.pipeline(transaction=False) as pipeline:
            pipeline.get("nothing")
            await pipeline.execute()


async def test_no_cancellation_is_swallowed(redis_url: str) -> None:
    ends = Counter[bool]()
    async with open_redis(redis_url, timeout_seconds=5, most_connections=4) as client:
        for _ in range(TIMES):
            task = asyncio.create_task(work(client))
            for _ in range(random.randrange(30)):
                await asyncio.sleep(0)
            await asyncio.sleep(random.random() * 0.002)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=1)
            ends[bool(done)] += 1
            if not done:
                task.cancel()
    assert ends == {True: TIMES}
