"""The register of many instances' connections: one bound a user, and nothing left of the dead."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

from counting import HASTY_SECONDS, TIMEOUT_SECONDS, Counting, back, counting

from redis_server import RedisServer
from runnel.accounts.connections import Connected
from runnel.control.redis_connections import RedisConnections

MOST = 3
RENEW_SECONDS = 0.2


@asynccontextmanager
async def register(
    url: str, prefix: str, *, renews: bool = True, timeout_seconds: float = TIMEOUT_SECONDS
) -> AsyncGenerator[tuple[RedisConnections, Counting]]:
    async with counting(url, timeout_seconds=timeout_seconds) as one:
        connections = RedisConnections(
            one.client, one.reach, prefix, renew_seconds=RENEW_SECONDS if renews else 1000
        )
        watching = asyncio.create_task(connections.watch())
        try:
            yield connections, one
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


def connected(number: int, user_id: str = "ana") -> Connected:
    return Connected(
        id=f"{number:04}",
        user_id=user_id,
        username=user_id,
        channel="session",
        session_id=None,
        address="::1",
        user_agent="a browser 🌊",
        connected_at=datetime.now(UTC),
    )


async def ids(connections: RedisConnections) -> list[str]:
    return [each.id for each in await connections.page(None, 100)]


async def test_the_bound_of_a_user_is_over_all_instances(redis_url: str, redis_prefix: str) -> None:
    async with (
        register(redis_url, redis_prefix) as (first, _),
        register(redis_url, redis_prefix) as (second, _),
    ):
        assert await first.enter(connected(1), most_of_user=MOST)
        assert await second.enter(connected(2), most_of_user=MOST)
        assert await first.enter(connected(3), most_of_user=MOST)
        assert not await first.enter(connected(4), most_of_user=MOST)
        assert not await second.enter(connected(4), most_of_user=MOST)
        assert await second.enter(connected(5, "bea"), most_of_user=MOST)
        await first.leave("0001")
        await first.leave("0001")
        await first.leave("0002")  # it is of the other
        assert await second.enter(connected(6), most_of_user=MOST)
        assert not await first.enter(connected(7), most_of_user=MOST)
        await asyncio.sleep(RENEW_SECONDS * 5)  # who is there stays there
        assert not await first.enter(connected(7), most_of_user=MOST)
        assert await ids(first) == ["0002", "0003", "0005", "0006"]


async def test_fifty_who_come_at_once_are_no_more_than_the_bound(
    redis_url: str, redis_prefix: str
) -> None:
    async with (
        register(redis_url, redis_prefix) as (first, _),
        register(redis_url, redis_prefix) as (second, _),
    ):
        came = await asyncio.gather(
            *(
                each.enter(connected(number), most_of_user=20)
                for number, each in enumerate([first, second] * 25)
            )
        )
        assert sum(came) == 20
        assert len(await ids(first)) == 20


async def test_pages_are_in_the_order_of_ids_and_tell_all(
    redis_url: str, redis_prefix: str
) -> None:
    async with (
        register(redis_url, redis_prefix) as (first, _),
        register(redis_url, redis_prefix) as (second, _),
    ):
        assert await first.page(None, 10) == []
        told = {number: connected(number) for number in (5, 1, 4, 2, 3)}
        for number, each in told.items():
            await (first if number % 2 else second).enter(each, most_of_user=9)
        await first.locate("0005", "a session")
        await first.locate("none", "a session")
        told[5] = replace(told[5], session_id="a session")
        seen = list[Connected]()
        while page := await second.page(seen[-1].id if seen else None, 2):
            seen += page
            await first.leave("0001")
        assert seen == [told[number] for number in (1, 2, 3, 4, 5)]
        await first.renew()
        assert (await first.page("0004", 1))[0].session_id == "a session"
        assert await first.page("0005", 10) == []


async def test_those_of_an_instance_that_died_run_out_and_the_others_stay(
    redis_url: str, redis_prefix: str
) -> None:
    async with register(redis_url, redis_prefix) as (alive, one):
        async with register(redis_url, redis_prefix) as (dies, _):
            for number in range(MOST):
                assert await dies.enter(connected(number), most_of_user=MOST)
        assert await alive.enter(connected(10, "bea"), most_of_user=MOST)
        assert not await alive.enter(connected(11), most_of_user=MOST)
        for _ in range(250):
            if await alive.enter(connected(11), most_of_user=MOST):
                break
            await asyncio.sleep(0.02)
        assert await ids(alive) == ["0010", "0011"]
        for key in alive._keys:
            kind = await one.client.type(key)
            assert await (one.client.hlen if kind == b"hash" else one.client.zcard)(key) == 2


async def test_nothing_is_kept_of_those_who_left(redis: RedisServer) -> None:
    redis.call("FLUSHALL")
    # A renewal that was cut off, and a call in vain, would leave what then runs out by itself.
    async with register(redis.url, "left", renews=False) as (first, _):
        await asyncio.gather(
            *(first.enter(connected(n, f"user {n}"), most_of_user=1) for n in range(300))
        )
        await first.renew()
        await asyncio.gather(*(first.leave(connected(number).id) for number in range(300)))
        await first.renew()
    assert redis.call("KEYS", "*").strip() == ""


async def test_who_leaves_while_it_is_renewed_is_not_put_back(redis: RedisServer) -> None:
    redis.call("FLUSHALL")
    async with register(redis.url, "races", renews=False) as (first, _):
        for number in range(100):
            await first.enter(connected(number), most_of_user=1000)
            await asyncio.gather(first.renew(), first.leave(connected(number).id))
    assert redis.call("KEYS", "*").strip() == ""


async def test_while_redis_is_away_the_bound_is_that_of_an_instance(redis: RedisServer) -> None:
    async with (
        register(redis.url, "away") as (first, one),
        register(redis.url, "away") as (second, other),
    ):
        assert await second.enter(connected(1), most_of_user=MOST)
        redis.stop()
        came = [await first.enter(connected(number), most_of_user=MOST) for number in range(2, 7)]
        assert came == [True, True, True, False, False]
        await first.locate("0002", "a session")
        await first.leave("0003")
        await second.leave("none")
        assert await ids(first) == ["0002", "0004"]
        assert await ids(second) == ["0001"]
        await asyncio.to_thread(redis.start)
        await back(one)
        await back(other)
        await first.renew()
        await second.renew()
        assert await ids(second) == ["0001", "0002", "0004"]
        assert not await second.enter(connected(9), most_of_user=MOST)


async def test_a_redis_that_hangs_holds_up_no_handshake_for_long(redis: RedisServer) -> None:
    async with register(redis.url, "hangs", timeout_seconds=HASTY_SECONDS) as (first, _):
        redis.freeze()
        async with asyncio.timeout(2):
            for number in range(MOST):
                assert await first.enter(connected(number), most_of_user=MOST)
            assert not await first.enter(connected(MOST), most_of_user=MOST)
            await first.leave("0000")
            assert await ids(first) == ["0001", "0002"]


async def test_a_redis_that_was_emptied_learns_who_is_there(redis: RedisServer) -> None:
    async with register(redis.url, "emptied") as (first, _):
        for number in range(MOST):
            assert await first.enter(connected(number), most_of_user=MOST)
        redis.call("FLUSHALL")
        assert not await first.enter(connected(MOST), most_of_user=MOST)
        await first.renew()
        assert await ids(first) == ["0000", "0001", "0002"]


async def test_what_another_version_tells_is_left_out(redis_url: str, redis_prefix: str) -> None:
    async with register(redis_url, redis_prefix) as (first, one):
        for number in (1, 2):
            await first.enter(connected(number), most_of_user=MOST)
        await one.client.hset(first._keys[2], "0001", b'{"id":1}')
        assert [each.id for each in await first.page(None, 10)] == ["0002"]
