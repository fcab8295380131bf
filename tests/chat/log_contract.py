"""What any stream log must do, whatever it is made of: the port's contract as tests.

A test module runs them with a subclass of LogContract, and gives the fixture `log`.
"""

import asyncio
from collections.abc import Sequence

import pytest

from runnel.chat.ports import (
    LogMissing,
    LogReader,
    PositionConflict,
    Recovered,
    StaleFence,
    StreamLog,
)
from runnel.events import Batch, End, Event, Position, Reset, Start, Token, Usage

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
#: How long what must come may take, in seconds.
PATIENCE = 5


def tokens(*texts: str) -> list[Event]:
    return [Token(text) for text in texts]


async def begun(log: StreamLog, *batches: Sequence[Event], generation: str = G) -> Position:
    """A log of epoch 1 with its start and these batches behind it; its last position."""
    last = await log.begin(generation, 1, 1, START)
    for batch in batches:
        last = await log.append(generation, 1, last, batch)
    return last


def told(batches: Sequence[Batch]) -> list[str]:
    """Each event with its position, as `1-1 a`, `2-0 reset:ab`, `2-1 end`."""
    events = [
        (Position(batch.epoch, batch.offset + index), event)
        for batch in batches
        for index, event in enumerate(batch.events)
    ]
    return [f"{position} {_shown(event)}" for position, event in events]


def _shown(event: Event) -> str:
    if isinstance(event, Token):
        return event.text
    return f"reset:{event.text}" if isinstance(event, Reset) else event.type


async def soon(reader: LogReader) -> Sequence[Batch]:
    """The next page, which must be there or be coming."""
    async with asyncio.timeout(PATIENCE):
        return await reader.next()


async def take(reader: LogReader, count: int) -> list[str]:
    """Reads pages until there are so many events, or none will come."""
    events: list[str] = []
    while len(events) < count and (page := await soon(reader)):
        events += told(page)
    return events


async def everything(log: StreamLog, count: int) -> list[str]:
    """What a new reader finds in the log, which should have so many events."""
    reader = log.read(G)
    try:
        return await take(reader, count)
    finally:
        reader.close()


def waits(reader: LogReader) -> "asyncio.Task[Sequence[Batch]]":
    return asyncio.create_task(soon(reader))


class LogTests:
    """How a test of any log tells that a reader waits."""

    async def settled(self) -> None:
        """Every reader has gone as far as it can by itself."""
        for _ in range(5):
            await asyncio.sleep(0)

    async def assert_waits(self, reader: LogReader) -> None:
        waiting = waits(reader)
        await self.settled()
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])


