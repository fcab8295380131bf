# pyright: reportPrivateUsage=false
"""The stream log in memory keeps its port's contract."""

import asyncio
from collections.abc import Sequence

import pytest

from runnel.chat.ports import LogMissing, LogReader, PositionConflict, StaleFence
from runnel.events import Batch, End, Event, Position, Reset, Start, Token, Usage
from runnel.streamlog.memory import MemoryLog

G = "generation"
START = Start(G, "session", "message", "question", "model")
END = End(
    finish_reason="stop",
    usage=Usage(1, 1, "provider"),
    model="model",
    provider="provider",
    provider_model="m",
    text_length=1,
    latency_ms=1,
    first_token_ms=1,
)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(retention_seconds=3600, total_bytes=1_000_000, page_bytes=1000)


def tokens(*texts: str) -> list[Event]:
    return [Token(text) for text in texts]


async def begun(log: MemoryLog, *batches: Sequence[Event], generation: str = G) -> Position:
    """A log of epoch 1 with its start and these batches behind it; its last position."""
    last = await log.begin(generation, 1, 1, START)
    for batch in batches:
        last = await log.append(generation, 1, last, batch)
    return last


def texts_of(batches: Sequence[Batch]) -> list[str]:
    events = [event for batch in batches for event in batch.events]
    return [event.text if isinstance(event, Token | Reset) else event.type for event in events]


def positions_of(batches: Sequence[Batch]) -> list[str]:
    return [
        f"{batch.epoch}-{batch.offset + index}"
        for batch in batches
        for index in range(len(batch.events))
    ]


def waits(reader: LogReader) -> "asyncio.Task[Sequence[Batch]]":
    return asyncio.create_task(reader.next())


