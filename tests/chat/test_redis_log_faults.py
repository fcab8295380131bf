"""Redis goes in mid-answer, comes back, and may have forgotten: every reader ends with the text."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

import pytest
from log_contract import G, told
from logs_in_redis import redis_log, until
from scribes import Listener, Scribe, listening
from structlog.testing import capture_logs

from fault_relay import FaultRelay
from redis_server import PASSWORD, RedisServer
from runnel.chat.ports import PositionConflict
from runnel.errors import Code, RunnelError
from runnel.events import Position, Reset, Token
from runnel.streamlog.redis import RedisLog
from runnel.streamlog.redis_link import Link

TIMEOUT_SECONDS: Final = 0.3
Break = Callable[[RedisServer], None]


@pytest.fixture
def redis(own_redis: RedisServer) -> Iterator[RedisServer]:
    own_redis.call("FLUSHALL")
    yield own_redis
    own_redis.resume()
    if not own_redis._answers():
        own_redis.stop(at_once=True)
        own_redis.start()


@pytest.fixture
async def here(redis: RedisServer, redis_prefix: str) -> AsyncIterator[RedisLog]:
    async with redis_log(redis.url, redis_prefix, timeout_seconds=TIMEOUT_SECONDS) as log:
        yield log


@pytest.fixture
async def there(redis: RedisServer, redis_prefix: str) -> AsyncIterator[RedisLog]:
    async with redis_log(redis.url, redis_prefix, timeout_seconds=TIMEOUT_SECONDS) as log:
        yield log


def away(log: RedisLog) -> bool:
    try:
        log.check()
    except RunnelError as error:
        return error.code is Code.STREAM_UNAVAILABLE and error.retryable
    return False


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)


def restart(redis: RedisServer) -> None:
    redis.stop()
    redis.start()


def crash(redis: RedisServer) -> None:
    redis.stop(at_once=True)
    redis.start()


def flush(redis: RedisServer) -> None:
    redis.call("FLUSHALL")


def forget_scripts(redis: RedisServer) -> None:
    redis.call("SCRIPT", "FLUSH")


def close_connections(redis: RedisServer) -> None:
    redis.call("CLIENT", "KILL", "TYPE", "normal")


def crash_and_forget(redis: RedisServer) -> None:
    redis.stop(at_once=True)
    for file in (redis.folder / "appendonlydir").iterdir():
        file.unlink()
    redis.start()


FAULTS: Final = [
    restart,
    crash,
    flush,
    forget_scripts,
    close_connections,
    crash_and_forget,
]
FORGET: Final = (flush, crash_and_forget)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("busy", [True, False], ids=["while it is written", "in a pause"])
async def test_every_reader_ends_with_the_text_whatever_redis_has_gone_through(
    redis: RedisServer, here: RedisLog, there: RedisLog, fault: Break, *, busy: bool
) -> None:
    scribe = Scribe(here)
    await scribe.begin()
    early = [Listener(here, scribe), Listener(there, scribe), Listener(there, scribe)]
    async with listening(*early):
        await scribe.say(20)
        for listener in early:
            await listener.hears(scribe.text)
        saying = asyncio.create_task(scribe.say(500 if busy else 0))
        await in_thread(lambda: fault(redis))
        await saying
        await scribe.say(5)
        late = [Listener(there, scribe), Listener(here, scribe)]
        behind = [Listener(log, scribe, Position(1, 7)) for log in (here, there)]
        for listener in behind:
            listener.text = "".join(f"{number} " for number in range(1, 8))
        async with listening(*late, *behind):
            await scribe.say(5)
            await scribe.end()
    assert {listener.text for listener in (*early, *late, *behind)} == {scribe.text}
    # A crash may lose what was confirmed, if the machine goes too; this one did not.
    assert scribe.epochs == (2 if fault in FORGET else 1)
    assert not any(listener.resets for listener in early) or fault in FORGET
    assert not away(here)


async def test_a_redis_that_answers_nobody_is_waited_for(
    redis: RedisServer, here: RedisLog, there: RedisLog
) -> None:
    scribe = Scribe(here)
    await scribe.begin()
    listeners = [Listener(here, scribe), Listener(there, scribe)]
    with capture_logs() as logs:
        async with listening(*listeners):
            await scribe.say(10)
            redis.freeze()
            saying = asyncio.create_task(scribe.say(10))
            await until(lambda: away(here) and away(there))
            async with asyncio.timeout(TIMEOUT_SECONDS * 3):
                assert await here.epoch(G) is None
            heard = [listener.text for listener in listeners]
            assert len(heard[0]) < len(scribe.text)  # what is not confirmed is not told
            redis.resume()
            await saying
            await until(lambda: not (away(here) or away(there)))
            await scribe.end()
    assert {listener.text for listener in listeners} == {scribe.text}
    assert scribe.epochs == 1
    events = [(log["event"], log["log_level"]) for log in logs]
    assert events == [("streams.away", "warning")] * 2 + [("streams.back", "info")] * 2
    assert PASSWORD not in str(logs)


async def test_what_redis_had_confirmed_and_lost_is_begun_anew(
    redis: RedisServer, here: RedisLog, there: RedisLog
) -> None:
    scribe = Scribe(here)
    await scribe.begin()
    early = [Listener(here, scribe), Listener(there, scribe)]
    async with listening(*early):
        await scribe.say(10)
        kept = await in_thread(redis.keep)
        await scribe.say(10)
        for listener in early:
            await listener.hears(scribe.text)
        await in_thread(lambda: redis.restore(kept))
        future = Listener(there, scribe, Position(1, 20))
        async with listening(future):
            await scribe.say(10)
            await scribe.end()
    assert {listener.text for listener in (*early, future)} == {scribe.text}
    assert scribe.epochs == 2


async def test_nobody_asks_and_it_is_known_that_redis_is_away_and_is_back(
    redis: RedisServer, here: RedisLog
) -> None:
    await here.begin(G, 1, 1, Reset(""))
    assert not away(here)
    await in_thread(redis.stop)
    await until(lambda: away(here))
    assert await here.epoch(G) is None
    reader = here.read("another")
    async with asyncio.timeout(TIMEOUT_SECONDS * 3):
        await reader.fetch()  # does not wait for what may not come
    waiting = asyncio.create_task(reader.next())
    await asyncio.sleep(0)
    reader.close()
    assert not await waiting
    await in_thread(redis.start)
    await until(lambda: not away(here))
    assert await here.epoch(G) == 1


async def test_a_redis_that_is_away_at_first_is_waited_for(
    redis: RedisServer, redis_prefix: str
) -> None:
    await in_thread(redis.stop)
    async with redis_log(redis.url, redis_prefix, timeout_seconds=TIMEOUT_SECONDS) as log:
        beginning = asyncio.ensure_future(log.begin(G, 1, 1, Reset("a")))
        reading = asyncio.create_task(log.read(G).next())
        await until(lambda: away(log))
        assert not beginning.done()
        await in_thread(redis.start)
        assert await beginning == Position(1, 0)
        assert told(await reading) == ["1-0 reset:a"]


@pytest.mark.parametrize(
    ("breaks", "mends"),
    [
        pytest.param(
            [("CONFIG", "SET", "maxmemory", "1")], [("CONFIG", "SET", "maxmemory", "0")], id="OOM"
        ),
        pytest.param(
            [("REPLICAOF", "127.0.0.1", "1")], [("REPLICAOF", "NO", "ONE")], id="READONLY"
        ),
        pytest.param(
            [("ACL", "SETUSER", "default", "-evalsha"), ("ACL", "SETUSER", "default", "-eval")],
            [("ACL", "SETUSER", "default", "+evalsha"), ("ACL", "SETUSER", "default", "+eval")],
            id="NOPERM",
        ),
    ],
)
async def test_a_redis_that_refuses_to_write_is_waited_for(
    redis: RedisServer, here: RedisLog, breaks: list[list[str]], mends: list[list[str]]
) -> None:
    scribe = Scribe(here)
    await scribe.begin()
    await scribe.say(3)
    for command in breaks:
        await in_thread(lambda command=command: redis.call(*command))
    try:
        with capture_logs() as logs:
            saying = asyncio.create_task(scribe.say(3))
            await until(lambda: away(here))
            await asyncio.sleep(1.5)  # Redis is looked after meanwhile
            assert away(here)
            assert not saying.done()
    finally:
        for command in mends:
            await in_thread(lambda command=command: redis.call(*command))
    await saying
    assert [log["event"] for log in logs] == ["streams.away"]
    assert not away(here)
    listener = Listener(here, scribe)
    async with listening(listener):
        await scribe.end()
    assert listener.text == scribe.text
    assert scribe.epochs == 1


@pytest.fixture
def relay(redis: RedisServer) -> Iterator[FaultRelay]:
    with FaultRelay(redis.port) as relay:
        yield relay


@pytest.fixture
async def behind_relay(
    redis: RedisServer, relay: FaultRelay, redis_prefix: str
) -> AsyncIterator[RedisLog]:
    url = redis.url.replace(str(redis.port), str(relay.port))
    async with redis_log(url, redis_prefix) as log:
        yield log


async def applied_and_not_answered(
    log: RedisLog, redis: RedisServer, relay: FaultRelay, work: Awaitable[Position], last: Position
) -> "asyncio.Future[Position]":
    """Begins a write whose answer is lost: Redis has taken it, and then the network breaks."""
    link = Link(redis.url, timeout_seconds=5)
    relay.delay(0.5)
    writing = asyncio.ensure_future(work)
    while await link.call("HMGET", log._keys.meta(G), "epoch", "last") != [
        str(last.epoch).encode(),
        str(last.offset).encode(),
    ]:
        assert not writing.done()
    assert not writing.done()
    relay.cut()
    relay.delay(0)
    await link.close()
    return writing


async def test_a_write_whose_answer_is_lost_is_in_the_log_once(
    redis: RedisServer, relay: FaultRelay, behind_relay: RedisLog, there: RedisLog
) -> None:
    log = behind_relay
    await log.begin(G, 1, 1, Reset(""))  # all is connected
    begun = log.begin(G, 2, 1, Reset("a"))
    beginning = await applied_and_not_answered(log, redis, relay, begun, Position(2, 0))
    assert await beginning == Position(2, 0)
    with pytest.raises(PositionConflict):  # that one is not the same
        await log.begin(G, 2, 1, Reset("b"))
    appended = log.append(G, 1, Position(2, 0), [Token("b"), Token("c")])
    appending = await applied_and_not_answered(log, redis, relay, appended, Position(2, 2))
    assert await appending == Position(2, 2)
    assert await log.append(G, 1, Position(2, 2), [Token("d")]) == Position(2, 3)
    for each in (log, there):
        reader = each.read(G)
        assert told(await reader.next()) == ["2-0 reset:a", "2-1 b", "2-2 c", "2-3 d"]
        reader.close()


async def test_an_append_whose_answer_is_lost_with_all_of_redis_is_refused(
    redis: RedisServer, relay: FaultRelay, behind_relay: RedisLog
) -> None:
    scribe = Scribe(behind_relay)
    listener = Listener(behind_relay, scribe)
    async with listening(listener):
        await scribe.begin()
        await scribe.say(3)
        relay.refuse()
        saying = asyncio.create_task(scribe.say(3))
        await until(lambda: away(behind_relay))
        redis.call("FLUSHALL")
        relay.heal()
        await saying
        await scribe.end()
    assert (listener.text, scribe.epochs) == (scribe.text, 2)


async def test_a_network_that_breaks_again_and_again_loses_and_doubles_nothing(
    relay: FaultRelay, behind_relay: RedisLog, there: RedisLog
) -> None:
    scribe = Scribe(behind_relay)
    await scribe.begin()
    listeners = [Listener(log, scribe) for log in (behind_relay, behind_relay, there)]
    async with listening(*listeners):
        for _ in range(20):
            saying = asyncio.create_task(scribe.say(20))
            await asyncio.sleep(0)
            await in_thread(relay.cut)
            await saying
        await scribe.end()
    assert {listener.text for listener in listeners} == {scribe.text}
    assert scribe.epochs == 1
