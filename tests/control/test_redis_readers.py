"""Who follows an answer that needs a reader, as its owner knows it, over many instances."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from counting import HASTY_SECONDS, TIMEOUT_SECONDS, counting

from redis_server import RedisServer
from runnel.chat.attendance import THERE_SECONDS, Attendance
from runnel.chat.audiences import Audiences
from runnel.control.redis_readers import RedisPresence
from runnel.errors import RunnelError

G = "generation"
GRACE = 5.0


class Instance:
    """One instance's audience, by a clock that the test moves."""

    def __init__(self, presence: RedisPresence) -> None:
        self.now = 1000.0
        self.audiences = Audiences(grace_seconds=GRACE, clock=lambda: self.now)
        self.presence = presence
        self.attendance = Attendance(self.audiences, presence, grace_seconds=GRACE)

    async def tell(self) -> None:
        """What `watch` tells, once."""
        left = self.audiences.take_left()
        there = dict.fromkeys(self.audiences.shared(), THERE_SECONDS)
        await self.presence.tell({**left, **there})


@asynccontextmanager
async def owner_and_others(
    url: str, prefix: str, *, timeout_seconds: float = TIMEOUT_SECONDS
) -> AsyncGenerator[tuple[Instance, ...]]:
    """The first makes an answer that needs a reader; for longer than the grace it has had none."""
    async with counting(url, timeout_seconds=timeout_seconds) as one:
        every = tuple(
            Instance(RedisPresence(one.client, one.reach, prefix, name)) for name in "abc"
        )
        every[0].audiences.expect(G)
        every[0].now += GRACE + 1
        yield every


async def deserted(owner: Instance) -> None:
    """Returns once nobody is there any more."""
    for _ in range(500):
        if await owner.attendance.deserted():
            return
        await asyncio.sleep(0.01)
    raise AssertionError


async def test_nobody_was_there_for_the_grace(redis_url: str, redis_prefix: str) -> None:
    async with owner_and_others(redis_url, redis_prefix) as (owner, *_):
        assert [*await owner.attendance.deserted()] == [G]


async def test_who_reads_at_another_instance_is_there(redis_url: str, redis_prefix: str) -> None:
    async with owner_and_others(redis_url, redis_prefix) as (owner, other, _):
        other.audiences.enter(G, shared=True)
        await other.tell()
        assert not await owner.attendance.deserted()
        left = await owner.presence.seconds_left([G, "another"])
        assert left.keys() == {G}
        assert 0 < left[G] <= THERE_SECONDS


async def test_who_has_left_there_is_gone_when_the_grace_is_over(
    redis_url: str, redis_prefix: str
) -> None:
    async with owner_and_others(redis_url, redis_prefix) as (owner, other, _):
        owner.attendance = Attendance(owner.audiences, owner.presence, grace_seconds=0.3)
        other.audiences.enter(G, shared=True)
        await other.tell()
        other.audiences.leave(G)
        await other.tell()
        began = time.monotonic()
        assert not await owner.attendance.deserted()
        await deserted(owner)
        assert time.monotonic() - began >= 0.2


async def test_who_was_sent_away_counts_as_there_till_another_comes_and_goes(
    redis_url: str, redis_prefix: str
) -> None:
    async with owner_and_others(redis_url, redis_prefix) as (owner, other, third):
        owner.attendance = Attendance(owner.audiences, owner.presence, grace_seconds=0)
        other.audiences.enter(G, shared=True)
        other.audiences.dismiss(G)
        await other.tell()
        assert not await owner.attendance.deserted()
        third.audiences.enter(G, shared=True)
        third.audiences.leave(G)
        await third.tell()
        await deserted(owner)


async def test_who_polls_lingers(redis_url: str, redis_prefix: str) -> None:
    async with owner_and_others(redis_url, redis_prefix) as (owner, other, _):
        other.audiences.enter(G, shared=True)
        other.audiences.leave(G, linger_seconds=35)
        await other.tell()
        assert 30 < (await owner.presence.seconds_left([G]))[G] <= 35


async def test_an_answer_that_needs_none_is_not_told_of(redis_url: str, redis_prefix: str) -> None:
    async with owner_and_others(redis_url, redis_prefix) as (owner, other, _):
        other.audiences.enter(G)
        other.audiences.leave(G)
        await other.tell()
        assert not await owner.presence.seconds_left([G])


@pytest.mark.parametrize("fault", ["stop", "freeze"])
async def test_while_redis_is_away_nobody_is_thought_to_have_left(
    redis: RedisServer, fault: str
) -> None:
    async with owner_and_others(redis.url, fault, timeout_seconds=HASTY_SECONDS) as (
        owner,
        other,
        _,
    ):
        getattr(redis, fault)()
        assert not await owner.attendance.deserted()
        other.audiences.enter(G, shared=True)
        with pytest.raises(RunnelError):
            await other.tell()
