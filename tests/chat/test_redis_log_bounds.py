# pyright: reportPrivateUsage=false
"""What logs in Redis cost and hold: bounds, expiry, room, groups, prefixes, and who may drop what."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from log_contract import END, G, begun, everything, soon, take, tokens, told, waits
from logs_in_redis import alone, redis_log, until

from redis_server import RedisServer
from runnel.chat.ports import LogMissing, PositionConflict, StaleFence
from runnel.events import Batch, Event, Position, Reset, Token, ToolCall, text_of
from runnel.streamlog import redis_commits
from runnel.streamlog.redis import RedisLog
from runnel.streamlog.redis_link import Link


@pytest.fixture
async def log(redis_url: str, redis_prefix: str) -> AsyncIterator[RedisLog]:
    async with redis_log(redis_url, redis_prefix) as log:
        yield log


@pytest.fixture
async def there(redis_url: str, redis_prefix: str) -> AsyncIterator[RedisLog]:
    """Another instance on the same Redis."""
    async with redis_log(redis_url, redis_prefix) as log:
        yield log


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Link]:
    link = Link(redis_url, timeout_seconds=5)
    yield link
    await link.close()


async def keys_of(redis: Link, prefix: str) -> set[str]:
    found: list[bytes] = await redis.call("KEYS", f"{{{prefix}}}:*")
    return {key.decode().removeprefix(f"{{{prefix}}}:") for key in found}


async def test_every_kind_of_event_comes_back_as_it_was(log: RedisLog, there: RedisLog) -> None:
    events: list[Event] = [
        Token('a "\\\u2028🙂'),
        ToolCall(1, "id", "name", '{"a": '),
        ToolCall(1, None, None, "1}"),
        Token("b"),
        END,
    ]
    last = await begun(log, events)
    for each in (log, there):
        reader = each.read(G, Position(1, 0))
        found = [event for batch in await soon(reader) for event in batch.events]
        assert found == events
        reader.close()
    recovered = await there.recover(G, 2)
    assert recovered is not None
    assert (recovered.last, recovered.text, recovered.closed) == (last, 'a "\\\u2028🙂b', True)


async def test_a_long_log_is_held_here_by_its_tail_only(log: RedisLog, there: RedisLog) -> None:
    piece = "x" * 2000
    last = await log.begin(G, 1, 1, Reset(""))
    live, slow = there.read(G), there.read(G)
    text = ""
    for _ in range(2100):  # 4 MiB
        last = await log.append(G, 1, last, tokens(piece))
        for mirror in (log._mirrors[G], there._mirrors[G]):
            assert mirror.size < 64 * 1024 + 3000
            assert sum(batch.size for batch in mirror._batches) == mirror.size
        text += text_of(event for batch in await soon(live) for event in batch.events)
    while len(text) < 2100 * 2000:
        text += text_of(event for batch in await soon(live) for event in batch.events)
    assert text == piece * 2100
    await slow.fetch()
    assert len(slow._seen()) < 10  # a page of what is far behind, and no more
    for each in (log, there):
        page: list[Batch] = []
        reader = each.read(G, Position(9, 9))
        page += await soon(reader)
        assert page[0].events == (Reset(piece * 2100),)
        reader.close()
    live.close()
    slow.close()
    await until(lambda: not there._mirrors)


async def test_what_is_written_here_is_read_from_memory_and_shared(log: RedisLog) -> None:
    last = await begun(log)
    readers = [log.read(G, last) for _ in range(3)]
    waiting = [waits(reader) for reader in readers]
    await asyncio.sleep(0)
    await log.append(G, 1, last, tokens("a"))
    pages = [await page for page in waiting]
    assert len({id(page[0]) for page in pages}) == 1
    assert pages[0][0].frames == {}
    assert all(reader._looking is None for reader in readers)


async def test_readers_that_have_gone_leave_nothing_behind(log: RedisLog, there: RedisLog) -> None:
    last = await begun(log, tokens("a"))
    for after in (None, Position(1, 1), Position(7, 7)):
        for each in (log, there):
            reader = each.read(G, after)
            waiting = waits(reader)
            await asyncio.sleep(0)
            reader.close()
            await waiting
    assert set(log._mirrors) == {G}  # it is written here
    assert not there._mirrors
    await log.append(G, 1, last, [END])
    assert not log._mirrors
    there.read("never begun").close()
    assert not there._mirrors


async def test_a_finished_log_goes_with_its_time_and_weighs_nothing_more(
    redis_url: str, redis_prefix: str, redis: Link
) -> None:
    async with redis_log(redis_url, redis_prefix, retention_seconds=2) as log:
        last = await begun(log, tokens("a" * 1000))
        assert log.size > 1000
        kept: int = await redis.call("PTTL", log._keys.log(G))
        assert kept > 3_000_000
        await log.append(G, 1, last, [END])
        assert 0 < await redis.call("PTTL", log._keys.log(G)) <= 2000
        assert 0 < await redis.call("PTTL", log._keys.meta(G)) <= 2000
        await until(lambda: log.size == 0)
        assert await log.epoch(G) is None
        assert await keys_of(redis, redis_prefix) == {"bytes"}


async def test_a_log_that_nobody_ends_goes_too(
    redis_url: str, redis_prefix: str, redis: Link
) -> None:
    async with redis_log(redis_url, redis_prefix, running_seconds=0.2) as log:
        last = await begun(log, tokens("a"))
        await until(lambda: log.size == 0)
        assert await keys_of(redis, redis_prefix) == {"bytes"}
        with pytest.raises(LogMissing):
            await log.append(G, 1, last, tokens("b"))


async def test_over_its_bound_finished_logs_go_oldest_first_and_nothing_running(
    redis_url: str, redis_prefix: str
) -> None:
    async with redis_log(redis_url, redis_prefix, total_bytes=2000) as log:
        await begun(log, tokens("r" * 400), generation="running")
        await begun(log, tokens("x" * 600), [END], generation="oldest")
        reader = log.read("oldest")
        assert await log.epoch("oldest") == 1
        await begun(log, tokens("x" * 600), [END], generation="newer")
        await until(lambda: log.size <= 2000)
        assert not await soon(reader)  # who reads it attaches again
        assert [await log.epoch(name) for name in ("oldest", "running")] == [None, 1]
        assert not log.full
        last = await begun(log, tokens("y" * 4000), generation="too large")
        await until(lambda: log.full)
        assert [await log.epoch(name) for name in ("newer", "running")] == [None, 1]
        await log.append("too large", 1, last, [END])
        await until(lambda: not log.full)
        assert await log.epoch("too large") is None


async def test_what_is_dropped_or_begun_anew_weighs_nothing_more(
    log: RedisLog, redis_prefix: str, redis: Link
) -> None:
    await begun(log, tokens("a" * 1000), [END])
    await log.begin(G, 2, 1, END)
    assert 0 < log.size < 1000
    log.drop(G)
    await log._commits.idle.wait()
    assert log.size == 0
    assert await keys_of(redis, redis_prefix) == {"bytes"}
    assert not log._mirrors
    assert not log._drops


async def test_two_deployments_on_one_redis_do_not_see_each_other(
    redis_url: str, redis_prefix: str
) -> None:
    async with (
        alone(redis_url, redis_prefix) as (one, _),
        alone(redis_url, f"{redis_prefix}.other", total_bytes=100) as (other, settling),
    ):
        await begun(one, tokens("a"), [END])
        waiting = waits(other.read(G))
        await settling()
        assert not waiting.done()
        assert await other.epoch(G) is None
        assert await other.recover(G, 9) is None
        await begun(other, tokens("b" * 100), [END])
        assert told(await waiting)[0] == "1-0 start"
        await until(lambda: other.size == 0)
        other.drop(G)
        await settling()
        assert await everything(one, 3) == ["1-0 start", "1-1 a", "1-2 end"]


async def test_many_appends_take_few_calls(own_redis: RedisServer, redis_prefix: str) -> None:
    async with redis_log(own_redis.url, redis_prefix) as log:
        names = [f"g{number}" for number in range(40)]
        await asyncio.gather(*(log.begin(name, 1, 1, Reset("")) for name in names))
        own_redis.call("CONFIG", "RESETSTAT")
        appending = [
            log.append(name, 1, Position(1, offset), tokens(f"{offset} "))
            for name in names
            for offset in range(50)
        ]
        await asyncio.gather(*appending)
        calls = scripts_run(own_redis)
        assert 50 <= calls < 60  # a group has one of each log; the rest looks after Redis
        text = "".join(f"{offset} " for offset in range(50))
        recovered = [await log.recover(name, 1) for name in names]
        assert {found and found.text for found in recovered} == {text}


async def test_what_comes_one_after_the_other_gathers_and_what_is_urgent_does_not_wait(
    own_redis: RedisServer, redis_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_commits, "_GATHER_SECONDS", 3600)
    async with redis_log(own_redis.url, redis_prefix) as log:
        names = [f"g{number}" for number in range(4)]
        for name in names:
            await log.begin(name, 1, 1, Reset(""))
            await log.append(name, 1, Position(1, 0), tokens("a"))  # the first is waited for
        waiting = [log.append(name, 1, Position(1, 1), tokens("b")) for name in names[:3]]
        assert not (await asyncio.wait(waiting, timeout=0.2))[0]
        own_redis.call("CONFIG", "RESETSTAT")
        await log.append(names[3], 1, Position(1, 1), [END])
        # All that has gathered goes with it.
        assert await asyncio.gather(*waiting) == [Position(1, 2)] * 3
        assert scripts_run(own_redis) < 4  # the rest looks after Redis
        waiting = [log.append(name, 1, Position(1, 2), tokens("c")) for name in names[:3]]
        await log.begin("other", 1, 1, Reset(""))
        assert await asyncio.gather(*waiting) == [Position(1, 3)] * 3


async def test_who_is_there_when_a_log_begins_asks_redis_for_nothing(log: RedisLog) -> None:
    beginning = log.begin(G, 1, 1, Reset("a"))
    reader = log.read(G)
    waiting = waits(reader)
    await asyncio.sleep(0)
    assert not reader._looking
    await beginning
    assert told(await waiting) == ["1-0 reset:a"]
    reader.close()


@pytest.mark.parametrize("given_up", [False, True], ids=["refused", "given up"])
async def test_who_waits_for_a_log_that_does_not_begin_here_follows_the_one_that_there_is(
    log: RedisLog, there: RedisLog, *, given_up: bool
) -> None:
    """The database may be older than the log, or whoever began it gone."""
    if not given_up:
        await begun(there, tokens("a"))
    beginning = log.begin(G, 1, 1, Reset("b"))
    reader = log.read(G)
    waiting = waits(reader)
    await asyncio.sleep(0)
    if given_up:
        beginning.cancel()
        assert told(await waiting) == ["1-0 reset:b"]
    else:
        with pytest.raises(PositionConflict):
            await beginning
        assert told(await waiting)[0] == "1-0 start"
    await there.begin(G, 2, 2, Reset("c"))
    await there.append(G, 2, Position(2, 0), [END])
    assert (await take(reader, 9))[-2:] == ["2-0 reset:c", "2-1 end"]
    reader.close()
    assert not log._mirrors


def scripts_run(redis: RedisServer) -> int:
    """How often instances have had it run one."""
    stats = redis.call("INFO", "commandstats")
    (line,) = [line for line in stats.split() if line.startswith("cmdstat_evalsha")]
    return int(line.partition("calls=")[2].partition(",")[0])


async def test_who_gives_up_breaks_the_order_of_nobody(log: RedisLog) -> None:
    last = await begun(log)
    first = log.append(G, 1, last, tokens("a"))
    second = log.append(G, 1, Position(1, 1), tokens("b"))
    beginning = log.begin("other", 1, 1, Reset(""))
    first.cancel()
    beginning.cancel()
    assert await second == Position(1, 2)
    assert await everything(log, 3) == ["1-0 start", "1-1 a", "1-2 b"]
    assert await log.append("other", 1, Position(1, 0), tokens("c")) == Position(1, 1)


async def test_readers_here_follow_the_successor_of_a_writer_that_is_refused(
    log: RedisLog, there: RedisLog
) -> None:
    last = await begun(log, tokens("a"))
    reader = log.read(G)
    assert await take(reader, 2) == ["1-0 start", "1-1 a"]
    assert await there.recover(G, 2) is not None
    assert await there.append(G, 2, last, tokens("b")) == Position(1, 2)
    with pytest.raises(StaleFence):
        await log.append(G, 1, last, tokens("x"))
    assert told(await soon(reader)) == ["1-2 b"]
    await there.append(G, 2, Position(1, 2), [END])
    assert await take(reader, 9) == ["1-3 end"]
    reader.close()
    assert not log._mirrors


@pytest.mark.parametrize("late", [False, True], ids=["all confirmed", "one given up"])
async def test_readers_here_follow_the_successor_of_a_writer_that_has_stopped(
    log: RedisLog, there: RedisLog, *, late: bool
) -> None:
    """Nothing that it wrote was refused: its lease was over, and its readers were let go."""
    last = await begun(log, tokens("a"))
    if late:
        log.append(G, 1, last, tokens("b")).cancel()
        last = Position(1, 2)
    log.hide(G)
    await log._commits.idle.wait()
    reader = log.read(G, last)
    waiting = waits(reader)
    assert await there.recover(G, 2) is not None
    assert await there.append(G, 2, last, tokens("c")) == Position(1, last.offset + 1)
    assert told(await waiting) == [f"1-{last.offset + 1} c"]
    reader.close()


async def test_a_log_that_is_dropped_under_its_writer_is_begun_anew(
    log: RedisLog, there: RedisLog
) -> None:
    last = await begun(log, tokens("a"))
    there.drop(G)
    assert await there.epoch(G) is None
    await there._commits.idle.wait()
    with pytest.raises(LogMissing):
        await log.append(G, 1, last, tokens("b"))
    await log.begin(G, 2, 1, Reset("ab"))
    assert await everything(there, 1) == ["2-0 reset:ab"]


async def test_a_log_taken_over_in_another_epoch_is_followed(
    log: RedisLog, there: RedisLog
) -> None:
    """Though this instance has written it, and has not heard yet that it does no more."""
    await begun(log, *(tokens("x" * 3000) for _ in range(40)))
    reader = log.read(G, Position(1, 1))  # too far behind for what is held here
    await there.begin(G, 2, 2, Reset("all"))
    assert told(await soon(reader)) == ["2-0 reset:all"] or told(await soon(reader))
    await there.append(G, 2, Position(2, 0), [Token("b")])
    assert (await take(reader, 1))[-1] == "2-1 b"
    reader.close()


async def test_the_key_that_wakes_an_instance_goes_with_it(
    log: RedisLog, there: RedisLog, redis_prefix: str, redis: Link
) -> None:
    for name in ("one", "two"):
        last = await begun(log, generation=name)
        waiting = waits(there.read(name, last))
        await until(lambda name=name: there._mirrors[name].followed)
        await asyncio.sleep(0.05)  # the call for the one before is on its way
        await log.append(name, 1, last, tokens("a"))
        assert told(await waiting) == ["1-1 a"]
    (wake,) = [key for key in await keys_of(redis, redis_prefix) if key.startswith("wake:")]
    assert await redis.call("XLEN", f"{{{redis_prefix}}}:{wake}") == 1
    assert 0 < await redis.call("PTTL", f"{{{redis_prefix}}}:{wake}") <= 10_000
