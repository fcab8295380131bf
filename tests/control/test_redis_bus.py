"""What instances tell each other over Redis, and that no fault of it keeps them from it for long."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest
import structlog.testing

from redis_server import RedisServer
from runnel.chat.notices import Asked, Gone, Notice, Typing
from runnel.chat.orders import (
    AbortAllAsked,
    AbortAsked,
    Ended,
    HandedBack,
    Kept,
    Order,
    Revoked,
)
from runnel.control import redis_channel
from runnel.control.redis_bus import RedisBus
from runnel.control.redis_client import open_redis
from runnel.control.spoken import read, written
from waiting import soon

TIMEOUT_SECONDS = 0.5
ASKED = Asked(
    user_id="ana",
    session_id="a session",
    session_name=None,
    generation_id="a generation",
    message_id="a message",
    user_message_id="a question",
    question="How deep is the sea? 🌊\n",
    asked_at=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    key="a key",
    whole=True,
)
NOTICES: tuple[Notice, ...] = (
    ASKED,
    Typing("ana", "a session", "a connection", active=True),
    Gone("ana", "a session"),
)
ORDERS: tuple[Order, ...] = (
    AbortAsked("a generation", "user"),
    AbortAllAsked("ana", None, "server"),
    AbortAllAsked(None, "a session", "server"),
    Ended("a generation"),
    HandedBack(),
    Kept("a generation"),
    Revoked(),
)


@asynccontextmanager
async def running(url: str, prefix: str, instance: str) -> AsyncGenerator[RedisBus]:
    """A bus that talks and listens."""
    async with open_redis(url, timeout_seconds=TIMEOUT_SECONDS, most_connections=4) as client:
        bus = RedisBus(client, prefix, instance, timeout_seconds=TIMEOUT_SECONDS)
        tasks = [asyncio.create_task(bus.talk()), asyncio.create_task(bus.listen())]
        try:
            yield bus
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ends)


Buses = tuple[RedisBus, RedisBus]


@pytest.fixture
async def buses(redis_url: str, redis_prefix: str) -> AsyncGenerator[Buses]:
    async with two(redis_url, redis_prefix) as both:
        yield both


@asynccontextmanager
async def two(url: str, prefix: str) -> AsyncGenerator[Buses]:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running(url, prefix, "first"))
        second = await stack.enter_async_context(running(url, prefix, "second"))
        await asyncio.wait_for(first.listening.wait(), 5)
        await asyncio.wait_for(second.listening.wait(), 5)
        yield first, second


async def heard(of: RedisBus, say: Callable[[], None]) -> None:
    """Says it again and again until it is heard: what is said meanwhile may be lost."""
    notices = list[Notice]()
    with of.hearing("ana", notices.append):
        for _ in range(500):
            say()
            await asyncio.sleep(0.02)
            if notices:
                return
    raise AssertionError


@pytest.mark.parametrize("said", NOTICES + ORDERS, ids=lambda said: type(said).__name__)
def test_whatever_is_said_is_read_as_it_was(said: Notice | Order) -> None:
    assert read(written(said, "one"), but_of="another") == said
    assert read(written(said, "one"), but_of="one") is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"no JSON",
        b"[]",
        b'{"by":"one","kind":"Typing"}',
        b'{"by":"one","kind":"OfNextYear","said":{}}',
        b'{"by":"one","kind":"Typing","said":{"user_id":"ana"}}',
        b'{"by":"one","kind":"Typing","said":"typing"}',
        b'{"by":1,"kind":"Revoked","said":{}}',
    ],
)
def test_what_cannot_be_read_is_passed_over(message: bytes) -> None:
    assert read(message, but_of="another") is None


def test_a_member_that_a_later_version_added_is_passed_over() -> None:
    written_there = orjson.loads(written(Ended("a generation"), "one"))
    written_there["said"]["since"] = "next year"
    assert read(orjson.dumps(written_there), but_of="another") == Ended("a generation")


async def test_notices_are_heard_once_here_and_there_and_by_nobody_else(buses: Buses) -> None:
    here, there, others = list[Notice](), list[Notice](), list[Notice]()
    first, second = buses
    with (
        first.hearing("ana", here.append),
        second.hearing("ana", there.append),
        second.hearing("bea", others.append),
    ):
        for notice in NOTICES:
            first.publish(notice)
        assert here == [*NOTICES]  # at once
        first.publish(replace(ASKED, user_id="bea"))
        await soon(lambda: others)
        second.publish(replace(ASKED, generation_id="the last"))
        await soon(lambda: len(here) > len(NOTICES))
    assert here == [*NOTICES, replace(ASKED, generation_id="the last")]
    assert there == here


async def test_orders_are_heard_by_every_instance_and_the_own_at_once(buses: Buses) -> None:
    here, there = list[Order](), list[Order]()
    first, second = buses
    with first.orders.hearing(here.append), second.orders.hearing(there.append):
        for order in ORDERS:
            first.orders.publish(order)
        assert here == [*ORDERS]
        await soon(lambda: len(there) == len(ORDERS))
    first.orders.publish(Revoked())
    await heard(second, lambda: first.publish(NOTICES[1]))
    assert (here, there) == ([*ORDERS], [*ORDERS])


async def test_a_message_is_heard_within_50_ms(buses: Buses) -> None:
    first, second = buses
    came = asyncio.Queue[float]()
    took = list[float]()
    with second.orders.hearing(lambda _: came.put_nowait(time.perf_counter())):
        for _ in range(50):
            said_at = time.perf_counter()
            first.orders.publish(Revoked())
            took.append(await asyncio.wait_for(came.get(), 5) - said_at)
    # Some of them may wait for a machine that others use too.
    assert sorted(took)[25] < 0.05


async def test_two_prefixes_on_one_redis_do_not_meet(redis_url: str, redis_prefix: str) -> None:
    async with (
        two(redis_url, redis_prefix) as (first, second),
        running(redis_url, redis_prefix + "2", "other") as other,
    ):
        await asyncio.wait_for(other.listening.wait(), 5)
        strange = list[Order]()
        with other.orders.hearing(strange.append):
            first.orders.publish(Revoked())
            await heard(second, lambda: first.publish(NOTICES[1]))
        assert strange == []


async def test_who_fails_at_hearing_keeps_nobody_from_it(buses: Buses) -> None:
    first, second = buses

    def fail(_: Order) -> None:
        raise ZeroDivisionError

    with second.orders.hearing(fail), structlog.testing.capture_logs() as logs:
        first.orders.publish(Revoked())
        await heard(second, lambda: first.publish(NOTICES[1]))
    assert [entry["event"] for entry in logs] == ["control.not_heard"]


async def test_the_listener_survives_that_its_connection_is_cut(redis: RedisServer) -> None:
    async with two(redis.url, "cut") as (first, second):
        for _ in range(3):
            redis.call("CLIENT", "KILL", "TYPE", "pubsub")
            await heard(second, lambda: first.publish(NOTICES[1]))
            redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await heard(first, lambda: second.publish(NOTICES[1]))


@pytest.mark.parametrize("at_once", [True, False])
async def test_the_listener_survives_a_restart(redis: RedisServer, *, at_once: bool) -> None:
    async with two(redis.url, "restart") as (first, second):
        redis.stop(at_once=at_once)
        first.publish(NOTICES[1])
        await soon(lambda: not second.listening.is_set())
        await asyncio.to_thread(redis.start)
        await heard(second, lambda: first.publish(NOTICES[1]))
        await heard(first, lambda: second.publish(NOTICES[1]))


async def test_a_connection_that_is_silently_dead_is_noticed(redis: RedisServer) -> None:
    async with two(redis.url, "freeze") as (first, second):
        redis.freeze()
        await soon(lambda: not (second.listening.is_set() or first.listening.is_set()))
        redis.resume()
        await heard(second, lambda: first.publish(NOTICES[1]))


async def test_silence_is_no_fault(redis_url: str, redis_prefix: str) -> None:
    async with two(redis_url, redis_prefix) as (first, second):
        with structlog.testing.capture_logs() as logs:
            await asyncio.sleep(TIMEOUT_SECONDS * 3)
        assert second.listening.is_set()
        assert logs == []
        await heard(second, lambda: first.publish(NOTICES[1]))


async def test_redis_may_come_later_than_the_server(redis: RedisServer) -> None:
    redis.stop()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running(redis.url, "later", "first"))
        second = await stack.enter_async_context(running(redis.url, "later", "second"))
        first.publish(NOTICES[1])
        await asyncio.to_thread(redis.start)
        await heard(second, lambda: first.publish(NOTICES[1]))


async def test_what_waits_while_redis_is_away_is_bounded_and_its_loss_told_once(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_channel, "_MOST_WAITING", 10)
    monkeypatch.setattr(redis_channel, "_MOST_WAITING_BYTES", 5_000)
    async with two(redis.url, "away") as (first, second):
        there = list[Order]()
        redis.stop()
        await soon(lambda: not (second.listening.is_set() or first.listening.is_set()))
        with structlog.testing.capture_logs() as logs:
            first.orders.publish(Ended("taken at once"))  # what is being said is held beside it
            await asyncio.sleep(0.05)
            for number in range(100):
                first.orders.publish(Ended(str(number)))
            assert len(first._channel._waiting) == 10
            first.publish(replace(ASKED, question="x" * 4_000))
            first.publish(replace(ASKED, question="x" * 4_000))
            assert len(first._channel._waiting) == 1
            assert first._channel._waiting_bytes <= 5_000
        assert [entry["event"] for entry in logs].count("control.notices_lost") == 1
        with second.orders.hearing(there.append):
            await asyncio.to_thread(redis.start)
            await heard(second, lambda: first.publish(NOTICES[1]))
        assert first._channel._waiting_bytes == 0


async def test_what_was_said_last_is_told_before_the_end(redis_url: str, redis_prefix: str) -> None:
    async with running(redis_url, redis_prefix, "stays") as stays:
        await asyncio.wait_for(stays.listening.wait(), 5)
        there = list[Order]()
        with stays.orders.hearing(there.append):
            async with running(redis_url, redis_prefix, "leaves") as leaves:
                leaves.orders.publish(HandedBack())
                await leaves.flush(5)
            await soon(lambda: there == [HandedBack()])


async def test_a_redis_that_is_away_does_not_keep_a_server_from_its_end(redis: RedisServer) -> None:
    redis.stop()
    async with running(redis.url, "end", "leaves") as leaves:
        leaves.orders.publish(HandedBack())
        await asyncio.wait_for(leaves.flush(0.1), 1)
