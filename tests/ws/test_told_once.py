"""Each answer is told to a connection once, and to its end, whatever comes in between."""

import asyncio
from typing import Final

import pytest
from websockets.frames import CloseCode

from provider import Answer
from rooms import fresh_key, joined, message, questions, room
from runnel.errors import Code, RunnelError
from sockets import kinds, opened, text_of
from standing import Standing, locked
from waiting import soon

#: Nobody looks by itself: the tests say when.
SETTINGS: Final = {
    "heartbeat_seconds": 3600,
    "store_retry_seconds": 0.2,
    "disconnect_grace_seconds": 0.1,
    "database_timeout_seconds": 0.2,
}
GATED: Final = Answer(["one", " two", " three"], gate_after=1)

pytestmark = pytest.mark.usefixtures("tidy")


async def look(stand: Standing) -> None:
    looking = stand.server.server.parts.channels.look()
    await asyncio.to_thread(stand.server.call, looking)


async def in_background(stand: Standing, session: str, answer: Answer = GATED) -> str:
    body = {"message": stand.prompt(answer), "session_id": session, "background": True}
    async with stand.server.client(stand.user) as client:
        generation_id = (await client.post("/chat", json=body)).json()["generation_id"]
    await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
    return generation_id


@pytest.mark.parametrize("number", range(5))
async def test_a_resume_beside_a_look(stand: Standing, number: int) -> None:
    session = f"beside-{number}"
    generation_id = await in_background(stand, session)
    async with joined(stand, session) as (device, _):
        await asyncio.gather(
            device.send({"type": "resume", "generation_id": generation_id}), look(stand)
        )
        stand.provider.release()
        frames = await device.until("stream_end")
        assert await device.told() == []
    assert kinds(frames).count("stream_end") == 1
    last_start = len(frames) - kinds(frames)[::-1].index("stream_start")
    assert text_of(frames[last_start:]) == "one two three"


async def test_a_message_sent_again_after_its_answer_was_resumed_is_said_to_be_saved(
    stand: Standing,
) -> None:
    again = message(stand.prompt(GATED), client_message_id=fresh_key())
    async with joined(stand, "resumed-first") as (first, _):
        await first.send(again)
        start = (await first.until("stream_start"))[-1]
    async with joined(stand, "resumed-first") as (device, _):
        await device.send({"type": "resume", "generation_id": start["generation_id"]})
        await device.until("stream_chunk")
        await device.send(again)
        [saved] = [frame for frame in await device.until("stream_start") if questions([frame])]
        stand.provider.release()
        await device.until("stream_end")
    assert saved["client_message_id"] == again["client_message_id"]
    assert saved["content"] == again["content"]


async def test_who_comes_in_and_aborts_is_told_one_end(stand: Standing) -> None:
    await in_background(stand, "abort")
    async with joined(stand, "abort") as (device, _):
        await device.send({"type": "abort"})
        assert kinds([await device.next()]) == ["aborted"]
        await look(stand)
        assert await device.told() == []


@pytest.mark.parametrize("place", ["session", "user"])
async def test_what_broke_off_is_told_anew(stand: Standing, place: str) -> None:
    """The end could not be stored for so long that its readers were let go."""
    async with room(stand, place) as here:
        one, two = await here.device(), await here.device()
        await one.send(here.question(GATED))
        await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
        with locked(stand):
            stand.provider.release()
            for device in (one, two):
                [*_, broken] = await device.until("error")
                assert broken["code"] == "stream_unavailable"
                assert broken["retryable"]
                assert ("task_id" in broken) == (place == "user")
        await soon(lambda: stand.left_live() == [])
        await look(stand)
        for device in (one, two):
            frames = await device.answer()
            assert len(questions(frames)) == 1
            if place == "session":
                assert text_of(frames) == "one two three"
            else:
                assert frames[-1]["message"]["content"] == "one two three"
        await look(stand)
        for device in (one, two):
            assert await device.told() == []


async def test_an_answer_that_could_not_be_attached_to_is_told_at_the_next_look(
    stand: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = stand.server.server.parts.chat
    attach = chat.attach
    failures = iter([RunnelError(Code.STORE_UNAVAILABLE, "The database is away.")])

    async def failing(*args: object, **options: object) -> object:
        for failure in failures:
            raise failure
        return await attach(*args, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(chat, "attach", failing)
    async with room(stand, "session") as here:
        device = await here.device()
        await here.ask_over_http(Answer(["fine"]))
        frames = await device.until("error")
        assert kinds(frames) == ["message_saved", "error"]
        await look(stand)
        assert text_of(await device.answer()) == "fine"


@pytest.mark.parametrize("code", [CloseCode.NORMAL_CLOSURE, CloseCode.SERVICE_RESTART])
async def test_whoever_closes_leaves_whatever_the_code(stand: Standing, code: CloseCode) -> None:
    async with opened(stand.server, "/ws/chat/completions", stand.user) as socket:
        await socket.send({"question": stand.prompt(GATED)})
        start, _ = await socket.take(2)
        await socket.connection.close(code)
    generation_id = start["generation_id"]
    await soon(lambda: stand.generation(generation_id)["status"] == "aborted")
