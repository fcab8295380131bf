"""What a device has missed, or came into the middle of: it is told at the next look, just once."""

import asyncio
from typing import Final

import pytest

from provider import Answer, Provider
from rooms import (
    HALF,
    PLACES,
    assert_in_order,
    losing_questions,
    questions,
    room,
)
from sockets import kinds, opened, text_of
from standing import Standing
from wire import Serve

#: Nobody looks by itself: the tests say when.
SETTINGS: Final = {"heartbeat_seconds": 3600}

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def look(stand: Standing) -> None:
    """What the server does at each heartbeat."""
    looking = stand.server.server.parts.channels.look()
    await asyncio.to_thread(stand.server.call, looking)


async def test_a_notice_that_was_lost_is_caught_up_with_at_the_look(
    stand: Standing, place: str
) -> None:
    async with room(stand, place) as here:
        one, two = [await here.device() for _ in range(2)]
        question = here.question()
        with losing_questions() as lost:
            await one.send(question)
            own = await one.answer()
        assert len(lost) == 1
        assert await two.told() == []
        await look(stand)
        frames = await two.answer()
        assert questions(frames) == [question["content"]]
        assert_in_order(frames)
        assert text_of(frames) == text_of(own)
        # Just once: the next looks bring nothing.
        for _ in range(2):
            await look(stand)
            for device in (one, two):
                assert await device.told() == []


async def test_several_that_were_lost_come_in_their_order(stand: Standing, place: str) -> None:
    async with room(stand, place) as here:
        one, two = [await here.device() for _ in range(2)]
        with losing_questions():
            asked: list[str] = []
            for _ in range(6):
                question = here.question()
                asked.append(question["content"])
                await one.send(question)
                await one.answer()
        assert await two.told() == []
        await look(stand)
        frames = await two.answers(6)
        assert questions(frames) == asked
        assert_in_order(frames)


async def test_who_comes_in_mid_answer_is_told_it_at_the_look(stand: Standing) -> None:
    async with room(stand, "session") as here:
        one = await here.device()
        with stand.gate_closed():
            await one.send(here.question(HALF))
            begun = await one.take(2)
            late = await here.device()
            assert await late.told() == []
            await look(stand)
            assert kinds(await late.take(3)) == [
                "message_saved",
                "stream_start",
                "stream_chunk",
            ]
        assert await late.answer() == await one.answer()
        assert begun[0]["type"] == "stream_start"
        await look(stand)
        assert await late.told() == []


async def test_who_resumes_what_it_came_into_is_told_it_once(stand: Standing) -> None:
    async with room(stand, "session") as here:
        one = await here.device()
        with stand.gate_closed():
            await one.send(here.question(HALF))
            begun = await one.take(2)
            late = await here.device()
            await late.send(
                {"type": "resume", "generation_id": begun[0]["generation_id"], "after": "1-1"}
            )
            assert await late.told() == []
            await look(stand)
            assert await late.told() == []
        assert await late.answer() == await one.answer()
        await look(stand)
        assert await late.told() == []


async def test_who_comes_in_mid_answer_is_told_it_before_what_is_newer(stand: Standing) -> None:
    async with room(stand, "session") as here:
        one = await here.device()
        with stand.gate_closed():
            first = here.question(HALF)
            await one.send(first)
            await one.take(2)
            late = await here.device()
        await one.answer()
        second = here.question()
        await one.send(second)
        frames = await late.answers(2)
        assert questions(frames) == [first["content"], second["content"]]
        assert_in_order(frames)


async def test_a_users_channel_tells_at_once_what_is_running(stand: Standing) -> None:
    async with room(stand, "user") as here:
        one = await here.device()
        with stand.gate_closed():
            question = here.question(HALF)
            await one.send(question)
            begun = await one.take(3)
            async with opened(stand.server, "/ws", here.user) as late:
                assert await late.take(3) == begun
                stand.provider.release()
                assert await late.answer() == await one.answer()


async def test_what_had_ended_before_is_not_told(stand: Standing, place: str) -> None:
    async with room(stand, place) as here:
        one = await here.device()
        await one.send(here.question())
        await one.answer()
        late = await here.device()
        for _ in range(2):
            await look(stand)
            assert await late.told() == []


async def test_more_answers_than_may_wait_are_caught_up_with(stand: Standing) -> None:
    """Sixty-four may be on their way to one device; what is asked beyond is told it later."""
    async with room(stand, "user") as here:
        device = await here.device()
        names = [f"chat-{number}" for number in range(80)]
        async with stand.server.client(here.user) as client:
            with stand.gate_closed():
                for name in names:
                    body = {
                        "message": stand.prompt(Answer([name, "!"], gate_after=1)),
                        "session_id": name,
                        "background": True,
                    }
                    assert (await client.post("/chat", json=body)).status_code == 202
                await look(stand)
        frames = await device.answers(64)
        assert await device.told() == []
        await look(stand)
        frames += await device.answers(16)
        texts = {
            frame["message"]["chat_id"]: frame["message"]["content"]
            for frame in frames
            if frame["type"] == "message" and frame["message"]["is_ai"]
        }
        assert texts == {name: f"{name}!" for name in names}
        assert len(questions(frames)) == 80
        await look(stand)
        assert await device.told() == []


async def test_the_looks_come_by_themselves(serve: Serve, provider: Provider) -> None:
    alias = {"provider": "openai", "model": "test", "base_url": provider.url}
    server = serve(models={"aliases": {"chat/test": alias}}, heartbeat_seconds=0.05)
    user = server.user("ana")
    async with opened(server, "/ws/s", user) as one, opened(server, "/ws/s", user) as two:
        for device in (one, two):
            await device.next()
        with losing_questions():
            await one.send({"type": "message", "content": "?"})
            own = await one.answer()
        saved, *answer = await two.answer()
        assert (saved["type"], answer) == ("message_saved", own)
