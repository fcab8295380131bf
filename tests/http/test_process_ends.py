"""SIGTERM and kill -9 in STREAMS.md's fault table: what every door tells then, and after a start."""

import asyncio
import re
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from door_readers import Reader, all_show, following, told_by
from doors import ASKING, DOORS, FLOWING, RESUMING, STREAMS, Asked, ask_in_background
from processes import Served, house_of, rows_of, starting
from provider import Answer, Provider
from socket_doors import SOCKETS
from waiting import until

#: On a busy machine a server takes long to start.
pytestmark = pytest.mark.timeout(180)

PIECES = [f"{number} " for number in range(10)]
#: What is there when the server ends.
SAID = "0 1 2 3 4 "
GRACE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Ended:
    """Two answers that a server did not bring to their end, one of which had not yet begun, what
    their readers had got, and the server that was started afterwards.
    """

    folder: Path
    provider: Provider
    began: Asked
    unheard: Asked
    readers: dict[str, Reader]
    readers_of_unheard: dict[str, Reader]
    exit_code: int
    seconds: float

    def row(self, asked: Asked) -> tuple[object, ...]:
        [row] = rows_of(
            self.folder,
            "SELECT status, content, epoch || '-' || last_offset, error_code, usage_source"  # noqa: S608 - an id of ours
            " FROM generations JOIN messages ON messages.id = generations.message_id"
            f" WHERE generations.id = '{asked.generation_id}'",
        )
        return row


@asynccontextmanager
async def ended_by(number: signal.Signals, folder: Path) -> AsyncGenerator[Ended]:
    with Provider() as provider, starting(house_of(provider, folder)) as start:
        provider.answer("test", Answer(PIECES, gate_after=5), Answer(PIECES, gate_after=0))
        limit = "10000"  # each question that is sent again counts
        grace = str(GRACE_SECONDS)
        first = start(SHUTDOWN_GRACE_SECONDS=grace, RATE_LIMIT_MESSAGES_PER_MINUTE=limit)
        began = ask_in_background(first.client, "long")
        provider.wait_for_request()
        unheard = ask_in_background(first.client, "silent")
        async with following(began, DOORS) as readers, following(unheard, DOORS) as others:
            await all_show(readers, SAID)
            # A user's channel tells of both, whichever it was opened for.
            await asyncio.to_thread(until, lambda: attached(first) == 2 * len(DOORS) + 2)
            await asyncio.to_thread(
                until, lambda: first.generation(began.generation_id)["text"] == SAID
            )
            await asyncio.to_thread(provider.at_gate.wait_at_least, 2)
            signalled = first.signal(number)
        exit_code = await asyncio.to_thread(first.process.wait, 20)
        seconds = time.monotonic() - signalled
        second = start(RATE_LIMIT_MESSAGES_PER_MINUTE=limit)
        yield Ended(
            folder,
            provider,
            began.served_by(second.url),
            unheard.served_by(second.url),
            readers,
            others,
            exit_code,
            seconds,
        )


def attached(served: Served) -> int:
    """How many readers the server says it has."""
    page = served.client.get("/metrics").text
    [number] = re.findall(r"^runnel_attached_readers (\S+)$", page, re.MULTILINE)
    return int(float(number))


def assert_interrupted_frame(reader: Reader, text: str) -> None:
    assert (reader.status, reader.text, reader.end) == (200, text, "failed"), reader
    assert (reader.told["code"], reader.told["retryable"]) == ("interrupted", True)
    assert reader.done
    assert not reader.broken


def assert_interrupted_status(reader: Reader, asked: Asked, text: str) -> None:
    assert (reader.status, reader.told["code"]) == (503, "interrupted"), reader
    assert int(reader.headers["Retry-After"]) >= 1
    assert reader.told["generation_id"] == reader.headers["X-Generation-Id"] == asked.generation_id
    assert reader.told["text"] == text


