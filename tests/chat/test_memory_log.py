# pyright: reportPrivateUsage=false
"""The stream log in memory keeps its port's contract, and its own bounds."""

import pytest
from log_contract import END, G, LogContract, begun, everything, soon, take, tokens, told, waits
from log_recovery import RecoveryContract

from runnel.events import Position, Reset
from runnel.streamlog.memory import MemoryLog


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(retention_seconds=3600, total_bytes=1_000_000, page_bytes=1000)


class TestMemoryLog(LogContract, RecoveryContract):
    """All that any stream log must do."""


async def test_a_reader_far_behind_reads_in_pages(log: MemoryLog) -> None:
    await begun(log, *(tokens("x" * 300) for _ in range(20)))
    reader = log.read(G)
    pages = [await soon(reader) for _ in range(10)]
    assert [len(page) for page in pages] == [3, *[2] * 9]  # 200 + 300 bytes each, page at 1000


async def test_an_event_larger_than_a_page_is_read_all_the_same(log: MemoryLog) -> None:
    await begun(log, tokens("x" * 5000), tokens("y" * 5000))
    reader = log.read(G, Position(1, 0))
    assert [told(await soon(reader)) for _ in "12"] == [
        ["1-1 " + "x" * 5000],
        ["1-2 " + "y" * 5000],
    ]


async def test_a_reset_larger_than_a_page_comes_alone(log: MemoryLog) -> None:
    await begun(log, tokens("x" * 5000), [END])
    reader = log.read(G, Position(9, 0))
    assert [told(await soon(reader)) for _ in "12"] == [["1-1 reset:" + "x" * 5000], ["1-2 end"]]


async def test_a_reader_that_is_woken_has_all_of_it_at_once(log: MemoryLog) -> None:
    waiting = waits(log.read(G))
    await TestMemoryLog().settled()
    await begun(log, *map(tokens, "abc"))  # before the reader has had its turn
    assert told(await waiting) == ["1-0 start", "1-1 a", "1-2 b", "1-3 c"]


async def test_a_log_begun_anew_under_a_reader_is_read_event_by_event(log: MemoryLog) -> None:
    await begun(log)
    reader = log.read(G)
    assert await take(reader, 1) == ["1-0 start"]
    last = await log.begin(G, 2, 1, Reset("ab"))
    await log.append(G, 1, last, tokens("c"))
    assert told(await soon(reader)) == ["2-0 reset:ab", "2-1 c"]


async def test_two_readers_share_the_batches_and_so_their_frames(log: MemoryLog) -> None:
    await begun(log, tokens("a"))
    first, second = await soon(log.read(G)), await soon(log.read(G))
    assert [id(batch) for batch in first] == [id(batch) for batch in second]


async def test_readers_that_have_gone_leave_nothing_behind(log: MemoryLog) -> None:
    await begun(log, tokens("a"), [END])
    for after in (None, Position(1, 1), Position(7, 7)):
        reader = log.read(G, after)
        await take(reader, 99)
        assert set(log._waiting) == {G}
        reader.close()
        assert log._waiting == {}
    log.read(G)
    log.hide(G)
    assert log._waiting == {}


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
    assert len(await take(reader, 99)) == 3
    reader.close()
    await begun(log, tokens("x" * 200_000), [END], generation="next")
    log.tidy()
    assert "read" not in log._logs


async def test_a_finished_log_is_kept_for_its_time_and_then_comes_as_a_reset() -> None:
    log = MemoryLog(retention_seconds=0, total_bytes=1_000_000, page_bytes=1000)
    last = await begun(log, tokens("a"), [END])
    assert await everything(log, 3) == ["1-0 start", "1-1 a", "1-2 end"]
    log.tidy()
    assert (log._logs, log.size) == ({}, 0)
    reader = log.read(G, last)
    await TestMemoryLog().assert_waits(reader)


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
    log = MemoryLog(retention_seconds=3600, total_bytes=1000, page_bytes=1000)
    reader = log.read("oldest")
    await begun(log, [END], generation="oldest")
    await begun(log, [END])
    log.tidy()
    assert set(log._logs) == {"oldest"}
    reader.close()


async def test_over_its_bound_even_what_is_read_goes_oldest_first_but_nothing_running() -> None:
    log = MemoryLog(retention_seconds=3600, total_bytes=1000, page_bytes=1000)
    readers = [log.read(name) for name in ("oldest", "newer", "running")]
    for name in ("oldest", "newer"):
        await begun(log, [END], generation=name)
    await begun(log, generation="running")
    assert [await take(reader, 1) for reader in readers] == [["1-0 start", "1-1 end"]] * 2 + [
        ["1-0 start"]
    ]
    log.tidy()
    assert set(log._logs) == {"newer", "running"}
    assert set(log._waiting) == {"newer", "running"}


async def test_the_text_of_a_reset_is_joined_once_and_weighs(log: MemoryLog) -> None:
    last = await begun(log, tokens("a" * 1000))
    size = log.size
    for added in (0, 0, 1000):
        last = await log.append(G, 1, last, tokens("b" * added)) if added else last
        assert await take(log.read(G, Position(9, 9)), 1) == [
            f"{last} reset:" + "a" * 1000 + "b" * added
        ]
    assert size + 3000 < log.size < size + 4000
    log.drop(G)
    assert log.size == 0


async def test_what_is_dropped_or_begun_anew_weighs_nothing_more(log: MemoryLog) -> None:
    await begun(log, tokens("a" * 1000), [END])
    await begun(log, generation="other")
    other = log.size
    log.drop("other")
    whole = log.size
    await log.begin(G, 2, 1, END)
    assert 0 < log.size < 1000 < whole < other
    log.drop(G)
    assert (log._logs, log._finished, log.size) == ({}, {}, 0)


async def test_old_batches_forget_their_frames_and_new_ones_share_them(log: MemoryLog) -> None:
    last = await begun(log)
    readers = [log.read(G), log.read(G)]
    for number in range(40):
        last = await log.append(G, 1, last, tokens(str(number)))
        reader = log.read(G, Position(1, last.offset - 1))
        (batch,) = await reader.next()
        assert batch.frames is not None
        assert not batch.frames
        batch.frames["dialect"] = b"made once"
        reader.close()
    for reader in readers:
        reader.close()
    frames = [batch.frames for batch in log._logs[G].batches]
    assert frames == [None] * (len(frames) - 16) + [{"dialect": b"made once"}] * 16


async def test_who_reads_alone_has_no_frames_kept(log: MemoryLog) -> None:
    last = await begun(log)
    reader = log.read(G)
    for number in range(20):
        last = await log.append(G, 1, last, tokens(str(number)))
    assert {batch.frames is None for batch in await reader.next()} == {True}


async def test_a_part_of_a_batch_keeps_no_frames(log: MemoryLog) -> None:
    await begun(log, tokens("a", "b"))
    for after in (Position(1, 1), Position(9, 9)):
        assert [batch.frames for batch in await soon(log.read(G, after))] == [None]
