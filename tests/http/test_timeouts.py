"""A provider that is silent, or at work for too long: what every door tells, and what is kept.

Where it has to be known what came before the time was over, the test lets time pass: what the
server remembers of the past is moved back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from door_readers import Reader, following, told_by
from doors import ASKING, DOORS, FLOWING, STREAMS, Asked, ask_in_background
from provider import BEFORE_HEADERS, Answer
from standing import Standing, standing

#: What the answers of a test may take, and what passes meanwhile.
SECONDS: Final = 30
MORE_SECONDS: Final = 60
PATIENT: Final = {
    "first_token_timeout_seconds": 300,
    "idle_timeout_seconds": 300,
    "generation_timeout_seconds": 300,
    "heartbeat_seconds": 0.1,
    "headers_after_seconds": 0.1,
}
TWO: Final = ("Hello", " world")


@dataclass(frozen=True, slots=True)
class Slow:
    """An answer that takes too long: what the server is set to, and what is said and kept of it."""

    name: str
    setting: str
    answer: Answer
    text: str
    says: str


SLOW: Final = [
    Slow(
        "no headers",
        "first_token_timeout_seconds",
        Answer(TWO, stall_after=BEFORE_HEADERS),
        "",
        "did not begin",
    ),
    Slow(
        "no first token",
        "first_token_timeout_seconds",
        Answer(TWO, stall_after=0),
        "",
        "did not begin",
    ),
    Slow(
        "silence in mid-answer",
        "idle_timeout_seconds",
        Answer(TWO, stall_after=1),
        "Hello",
        "fell silent",
    ),
    Slow(
        "silence at work for too long",
        "generation_timeout_seconds",
        Answer(TWO, stall_after=1),
        "Hello",
        "longer than is allowed",
    ),
]


@pytest.fixture(params=SLOW, ids=lambda slow: slow.name)
def slow(request: pytest.FixtureRequest) -> Slow:
    return request.param


@pytest.fixture
def stand(migrated: Path, tmp_path: Path, slow: Slow) -> Iterator[Standing]:
    with standing(migrated, tmp_path, **(PATIENT | {slow.setting: SECONDS})) as there:
        yield there


def let_pass(stand: Standing, seconds: float) -> None:
    """For all that is being made, so many seconds more have passed."""

    async def move_back() -> None:
        for producer in stand.server.server.parts.chat._running._producers.values():
            producer._began -= seconds
            producer._attempt._heard_at -= seconds

    stand.server.call(move_back())


def assert_timed_out(reader: Reader, slow: Slow, text: str) -> None:
    """By a frame, or for who gets the answer whole, by its status."""
    if reader.door == "json":
        assert_refused(reader, slow, text)
    else:
        assert (reader.status, reader.text, reader.end) == (200, text, "failed"), reader
        assert (reader.told["code"], reader.told["retryable"]) == ("upstream_timeout", True)
        assert slow.says in reader.told["message"]
        assert reader.done


def assert_refused(reader: Reader, slow: Slow, text: str) -> None:
    assert (reader.status, reader.told["code"]) == (504, "upstream_timeout"), reader
    assert slow.says in reader.told["detail"]
    assert reader.told["text"] == text
    assert reader.told["generation_id"] == reader.headers["X-Generation-Id"]


async def test_every_reader_hears_heartbeats_and_then_that_it_timed_out(
    stand: Standing, slow: Slow
) -> None:
    left = stand.provider.client_left.value
    asked = ask_in_background(stand.client, stand.prompt(slow.answer))
    async with following(asked, DOORS) as readers:
        for door in STREAMS:
            await readers[door].until(lambda reader: reader.heartbeats > 1)
            assert readers[door].end is None
        # Who attaches in the silence is no worse off.
        async with following(asked, FLOWING) as late:
            for door in STREAMS:
                await late[door].until(lambda reader: reader.heartbeats > 0)
            await late["poll"].until(lambda reader: reader.status == 200 or not slow.text)
            let_pass(stand, MORE_SECONDS)
    stand.provider.client_left.wait_at_least(left + 1, timeout=1)
    for reader in (*readers.values(), *late.values()):
        assert_timed_out(reader, slow, slow.text)
    assert_kept(stand, asked, slow)
    # Afterwards it is known before the headers of whoever asks again.
    for reader in (await told_by(asked, ASKING)).values():
        if slow.text:
            assert_timed_out(reader, slow, slow.text)
        else:
            assert_refused(reader, slow, "")
    for reader in (await told_by(asked, FLOWING, "1-0")).values():
        assert_timed_out(reader, slow, slow.text)


def assert_kept(stand: Standing, asked: Asked, slow: Slow) -> None:
    assert stand.ended(asked.generation_id) == ("failed", slow.text, "upstream_timeout", None)
    kept = stand.generation(asked.generation_id)
    assert (kept["status"], kept["text"], kept["finish_reason"]) == ("failed", slow.text, None)
    assert kept["error"]["code"] == "upstream_timeout"
    assert kept["usage"]["source"] == "estimated"
    assert kept["latency_ms"] >= MORE_SECONDS * 1000
    assert stand.rows("SELECT * FROM checkpoints") == []
    assert stand.held() == dict.fromkeys(stand.held(), 0)
    # The session goes on, and the model is told what was said.
    answered = stand.ask("/chat", Answer(["well"]), session_id=kept["session_id"])
    assert answered.json()["text"] == "well"
    said = [message["content"] for message in stand.provider.asks[-1].body["messages"]]
    assert said[1:-1] == ([slow.text] if slow.text else [])


@pytest.mark.parametrize("slow", SLOW[:2], indirect=True, ids=lambda slow: slow.name)
async def test_before_the_headers_it_is_a_status_to_who_asks_and_a_frame_to_who_attached(
    migrated: Path, tmp_path: Path, slow: Slow
) -> None:
    settings: dict[str, Any] = PATIENT | {slow.setting: 0.5, "headers_after_seconds": 20}
    with standing(migrated, tmp_path, **settings) as stand:
        asked = ask_in_background(stand.client, stand.prompt(slow.answer))
        for reader in (await told_by(asked)).values():
            if reader.door in ASKING:
                assert_refused(reader, slow, "")
                assert reader.heartbeats == 0
            else:
                assert_timed_out(reader, slow, "")


@pytest.mark.parametrize("drop", [".", ""])
async def test_an_answer_that_drips_past_its_time_is_stopped_for_every_reader(
    migrated: Path, tmp_path: Path, drop: str
) -> None:
    slow = Slow("", "generation_timeout_seconds", Answer([drop] * 5000, delay=0.02), "", "longer")
    with standing(migrated, tmp_path, **(PATIENT | {slow.setting: SECONDS})) as stand:
        asked = ask_in_background(stand.client, stand.prompt(slow.answer))
        async with following(asked, DOORS) as readers:
            for door in STREAMS:
                # A heartbeat does not wait for silence.
                await readers[door].until(lambda reader: reader.heartbeats > 1)
            let_pass(stand, MORE_SECONDS)
        text = stand.generation(asked.generation_id)["text"]
        assert set(text) == set(drop)
        for reader in readers.values():
            assert_timed_out(reader, slow, text)
        stand.provider.client_left.wait_at_least(1, timeout=1)
        assert stand.ended(asked.generation_id) == ("failed", text, "upstream_timeout", None)


def has_heard(beats: int, reader: Reader) -> bool:
    return reader.heartbeats >= beats


async def test_a_token_ends_a_silence(migrated: Path, tmp_path: Path) -> None:
    slow = SLOW[2]
    with standing(migrated, tmp_path, **(PATIENT | {slow.setting: SECONDS})) as stand:
        stand.provider.hold()
        answer = Answer([*TWO, "!"], gate_after=1, stall_after=2)
        asked = ask_in_background(stand.client, stand.prompt(answer))
        async with following(asked, STREAMS) as readers:
            for text in ("Hello", "Hello world"):
                for reader in readers.values():
                    await reader.shows(text)
                let_pass(stand, SECONDS * 0.7)
                # The deadlines are looked at more often than hearts beat.
                beats = readers["attach events"].heartbeats + 3
                await readers["attach events"].until(partial(has_heard, beats))
                assert [reader for reader in readers.values() if reader.end] == []
                stand.provider.release()
            let_pass(stand, SECONDS)
        for reader in readers.values():
            assert_timed_out(reader, slow, "Hello world")
