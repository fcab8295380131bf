"""Who is judged to be away."""

import asyncio
import time

import pytest
import structlog.testing
from counting import HASTY_SECONDS, counting

from redis_server import RedisServer
from runnel.control.redis_reach import AwayError


async def test_a_loop_that_was_held_is_not_taken_for_a_redis_that_is_away(redis_url: str) -> None:
    with structlog.testing.capture_logs() as logs:
        async with counting(redis_url, timeout_seconds=HASTY_SECONDS) as one:
            for connected in (False, True):
                asking = asyncio.create_task(one.reach.ask(one.client.ping))
                if connected:
                    await asyncio.sleep(0)  # the question leaves
                # As what a process does when it starts.
                asyncio.get_running_loop().call_soon(time.sleep, 2 * HASTY_SECONDS)
                assert await asking is True
    assert logs == []


async def test_a_loop_that_is_held_for_ever_does_not_keep_anybody_waiting(
    redis: RedisServer,
) -> None:
    async def hold() -> None:
        while True:
            await asyncio.sleep(0)
            time.sleep(HASTY_SECONDS / 2)  # noqa: ASYNC251 - this is what is meant

    async with counting(redis.url, timeout_seconds=HASTY_SECONDS) as one:
        await one.client.ping()
        redis.freeze()
        holding = asyncio.create_task(hold())
        with pytest.raises(AwayError):
            await one.reach.ask(one.client.ping)
        holding.cancel()