async def settled() -> None:
    """Every task has gone as far as it can by itself."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_events_stand_at_ascending_positions_in_the_order_of_appending(
    log: MemoryLog,
) -> None:
    assert await log.begin(G, 1, 1, START) == Position(1, 0)
    assert await log.append(G, 1, Position(1, 0), tokens("a", "b")) == Position(1, 2)
    assert await log.append(G, 1, Position(1, 2), [*tokens("c"), END]) == Position(1, 4)
    batches = await log.read(G).next()
    assert texts_of(batches) == ["start", "a", "b", "c", "end"]
    assert positions_of(batches) == ["1-0", "1-1", "1-2", "1-3", "1-4"]


@pytest.mark.parametrize("offset", range(5))
async def test_a_reader_goes_on_behind_any_position_of_a_batch(log: MemoryLog, offset: int) -> None:
    await begun(log, tokens("a", "b", "c"), tokens("d", "e"))
    batches = await log.read(G, Position(1, offset)).next()
    everything = ["start", "a", "b", "c", "d", "e"]
    assert texts_of(batches) == everything[offset + 1 :]
    assert positions_of(batches) == [f"1-{place}" for place in range(offset + 1, 6)]


async def test_a_reader_at_the_last_position_waits_for_what_comes(log: MemoryLog) -> None:
    last = await begun(log, tokens("a", "b"))
    waiting = waits(log.read(G, last))
    await settled()
    assert not waiting.done()
    await log.append(G, 1, last, tokens("c"))
    assert texts_of(await waiting) == ["c"]


async def test_a_log_that_has_not_begun_is_waited_for(log: MemoryLog) -> None:
    waiting = waits(log.read(G))
    await settled()
    assert not waiting.done()
    await begun(log)
    assert texts_of(await waiting) == ["start"]


async def test_a_reader_that_is_woken_drains_all_that_is_there(log: MemoryLog) -> None:
    reader = log.read(G)
    waiting = waits(reader)
    await settled()
    last = await begun(log)
    for text in "abc":  # before the reader has had its turn
        last = await log.append(G, 1, last, tokens(text))
    assert texts_of(await waiting) == ["start", "a", "b", "c"]
    waiting = waits(reader)
    await settled()
    assert not waiting.done()
    await log.append(G, 1, last, tokens("d"))
    assert texts_of(await waiting) == ["d"]


async def test_positions_are_compared_as_numbers(log: MemoryLog) -> None:
    last = await begun(log, *(tokens(str(number)) for number in range(1, 12)))
    assert last == Position(1, 11)
    assert texts_of(await log.read(G, Position(1, 9)).next()) == ["10", "11"]


async def test_a_reader_far_behind_reads_in_pages(log: MemoryLog) -> None:
    await begun(log, *(tokens("x" * 300) for _ in range(20)))
    reader = log.read(G)
    pages = [await reader.next() for _ in range(10)]
    assert [len(page) for page in pages] == [3, *[2] * 9]  # 200 + 300 bytes each, page at 1000
    assert positions_of([batch for page in pages for batch in page]) == [
        f"1-{offset}" for offset in range(21)
    ]


async def test_an_event_larger_than_a_page_is_read_all_the_same(log: MemoryLog) -> None:
    await begun(log, tokens("x" * 5000), tokens("y" * 5000))
    reader = log.read(G, Position(1, 0))
    assert [texts_of(await reader.next()) for _ in "12"] == [["x" * 5000], ["y" * 5000]]


async def test_two_readers_share_the_batches_and_so_their_frames(log: MemoryLog) -> None:
    await begun(log, tokens("a"))
    first, second = await log.read(G).next(), await log.read(G).next()
    assert [id(batch) for batch in first] == [id(batch) for batch in second]


async def test_closing_wakes_a_reader_with_nothing(log: MemoryLog) -> None:
    last = await begun(log)
    reader = log.read(G, last)
    waiting = waits(reader)
    await settled()
    reader.close()
    assert await waiting == ()
    assert await reader.next() == ()
    assert log._waiting == {}
    reader.close()  # again is harmless


async def test_a_cancelled_wait_loses_nothing(log: MemoryLog) -> None:
    last = await begun(log)
    reader = log.read(G, last)
    waiting = waits(reader)
    await settled()
    await log.append(G, 1, last, tokens("a"))
    waiting.cancel()  # woken and cancelled at once
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert texts_of(await reader.next()) == ["a"]


async def test_an_epoch_begun_under_a_reader_is_read_from_its_reset(log: MemoryLog) -> None:
    await begun(log, tokens("a", "b"))
    reader = log.read(G)
    assert len(texts_of(await reader.next())) == 3
    waiting = waits(reader)
    await settled()
    assert await log.begin(G, 2, 1, Reset("ab")) == Position(2, 0)
    await log.append(G, 1, Position(2, 0), tokens("c"))
    batches = await waiting
    assert texts_of(batches) == ["ab", "c"]
    assert positions_of(batches) == ["2-0", "2-1"]


async def test_an_epoch_that_does_not_rise_is_refused(log: MemoryLog) -> None:
    await log.begin(G, 2, 1, Reset(""))
    for epoch in (1, 2):
        with pytest.raises(PositionConflict):
            await log.begin(G, epoch, 1, Reset(""))


async def test_an_older_owner_may_write_no_more(log: MemoryLog) -> None:
    last = await begun(log)
    await log.begin(G, 2, 2, Reset(""))
    with pytest.raises(StaleFence):
        await log.begin(G, 3, 1, Reset(""))
    with pytest.raises(StaleFence):
        await log.append(G, 1, Position(2, 0), tokens("x"))
    with pytest.raises(LogMissing):  # of another epoch
        await log.append(G, 1, last, tokens("x"))
    assert texts_of(await log.read(G).next()) == [""]


async def test_appending_where_the_log_does_not_end_is_refused(log: MemoryLog) -> None:
    await begun(log, tokens("a"))
    for offset in (0, 2, 99):
        with pytest.raises(PositionConflict):
            await log.append(G, 1, Position(1, offset), tokens("x"))
    with pytest.raises(LogMissing):
        await log.append("another", 1, Position(1, 0), tokens("x"))
    assert texts_of(await log.read(G).next()) == ["start", "a"]


async def test_nothing_is_appended_behind_an_end(log: MemoryLog) -> None:
    last = await begun(log, [END])
    with pytest.raises(PositionConflict):
        await log.append(G, 1, last, tokens("x"))
    assert texts_of(await log.read(G).next()) == ["start", "end"]


@pytest.mark.parametrize("after", [Position(1, 3), Position(2, 0), Position(9, 9)])
async def test_a_position_that_is_not_in_the_log_is_a_conflict(
    log: MemoryLog, after: Position
) -> None:
    await begun(log, tokens("a", "b"))
    reader = log.read(G, after)
    for _ in "12":
        with pytest.raises(PositionConflict):
            await reader.next()
    reader.close()
    assert log._waiting == {}


async def test_hiding_closes_the_readers_of_one_log_only(log: MemoryLog) -> None:
    last = await begun(log)
    other = await begun(log, generation="other")
    hidden = [waits(log.read(G, last)) for _ in range(3)]
    shown = waits(log.read("other", other))
    await settled()
    log.hide(G)
    assert [await waiting for waiting in hidden] == [(), (), ()]
    await log.append("other", 1, other, tokens("a"))
    assert texts_of(await shown) == ["a"]
    assert set(log._waiting) == {"other"}


async def test_over_its_bound_the_log_drops_finished_answers_oldest_first(log: MemoryLog) -> None:
    await begun(log, tokens("r" * 900_000), generation="running")
    for number in range(3):
        await begun(log, tokens("x" * 40_000), [END], generation=f"finished{number}")
    log.tidy()
    # 900 000, and two of 40 000 with what events weigh: the third is one too many.
    assert log.size <= 1_000_000
    assert set(log._logs) == {"running", "finished1", "finished2"}


async def test_a_finished_log_with_a_reader_is_kept_until_it_leaves(log: MemoryLog) -> None:
    await begun(log, tokens("x" * 900_000), [END], generation="read")
    reader = log.read("read")
    await begun(log, tokens("x" * 900_000), [END])
    log.tidy()
    assert "read" in log._logs
    assert len(texts_of(await reader.next())) > 0
    reader.close()
    await begun(log, tokens("x" * 200_000), [END], generation="next")
    log.tidy()
    assert "read" not in log._logs


async def test_a_running_log_is_never_trimmed() -> None:
    log = MemoryLog(retention_seconds=0, total_bytes=1, page_bytes=1000)
    last = await begun(log, tokens("a"))
    await begun(log, [END], generation="other")
    log.tidy()
    assert set(log._logs) == {G}
    assert log.full
    await log.append(G, 1, last, [END])
    assert not log.full
    assert log._logs == {}
    assert log.size == 0


async def test_a_reader_held_by_a_finished_log_does_not_keep_the_others() -> None:
    log = MemoryLog(retention_seconds=3600, total_bytes=1, page_bytes=1000)
    reader = log.read("oldest")
    await begun(log, [END], generation="oldest")
    await begun(log, [END])
    log.tidy()
    assert set(log._logs) == {"oldest"}
    reader.close()


async def test_a_dropped_log_is_gone_and_its_readers_with_it(log: MemoryLog) -> None:
    await begun(log, tokens("a"))
    reader = log.read(G)
    assert await reader.next()
    log.drop(G)
    assert await reader.next() == ()
    assert (log._logs, log.size) == ({}, 0)
    log.drop(G)


async def test_old_batches_forget_their_frames_and_new_ones_share_them(log: MemoryLog) -> None:
    last = await begun(log)
    for number in range(40):
        last = await log.append(G, 1, last, tokens(str(number)))
        reader = log.read(G, Position(1, last.offset - 1))
        (batch,) = await reader.next()
        assert batch.frames is None
        batch.frames = {"dialect": b"made once"}
        reader.close()
    batches = log._logs[G].batches
    kept = [batch.frames is not None for batch in batches]
    assert kept == [False] * (len(batches) - 16) + [True] * 16
