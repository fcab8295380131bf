"""The session's channel resumes by positions as HTTP does: which are none, and what cannot be honoured."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from attaching import (
    ELSEWHERE,
    END,
    MALFORMED,
    MALFORMED_IN_A_QUERY,
    PIECES,
    TEXT,
    finished,
    gated,
)
from provider import BEFORE_HEADERS
from sockets import Socket, opened
from standing import Json, Standing
from waiting import soon
from wire import NOBODYS_ID

pytestmark = pytest.mark.usefixtures("tidy")

SETTINGS: Final = {"websocket_frames_per_second": 10_000}
NO_TEXTS: Final[list[object]] = [1, True, ["1-1"], {"epoch": 1}]


@pytest.fixture(scope="module")
def whole(stand: Standing) -> str:
    """A finished answer."""
    return finished(stand)


@asynccontextmanager
async def channel(stand: Standing, generation_id: str) -> AsyncGenerator[Socket]:
    """The channel of its session."""
    path = f"/ws/{stand.generation(generation_id)['session_id']}"
    async with opened(stand.server, path, stand.user) as socket:
        assert (await socket.next())["type"] == "connected"
        yield socket


async def resumed(socket: Socket, generation_id: str, **after: object) -> list[Json]:
    """What is told from there up to the end."""
    await socket.send({"type": "resume", "generation_id": generation_id} | after)
    return await socket.answer()


def told_from(stand: Standing, generation_id: str, offset: int) -> list[Json]:
    """What a channel tells of an ended answer from an event on, as the contract writes it."""
    kept = stand.generation(generation_id)
    message = {"message_id": kept["message_id"]}
    start = {"type": "stream_start", "generation_id": generation_id} | message
    chunks = [
        {"type": "stream_chunk", "content": piece, "position": f"1-{place}"} | message
        for place, piece in enumerate(PIECES, 1)
    ]
    metadata = {
        "tokens_used": kept["usage"]["total_tokens"],
        "processing_time": kept["latency_ms"] / 1000,
        "agent_used": kept["model"],
        "finish_reason": kept["finish_reason"],
    }
    end = {"type": "stream_end", "metadata": metadata} | message
    return [start, *chunks, end][offset:]


def reset_of(generation_id: str, text: str, position: str) -> Json:
    reset = {"type": "reset", "generation_id": generation_id}
    return reset | {"text": text, "position": position}


async def test_a_channel_resumes_behind_every_position_and_tells_the_end_again(
    stand: Standing, whole: str
) -> None:
    async with channel(stand, whole) as socket:
        assert await resumed(socket, whole) == told_from(stand, whole, 0)
        assert await resumed(socket, whole, after=None) == told_from(stand, whole, 0)
        for offset in range(len(PIECES) + 1):
            rest = told_from(stand, whole, offset + 1)
            assert await resumed(socket, whole, after=f"1-{offset}") == rest
        for _ in range(2):
            assert await resumed(socket, whole, after=END) == told_from(stand, whole, -1)
        assert await socket.told() == []


async def test_a_channel_refuses_a_malformed_position(stand: Standing, whole: str) -> None:
    async with channel(stand, whole) as socket:
        for position in [*MALFORMED, *MALFORMED_IN_A_QUERY, "", *NO_TEXTS]:
            # Whether there is such an answer or not.
            for generation_id in (whole, NOBODYS_ID):
                [refused] = await resumed(socket, generation_id, after=position)
                assert (refused["code"], refused["retryable"]) == ("invalid_request", False)
                assert refused["message"].startswith("after: ")
                assert len(refused["message"]) < 200
        assert await resumed(socket, whole, after="1-5") == told_from(stand, whole, -1)


@pytest.mark.parametrize("place", ELSEWHERE)
async def test_a_channel_tells_the_whole_text_at_a_position_that_the_answer_has_not(
    stand: Standing, whole: str, place: str
) -> None:
    async with channel(stand, whole) as socket:
        reset, *end = await resumed(socket, whole, after=place)
    assert reset == reset_of(whole, TEXT, "1-5")
    assert end == told_from(stand, whole, -1)


@pytest.mark.parametrize("place", ["1-3", *ELSEWHERE])
async def test_a_channel_tells_the_text_so_far_of_a_running_answer_and_goes_on(
    stand: Standing, place: str
) -> None:
    with gated(stand) as generation_id:
        async with channel(stand, generation_id) as socket:
            await socket.send({"type": "resume", "generation_id": generation_id})
            await socket.take(3)
            resume = {"type": "resume", "generation_id": generation_id, "after": place}
            await socket.send(resume)
            so_far = await socket.next()
            stand.provider.release()
            rest = await socket.answer()
        assert so_far == reset_of(generation_id, "".join(PIECES[:2]), "1-2")
        assert rest == told_from(stand, generation_id, 3)


async def test_a_channel_tells_an_empty_text_before_there_is_any(stand: Standing) -> None:
    with gated(stand, BEFORE_HEADERS) as generation_id:
        async with channel(stand, generation_id) as socket:
            resume = {"type": "resume", "generation_id": generation_id, "after": "1-4"}
            await socket.send(resume)
            assert await socket.next() == reset_of(generation_id, "", "1-0")
            stand.provider.release()
            assert await socket.answer() == told_from(stand, generation_id, 1)


@pytest.mark.parametrize("place", [None, "1-0", "1-3", "1-5", *ELSEWHERE, END])
async def test_a_channel_tells_by_the_row_what_no_log_holds(
    stand: Standing, place: str | None
) -> None:
    """As after retention, or a restart."""
    generation_id = finished(stand)

    async def forget() -> None:
        stand.log.drop(generation_id)

    stand.server.call(forget())
    begin = told_from(stand, generation_id, 0)[:1]
    end = told_from(stand, generation_id, -1)
    reset = [reset_of(generation_id, TEXT, "1-5")]
    expected = {None: [*begin, *reset, *end], "1-5": end, END: end}.get(place, [*reset, *end])
    async with channel(stand, generation_id) as socket:
        after = {} if place is None else {"after": place}
        assert await resumed(socket, generation_id, **after) == expected


@pytest.mark.parametrize("other", ["another session's", "another user's", "nobody's", "none"])
async def test_a_channel_resumes_only_what_is_of_its_session(
    stand: Standing, whole: str, other: str
) -> None:
    stranger = stand.server.user(f"stranger-{other[:9].replace(' ', '-')}".replace("'", ""))
    generation_id = {"nobody's": NOBODYS_ID, "none": "x"}.get(other, whole)
    who = stranger if other == "another user's" else stand.user
    async with opened(stand.server, "/ws/elsewhere", who) as socket:
        await socket.next()
        for after in ({}, {"after": "1-1"}, {"after": END}):
            [refused] = await resumed(socket, generation_id, **after)
            assert refused["code"] == "not_found"
    await soon(lambda: not stand.followers)
