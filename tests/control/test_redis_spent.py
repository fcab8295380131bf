"""Tickets that are good once, over many instances: taken once, or refused."""

import asyncio
import time

import pytest
from counting import HASTY_SECONDS, counting

from redis_server import RedisServer
from runnel.control.redis_spent import RedisSpent
from runnel.errors import Code, RunnelError

LATER = 2**40  # issued in the far future: what Redis remembers began before


async def test_a_ticket_is_spent_once_over_two_instances(redis_url: str, redis_prefix: str) -> None:
    async with counting(redis_url) as one, counting(redis_url) as other:
        both = [RedisSpent(each.client, each.reach, redis_prefix) for each in (one, other)]
        tries = [each.spend("a ticket", LATER, 30) for each in both * 10]
        assert sum(await asyncio.gather(*tries)) == 1
        assert not await both[1].spend("a ticket", LATER, 30)
        assert await both[1].spend("another", LATER, 30)
        keys = await one.client.keys(f"{{{redis_prefix}}}:spent:*")
        assert len(keys) == 2
        assert all([0 < await one.client.ttl(key) <= 30 for key in keys])


async def test_two_prefixes_on_one_redis_do_not_meet(redis_url: str, redis_prefix: str) -> None:
    async with counting(redis_url) as one:
        assert await RedisSpent(one.client, one.reach, redis_prefix).spend("a", LATER, 30)
        assert await RedisSpent(one.client, one.reach, redis_prefix + "2").spend("a", LATER, 30)


@pytest.mark.parametrize("fault", ["stop", "freeze"])
async def test_while_redis_is_away_a_ticket_is_refused_and_later_ones_are_good(
    redis: RedisServer, fault: str
) -> None:
    async with counting(redis.url, timeout_seconds=HASTY_SECONDS) as one:
        spent = RedisSpent(one.client, one.reach, fault)
        assert await spent.spend("first", LATER, 30)
        redis.freeze() if fault == "freeze" else redis.stop()
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(RunnelError) as caught:
                await spent.spend("second", LATER, 30)
            assert caught.value.code is Code.STREAM_UNAVAILABLE
            assert caught.value.retryable
        assert time.monotonic() - began < 2
        await asyncio.to_thread(redis.resume if fault == "freeze" else redis.start)
        for _ in range(250):
            try:
                assert await spent.spend("third", LATER, 30)
                break
            except RunnelError:
                await asyncio.sleep(0.02)
        assert not await spent.spend("first", LATER, 30)


async def test_what_was_issued_before_redis_was_emptied_counts_as_spent(
    redis: RedisServer,
) -> None:
    async with counting(redis.url) as one:
        spent = RedisSpent(one.client, one.reach, "emptied")
        watching = asyncio.create_task(spent.watch())
        await asyncio.sleep(0.1)
        issued_at = int(time.time())
        await asyncio.sleep(1.1)
        assert await spent.spend("since", issued_at + 1, 30)
        redis.call("FLUSHALL")
        assert not await spent.spend("since", issued_at, 30)
        assert not await spent.spend("unused", issued_at, 30)
        assert await spent.spend("new", int(time.time()) + 1, 30)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