async def test_sigterm_is_told_after_the_grace(tmp_path: Path) -> None:
    async with ended_by(signal.SIGTERM, tmp_path) as ended:
        assert ended.exit_code == 0
        assert ended.seconds >= GRACE_SECONDS
        for door in DOORS:
            heard, silent = ended.readers[door], ended.readers_of_unheard[door]
            if door == "json":
                assert_interrupted_status(heard, ended.began, SAID)
            else:
                assert_interrupted_frame(heard, SAID)
            # Whoever asks has seen no headers yet where nothing was said.
            if door in ASKING:
                assert_interrupted_status(silent, ended.unheard, "")
            else:
                assert_interrupted_frame(silent, "")
        assert ended.row(ended.began) == ("interrupted", SAID, "1-6", "interrupted", "estimated")
        assert ended.row(ended.unheard) == ("interrupted", "", "1-1", "interrupted", "estimated")
        await assert_told_after_the_start(ended, before="1-5", last="1-6")


async def test_a_kill_is_told_at_the_next_start(tmp_path: Path) -> None:
    async with ended_by(signal.SIGKILL, tmp_path) as ended:
        for door, reader in ended.readers.items():
            assert (reader.end, reader.done, reader.broken) == (None, False, True), reader
            assert reader.text == (SAID if door in FLOWING else "")
        # An epoch of its own: `2-0` is the text, `2-1` the end.
        assert ended.row(ended.began) == ("interrupted", SAID, "2-1", "interrupted", "estimated")
        assert ended.row(ended.unheard) == ("interrupted", "", "2-1", "interrupted", "estimated")
        await assert_told_after_the_start(ended, before="2-0", last="2-1")


async def assert_told_after_the_start(ended: Ended, before: str, last: str) -> None:
    """By every door, from every kind of position."""
    assert rows_of(ended.folder, "SELECT * FROM checkpoints") == []
    # From the beginning, old ones, and some that never were.
    for after in (None, "1-0", "1-3", "1-99", "2-5", "9-9"):
        for reader in (await told_by(ended.began, FLOWING, after)).values():
            # A socket is told of which answer it is.
            begins = reader.door in SOCKETS and (after is None or reader.door not in RESUMING)
            assert reader.events == ["start"] * begins + ["reset", "failed"], reader
            ends = [before] if reader.door in SOCKETS else [before, last]
            assert [*dict.fromkeys(reader.positions)] == ends
            assert_interrupted_frame(reader, SAID)
    for reader in (await told_by(ended.began, RESUMING, before)).values():
        assert reader.events == ["failed"]
        assert reader.positions == ([] if reader.door in SOCKETS else [last])
        assert_interrupted_frame(reader, "")
    over = await told_by(ended.began, RESUMING, last)
    again = over.pop("ws session")
    assert again.events == ["failed"]
    assert_interrupted_frame(again, "")
    poll = over.pop("poll")
    assert (poll.status, poll.events, poll.done) == (200, [], True)
    for reader in over.values():
        assert (reader.status, reader.events) == (204, [])
    await assert_asked_again_after_the_start(ended)


async def assert_asked_again_after_the_start(ended: Ended) -> None:
    """A question that is sent again joins what was interrupted, and costs nothing."""
    asks = len(ended.provider.asks)
    [whole] = (await told_by(ended.began, ["json"])).values()
    assert_interrupted_status(whole, ended.began, SAID)
    for reader in (await told_by(ended.unheard)).values():
        if reader.door in ASKING:
            assert_interrupted_status(reader, ended.unheard, "")
        else:
            assert_interrupted_frame(reader, "")
    for reader in (await told_by(ended.unheard, STREAMS, "1-7")).values():
        assert_interrupted_frame(reader, "")
    assert len(ended.provider.asks) == asks


async def test_a_second_signal_does_not_wait_for_the_grace(
    tmp_path: Path, provider: Provider
) -> None:
    provider.answer("test", Answer(PIECES, gate_after=5))
    with starting(house_of(provider, tmp_path)) as start:
        served = start(SHUTDOWN_GRACE_SECONDS="600")
        asked = ask_in_background(served.client, "long")
        async with following(asked, STREAMS) as readers:
            await all_show(readers, SAID)
            served.signal(signal.SIGTERM)
            await asyncio.to_thread(until, lambda: served.client.get("/readyz").status_code == 503)
            served.signal(signal.SIGINT)
            assert await asyncio.to_thread(served.process.wait, 30) == 0
        assert {reader.end for reader in readers.values()} <= {"failed", None}
        kept = "SELECT status, content FROM generations JOIN messages ON messages.id = message_id"
        assert rows_of(tmp_path, kept) == [("interrupted", SAID)]
