"""Where a reader may begin, and what it gets there: the part of a log's contract on recovery.

A test module runs it with a subclass of RecoveryContract, and gives the fixture `log`.
"""

import pytest
from log_contract import END, G, LogTests, begun, soon, take, tokens, told, waits

from runnel.chat.ports import PositionConflict, StreamLog
from runnel.events import Event, Position, Reset

#: The log that the table of recoveries reads: epoch 2, two batches behind its first event.
RECOVERED = (["c", "d", "e"], ["f", "g"])
RECOVERY: dict[str, tuple[str | None, list[str]]] = {
    "empty": (None, ["2-0 reset:ab", "2-1 c", "2-2 d", "2-3 e", "2-4 f", "2-5 g"]),
    "start": ("2-0", ["2-1 c", "2-2 d", "2-3 e", "2-4 f", "2-5 g"]),
    "middle of a batch": ("2-2", ["2-3 e", "2-4 f", "2-5 g"]),
    "last of a batch": ("2-3", ["2-4 f", "2-5 g"]),
    "one before the top": ("2-4", ["2-5 g"]),
    "top": ("2-5", []),
    "future offset": ("2-7", ["2-5 reset:abcdefg"]),
    "far future": ("2-999999999999999999", ["2-5 reset:abcdefg"]),
    "future epoch": ("3-0", ["2-5 reset:abcdefg"]),
    "earlier epoch": ("1-2", ["2-5 reset:abcdefg"]),
}
_ASKED_AT = [pytest.param(*case, id=name) for name, case in RECOVERY.items()]


def at(position: str | None) -> Position | None:
    return None if position is None else Position.parse(position)


class RecoveryContract(LogTests):
    """The table of recoveries, and what else a reader's beginning may meet."""

    @pytest.mark.parametrize("finished", [False, True], ids=["running", "finished"])
    @pytest.mark.parametrize(("after", "comes"), _ASKED_AT)
    async def test_recovery_asked_at(
        self, log: StreamLog, after: str | None, comes: list[str], *, finished: bool
    ) -> None:
        await begun(log)
        last = await log.begin(G, 2, 1, Reset("ab"))
        for texts in RECOVERED:
            last = await log.append(G, 1, last, tokens(*texts))
        reader = log.read(G, at(after))
        if finished:
            await log.append(G, 1, last, [END])
            assert await take(reader, 99) == [*comes, "2-6 end"]
        else:
            assert await take(reader, len(comes)) == comes
            await self.assert_waits(reader)
            await log.append(G, 1, last, tokens("h"))
            assert told(await soon(reader)) == ["2-6 h"]
        reader.close()

    @pytest.mark.parametrize(
        ("after", "comes"),
        [
            pytest.param("1-3", ["1-4 end"], id="the event before the end"),
            pytest.param("1-4", [], id="the terminal event"),
            pytest.param("1-5", ["1-3 reset:abc", "1-4 end"], id="after the end"),
            pytest.param("2-1", ["1-3 reset:abc", "1-4 end"], id="another epoch"),
        ],
    )
    @pytest.mark.parametrize(
        "batches",
        [
            pytest.param([tokens("a", "b", "c"), [END]], id="end by itself"),
            pytest.param([tokens("a", "b"), [*tokens("c"), END]], id="end with text"),
        ],
    )
    async def test_recovery_of_what_has_ended_asked_at(
        self, log: StreamLog, after: str, comes: list[str], batches: list[list[Event]]
    ) -> None:
        await begun(log, *batches)
        reader = log.read(G, Position.parse(after))
        assert await take(reader, 99) == comes
        assert not await soon(reader)
        reader.close()

    @pytest.mark.parametrize(
        ("after", "comes"),
        [
            pytest.param(None, ["1-0 start"], id="empty"),
            pytest.param("1-0", [], id="start"),
            pytest.param("1-1", ["1-0 reset:"], id="future offset"),
            pytest.param("2-0", ["1-0 reset:"], id="future epoch"),
        ],
    )
    async def test_a_log_that_is_begun_only_after_the_reader_attached(
        self, log: StreamLog, after: str | None, comes: list[str]
    ) -> None:
        reader = log.read(G, at(after))
        waiting = waits(reader)
        await self.settled()
        assert not waiting.done()
        last = await begun(log)
        await self.settled()
        assert waiting.done() == bool(comes)
        await log.append(G, 1, last, tokens("a"))
        found = told(await waiting)
        assert found + await take(reader, len(comes) + 1 - len(found)) == [*comes, "1-1 a"]
        reader.close()

    @pytest.mark.parametrize("after", [None, "1-7", "3-0"])
    async def test_a_log_that_was_lost_is_waited_for_and_comes_as_a_reset(
        self, log: StreamLog, after: str | None
    ) -> None:
        await begun(log, tokens("a", "b"))
        log.drop(G)
        waiting = waits(log.read(G, at(after)))
        await self.settled()
        assert not waiting.done()
        await log.begin(G, 2, 1, Reset("ab"))
        assert told(await waiting) == ["2-0 reset:ab"]

    async def test_a_position_that_has_come_to_be_when_it_is_read_is_honoured(
        self, log: StreamLog
    ) -> None:
        last = await begun(log, tokens("a"))
        reader = log.read(G, Position(1, 2))
        await log.append(G, 1, last, tokens("b", "c"))
        assert await take(reader, 1) == ["1-3 c"]

    async def test_positions_are_compared_as_numbers(self, log: StreamLog) -> None:
        last = await begun(log, *(tokens(str(number)) for number in range(1, 12)))
        assert last == Position(1, 11)
        for offset in (9, 10):
            reader = log.read(G, Position(1, offset))
            expected = ["1-10 10", "1-11 11"][offset - 9 :]
            assert await take(reader, len(expected)) == expected
        await log.begin(G, 9, 1, Reset(""))
        await log.begin(G, 10, 1, Reset("tenth"))
        with pytest.raises(PositionConflict):
            await log.begin(G, 9, 1, Reset(""))
        assert await take(log.read(G, Position(9, 0)), 1) == ["10-0 reset:tenth"]

    @pytest.mark.parametrize("caught_up", [True, False])
    @pytest.mark.parametrize("text", ["ab", ""])
    async def test_an_epoch_begun_under_a_live_reader_is_read_from_its_reset(
        self, log: StreamLog, text: str, *, caught_up: bool
    ) -> None:
        last = await begun(log, tokens("a"))
        reader = log.read(G)
        assert await take(reader, 2) == ["1-0 start", "1-1 a"]
        waiting = waits(reader) if caught_up else None
        if waiting is None:
            await log.append(G, 1, last, tokens("b"))
        await self.settled()
        assert await log.begin(G, 2, 1, Reset(text)) == Position(2, 0)
        assert told(await (waiting or soon(reader))) == [f"2-0 reset:{text}"]
        await log.append(G, 1, Position(2, 0), tokens("c"))
        assert await take(reader, 1) == ["2-1 c"]
        reader.close()
