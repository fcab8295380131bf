"""The limits of many instances: one budget, and a bounded one of each while Redis is away."""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import structlog.testing
from counting import HASTY_SECONDS, TIMEOUT_SECONDS, Counting, back, counting
from limits import parse

from redis_server import RedisServer
from runnel.control.redis_windows import RedisWindows
from runnel.edge.limits import WindowMemory, Windows

TEN = parse("10/minute")


@asynccontextmanager
async def windows(
    url: str, prefix: str, *, timeout_seconds: float = TIMEOUT_SECONDS
) -> AsyncGenerator[tuple[Windows, Counting]]:
    async with counting(url, timeout_seconds=timeout_seconds) as one:
        yield Windows(RedisWindows(one.client, one.reach, prefix, WindowMemory())), one


async def taken(windows: Windows, times: int, key: str = "ana") -> int:
    """How many of so many hits at once found a place."""
    hits = await asyncio.gather(*(windows.hit(TEN, "messages", key) for _ in range(times)))
    return sum(hit for hit, _ in hits)


async def test_two_instances_share_one_budget(redis_url: str, redis_prefix: str) -> None:
    async with (
        windows(redis_url, redis_prefix) as (first, _),
        windows(redis_url, redis_prefix) as (second, _),
    ):
        assert await taken(first, 4) == 4
        hit, standing = await second.hit(TEN, "messages", "ana")
        assert hit
        assert (standing.limit, standing.remaining) == (10, 5)
        assert 55 <= standing.reset_in <= 60
        assert await taken(second, 1, "bea") == 1
        both = await asyncio.gather(taken(first, 20), taken(second, 20))
        assert sum(both) == 5
        assert (await first.standing(TEN, "messages", "ana")).remaining == 0


async def test_two_prefixes_on_one_redis_have_budgets_of_their_own(
    redis_url: str, redis_prefix: str
) -> None:
    async with (
        windows(redis_url, redis_prefix) as (first, _),
        windows(redis_url, redis_prefix + "2") as (other, _),
    ):
        assert await taken(first, 20) == 10
        assert await taken(other, 20) == 10


async def test_a_window_moves_as_a_naive_one_does_and_as_the_librarys_own(
    redis_url: str, redis_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, naive = time.time(), deque[float]()
    fake = SimpleNamespace(time=lambda: now)
    for module in ("runnel.control.redis_windows", "limits.aio.storage.redis.redispy"):
        monkeypatch.setattr(f"{module}.time", fake)
    limit, pauses = parse("3/minute"), random.Random(1)
    async with windows(redis_url, redis_prefix) as (first, _):
        for _ in range(200):
            now += pauses.choice((0.0, 0.25, 7.5, 29.75, 30.0, 59.75, 60.0, 60.25))
            while naive and naive[0] < now - 60:
                naive.popleft()
            free = len(naive) < 3
            if free:
                naive.append(now)
            taken, standing = await first.hit(limit, "messages", "ana")
            assert taken == free
            # A place that frees at this very moment is shown as free already.
            shown = [moment for moment in naive if moment > now - 60]
            assert standing.remaining == 3 - len(shown)
            assert standing.reset_at == pytest.approx((shown or [now])[0] + 60)
            # The library counts that place still.
            found = await first.standing(limit, "messages", "ana")
            assert found.remaining == 3 - len(naive)


async def test_its_keys_are_below_the_prefix_and_run_out(redis: RedisServer) -> None:
    redis.call("FLUSHALL")
    async with windows(redis.url, "mine") as (first, _):
        await taken(first, 1)
        (key,) = redis.call("KEYS", "*").split()
    assert key.startswith("{mine}:limits:")
    assert 0 < int(redis.call("TTL", key)) <= 60


async def test_what_was_counted_survives_a_restart_and_its_scripts_too(redis: RedisServer) -> None:
    async with windows(redis.url, "restart") as (first, one):
        assert await taken(first, 6) == 6
        redis.stop()
        await asyncio.to_thread(redis.start)
        await first.standing(TEN, "messages", "ana")
        await back(one)
        assert await taken(first, 20) == 4


async def test_a_redis_that_is_away_leaves_each_its_bound_and_tells_so_once(
    redis: RedisServer,
) -> None:
    async with windows(redis.url, "away") as (first, one):
        redis.stop()
        with structlog.testing.capture_logs() as logs:
            assert await taken(first, 30) == 10
            assert await taken(first, 1, "bea") == 1
            await asyncio.to_thread(redis.start)
            await back(one)
        assert [(entry["event"], entry["log_level"]) for entry in logs] == [
            ("redis.away", "warning"),
            ("redis.back", "info"),
        ]
        assert await taken(first, 20) == 10  # those in Redis: nothing was counted there


async def test_no_hit_waits_long_for_a_redis_that_hangs(redis: RedisServer) -> None:
    async with windows(redis.url, "hangs", timeout_seconds=HASTY_SECONDS) as (first, one):
        assert await taken(first, 3) == 3
        redis.freeze()
        began = time.monotonic()
        assert await taken(first, 30) == 10
        assert time.monotonic() - began < HASTY_SECONDS + 0.5
        slowest = 0.0
        while time.monotonic() - began < 2.5:
            before = time.monotonic()
            await first.hit(TEN, "messages", "bea")
            slowest = max(slowest, time.monotonic() - before)
            await asyncio.sleep(0.01)
        assert slowest < HASTY_SECONDS / 2
        redis.resume()
        await back(one)
        assert await taken(first, 20) <= 7  # what had been sent it counted when it went on


async def test_a_redis_that_is_not_there_yet_fails_nobody(redis: RedisServer) -> None:
    redis.stop()
    async with windows(redis.url, "later") as (first, one):
        assert await taken(first, 20) == 10
        await asyncio.to_thread(redis.start)
        await back(one)
        assert await taken(first, 20) == 10


async def test_a_redis_that_takes_no_writes_fails_nobody(redis: RedisServer) -> None:
    async with windows(redis.url, "full") as (first, one):
        redis.call("CONFIG", "SET", "maxmemory", "1")
        try:
            assert await taken(first, 20) == 10
        finally:
            redis.call("CONFIG", "SET", "maxmemory", "0")
        await back(one)
        assert await taken(first, 20) == 10