class LogContract(LogTests):
    """Writing, waiting, closing. Where a reader may begin is in log_recovery."""

    async def test_events_stand_at_ascending_positions_in_the_order_of_appending(
        self, log: StreamLog
    ) -> None:
        assert await log.begin(G, 1, 1, START) == Position(1, 0)
        assert await log.append(G, 1, Position(1, 0), tokens("a", "b")) == Position(1, 2)
        assert await log.append(G, 1, Position(1, 2), [*tokens("c"), END]) == Position(1, 4)
        assert await everything(log, 5) == ["1-0 start", "1-1 a", "1-2 b", "1-3 c", "1-4 end"]

    async def test_a_reader_that_waits_drains_all_that_has_come(self, log: StreamLog) -> None:
        reader = log.read(G)
        waiting = waits(reader)
        await self.settled()
        last = await begun(log, *map(tokens, "abc"))
        found = told(await waiting)
        found += await take(reader, 4 - len(found))
        assert found == ["1-0 start", "1-1 a", "1-2 b", "1-3 c"]
        waiting = waits(reader)
        await self.settled()
        assert not waiting.done()
        await log.append(G, 1, last, tokens("d"))
        assert told(await waiting) == ["1-4 d"]

    async def test_everyone_who_waits_is_woken_by_what_comes_and_by_the_end(
        self, log: StreamLog
    ) -> None:
        last = await begun(log)
        readers = [log.read(G, last) for _ in range(5)]
        for event, comes in ((Token("a"), "1-1 a"), (END, "1-2 end")):
            waiting = [waits(reader) for reader in readers]
            await self.settled()
            log.read(G, last).close()  # who leaves takes nobody along
            last = await log.append(G, 1, last, [event])
            assert [told(await page) for page in waiting] == [[comes]] * 5
        assert not any([await soon(reader) for reader in readers])

    async def test_a_reader_far_behind_misses_nothing(self, log: StreamLog) -> None:
        await begun(log, *(tokens(f"{number} " + "x" * 300) for number in range(1, 200)), [END])
        events = await take(log.read(G), 999)
        assert [event.split()[0] for event in events] == [f"1-{place}" for place in range(201)]
        assert [event.split()[1] for event in events[1:-1]] == [str(n) for n in range(1, 200)]

    async def test_closing_wakes_a_reader_with_nothing(self, log: StreamLog) -> None:
        last = await begun(log)
        reader = log.read(G, last)
        waiting = waits(reader)
        await self.settled()
        reader.close()
        assert not await waiting
        await log.append(G, 1, last, tokens("a"))
        assert not await soon(reader)
        reader.close()  # again is harmless

    @pytest.mark.parametrize("turns", range(4))
    async def test_a_cancelled_wait_loses_nothing(self, log: StreamLog, turns: int) -> None:
        last = await begun(log)
        reader = log.read(G, last)
        await self.assert_waits(reader)
        waiting = waits(reader)
        await self.settled()
        await log.append(G, 1, last, tokens("a"))
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()  # woken and cancelled in some turn of the loop, or it has come already
        await asyncio.wait([waiting])
        found = [] if waiting.cancelled() else told(waiting.result())
        assert found + await take(reader, 1 - len(found)) == ["1-1 a"]

    async def test_an_older_owner_may_write_no_more(self, log: StreamLog) -> None:
        await begun(log)
        last = await log.begin(G, 2, 2, Reset(""))
        for refused in (
            log.begin(G, 3, 1, Reset("x")),
            log.append(G, 1, last, tokens("x")),
            log.append(G, 1, last, [END]),
        ):
            with pytest.raises(StaleFence):
                await refused
        with pytest.raises(StaleFence):
            await log.recover(G, 1)
        last = await log.append(G, 3, last, tokens("a"))  # a newer owner, without a new epoch
        with pytest.raises(StaleFence):
            await log.append(G, 2, last, tokens("x"))
        assert await everything(log, 2) == ["2-0 reset:", "2-1 a"]

    async def test_who_takes_over_is_told_all_that_there_is_and_shuts_out_who_was_before(
        self, log: StreamLog
    ) -> None:
        assert await log.recover(G, 1) is None
        last = await begun(log, tokens("a", "b"), tokens("c"))
        assert await log.recover(G, 2) == Recovered(last, "abc", closed=False)
        with pytest.raises(StaleFence):
            await log.append(G, 1, last, tokens("x"))
        last = await log.append(G, 2, last, [*tokens("d"), END])
        assert await log.recover(G, 2) == Recovered(last, "abcd", closed=True)
        last = await log.begin(G, 2, 2, Reset("e"))
        assert await log.recover(G, 3) == Recovered(last, "e", closed=False)

    async def test_an_epoch_that_does_not_rise_is_refused(self, log: StreamLog) -> None:
        await log.begin(G, 2, 1, Reset("a"))
        for epoch in (1, 2):
            with pytest.raises(PositionConflict):
                await log.begin(G, epoch, 1, Reset("x"))
        assert await everything(log, 1) == ["2-0 reset:a"]

    async def test_appending_where_the_log_does_not_end_is_refused(self, log: StreamLog) -> None:
        await begun(log, tokens("a"))
        for offset in (0, 2, 99):
            with pytest.raises(PositionConflict):
                await log.append(G, 1, Position(1, offset), tokens("x"))
        for generation, after in (("another", Position(1, 0)), (G, Position(2, 1))):
            with pytest.raises(LogMissing):
                await log.append(generation, 1, after, tokens("x"))
        assert await everything(log, 2) == ["1-0 start", "1-1 a"]

    async def test_nothing_comes_behind_an_end(self, log: StreamLog) -> None:
        last = await begun(log, [END])
        readers = [log.read(G), log.read(G, Position(1, 0)), log.read(G, last)]
        for text in (tokens("x"), [END]):
            with pytest.raises(PositionConflict):
                await log.append(G, 1, last, text)
        assert [await take(reader, 99) for reader in readers] == [
            ["1-0 start", "1-1 end"],
            ["1-1 end"],
            [],
        ]
        await log.begin(G, 2, 1, Reset("x"))
        assert not any([await soon(reader) for reader in readers])

    async def test_the_epoch_is_that_of_the_log_which_is_kept(self, log: StreamLog) -> None:
        assert await log.epoch(G) is None
        await begun(log)
        assert await log.epoch(G) == 1
        await log.begin(G, 3, 1, Reset(""))
        assert await log.epoch(G) == 3
        log.drop(G)
        assert await log.epoch(G) is None

    async def test_hiding_closes_the_readers_of_one_log_only(self, log: StreamLog) -> None:
        last = await begun(log)
        other = await begun(log, generation="other")
        behind = log.read(G)
        hidden = [waits(log.read(G, last)) for _ in range(3)]
        shown = waits(log.read("other", other))
        await self.settled()
        log.hide(G)
        assert not any([await waiting for waiting in hidden])
        assert not await soon(behind)
        await log.append("other", 1, other, tokens("a"))
        assert told(await shown) == ["1-1 a"]
        await log.append(G, 1, last, [END])  # who attaches again finds all of it
        assert await everything(log, 2) == ["1-0 start", "1-1 end"]

    async def test_a_dropped_log_is_gone_and_its_readers_with_it(self, log: StreamLog) -> None:
        last = await begun(log, tokens("a"))
        readers = [log.read(G), log.read(G, last)]
        assert await take(readers[0], 2) == ["1-0 start", "1-1 a"]
        log.drop(G)
        assert not any([await soon(reader) for reader in readers])
        with pytest.raises(LogMissing):
            await log.append(G, 1, last, tokens("x"))
        await self.assert_waits(log.read(G))
        log.drop(G)
