"""Several devices on one session, and on one user: all see the same, each question just once."""

import asyncio
from typing import Final

import pytest

from provider import Answer
from rooms import (
    FULL,
    HALF,
    PLACES,
    WHOLE,
    assert_in_order,
    fresh_key,
    questions,
    room,
    slow_device,
    stalled,
)
from sockets import Socket, is_end, kinds, opened, text_of
from standing import Json, Standing
from waiting import soon

#: Nobody looks by itself: the tests say when.
SETTINGS: Final = {"heartbeat_seconds": 3600}

pytestmark = pytest.mark.usefixtures("tidy")


async def look(stand: Standing) -> None:
    """What the server does at each heartbeat."""
    looking = stand.server.server.parts.channels.look()
    await asyncio.to_thread(stand.server.call, looking)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_the_others_see_the_question_before_its_answer(stand: Standing, place: str) -> None:
    async with room(stand, place) as here:
        one, two, three = [await here.device() for _ in range(3)]
        question = here.question()
        await one.send(question)
        own, *others = [await device.answer() for device in (one, two, three)]
        # All are told the same, but that a session's question is its sender's own.
        for first, *answer in others:
            assert questions([first]) == [question["content"]]
            assert ([first, *answer] if place == "user" else answer) == own
        assert others[0] == others[1]
        assert text_of(own) == WHOLE
        for device in (one, two, three):
            assert await device.told() == []


async def test_what_was_asked_elsewhere_is_seen_too(stand: Standing, place: str) -> None:
    async with room(stand, place) as here:
        device = await here.device()
        other = await here.device("user" if place == "session" else "session")
        for door in ("http", "background", "completions", "other"):
            answer = Answer([door, "!"])
            if door == "http":
                await here.ask_over_http(answer, client_message_id="over-http")
            elif door == "background":
                await here.ask_over_http(answer, background=True)
            elif door == "completions":
                async with opened(stand.server, "/ws/chat/completions", here.user) as own:
                    await own.send({"question": stand.prompt(answer), "session_id": "room"})
                    assert (await own.answer())[-1]["full_text"] == f"{door}!"
            else:
                prompt = stand.prompt(answer)
                frame = (
                    {"action": "send_message", "chat_id": "room", "content": prompt}
                    if place == "session"
                    else {"type": "message", "content": prompt}
                )
                await other.send(frame)
            frames = await device.answer()
            assert_in_order(frames)
            assert text_of(frames) == f"{door}!"
            if door == "http" and place == "session":
                assert frames[0]["client_message_id"] == "over-http"
            await other.answer()
        assert await device.told() == []


async def test_what_is_asked_through_v1_is_seen_by_nobody(stand: Standing, place: str) -> None:
    async with room(stand, place) as here:
        device = await here.device()
        async with stand.server.client(here.user) as client:
            for _ in range(2):
                messages = [{"role": "user", "content": stand.prompt(Answer())}]
                body = {"model": "chat/test", "messages": messages}
                response = await client.post("/v1/chat/completions", json=body)
                assert response.status_code == 200, response.text
                await look(stand)
        assert await device.told() == []
        late = await here.device()
        await look(stand)
        assert await late.told() == []


async def test_another_users_devices_see_nothing(stand: Standing, place: str) -> None:
    async with room(stand, place) as here, room(stand, place) as there:
        own, foreign = await here.device(), await there.device()
        await own.send(here.question())
        await own.answer()
        await look(stand)
        assert await foreign.told() == []


@pytest.mark.parametrize(
    ("sent", "stored"),
    [("a\r\nb\rc\0", "a\nb\nc\ufffd"), ("a\r\nb\ud800", "a\nb\ufffd")],
)
async def test_all_are_told_the_question_as_it_is_stored(
    stand: Standing, place: str, sent: str, stored: str
) -> None:
    async with room(stand, place) as here:
        one, two = [await here.device() for _ in range(2)]
        stand._answers[stored] = Answer()
        await one.send(here.question(client_message_id=fresh_key()) | {"content": sent})
        for device in (one, two):
            assert questions(await device.answer()) == [stored]


async def test_of_two_devices_that_ask_at_once_one_is_busy(stand: Standing) -> None:
    async with room(stand, "session") as here:
        one, two = [await here.device() for _ in range(2)]
        for _ in range(5):
            asked = {device: here.question(client_message_id=fresh_key()) for device in (one, two)}
            await asyncio.gather(*(device.send(frame) for device, frame in asked.items()))
            seen = {
                device: await _heard(device, frame["client_message_id"])
                for device, frame in asked.items()
            }
            refused = [device for device, frames in seen.items() if "error" in kinds(frames)]
            assert len(refused) <= 1
            for device, frames in seen.items():
                while sum(map(is_end, _answers(frames))) < 2 - len(refused):
                    frames.append(await device.next())
            for device, frames in seen.items():
                for frame in frames:
                    if frame["type"] == "error":
                        assert frame["code"] == "busy"
                        assert frame["client_message_id"] == asked[device]["client_message_id"]
                assert_in_order(_answers(frames))
            texts = {tuple(questions(frames)) for frames in seen.values()}
            assert len(texts) == 1, "in one order"


async def _heard(device: Socket, key: str) -> list[Json]:
    """What a device is told until it knows whether its own question is taken."""
    frames = [await device.next()]
    while frames[-1].get("client_message_id") != key:
        frames.append(await device.next())
    return frames


def _answers(frames: list[Json]) -> list[Json]:
    """All but refusals, which may come anywhere."""
    return [frame for frame in frames if frame["type"] != "error"]


async def test_devices_that_ask_in_turn_see_one_talk(stand: Standing, place: str) -> None:
    async with room(stand, place) as here:
        devices = [await here.device() for _ in range(3)]
        asked: list[str] = []
        seen: dict[Socket, list[Json]] = {device: [] for device in devices}
        for number in range(9):
            question = here.question(client_message_id=fresh_key())
            asked.append(question["content"])
            if number % 4 == 3:
                prompt = FULL
                asked[-1] = stand.prompt(prompt)
                async with stand.server.client(here.user) as client:
                    body = {"message": asked[-1], "session_id": "room"}
                    assert (await client.post("/chat", json=body)).status_code == 200
            else:
                await devices[number % 3].send(question)
            for device in devices:
                seen[device] += await device.answer()
        for frames in seen.values():
            assert questions(frames) == asked
            assert_in_order(frames)
            assert text_of(frames) == WHOLE * 9
        assert len({str(frames) for frames in seen.values()}) == 1


async def test_a_slow_device_is_told_all_in_order(stand: Standing, place: str) -> None:
    """It reads nothing while the others talk on."""
    async with room(stand, place) as here:
        fast = await here.device()
        slow = await slow_device(here)
        long = Answer(["x" * 20_000] * 10)
        asked: list[str] = []
        for _ in range(6):
            question = here.question(long, client_message_id=fresh_key())
            asked.append(question["content"])
            await fast.send(question)
            await fast.answer()
        await soon(lambda: stalled(stand))
        frames = await slow.answers(6)
        assert questions(frames) == asked
        assert_in_order(frames)
        assert text_of(frames) == "x" * 200_000 * 6
        assert await slow.told() == []


async def test_one_message_that_is_not_streamed_is_whole_for_all(stand: Standing) -> None:
    async with room(stand, "session") as here:
        one, two = [await here.device() for _ in range(2)]
        user = await here.device("user")
        await one.send(here.question(stream=False))
        [own] = await one.answer()
        saved, other = await two.answer()
        assert (saved["type"], own["type"], other) == ("message_saved", "message", own)
        assert own["content"] == WHOLE
        # A user's channel has no such words.
        assert kinds(await user.answer())[:3] == ["message", "task", "token"]
        await two.send(here.question())
        assert kinds(await one.answer())[:2] == ["message_saved", "stream_start"]
        assert kinds(await two.answer())[0] == "stream_start"


async def test_whoever_aborts_all_are_told(stand: Standing, place: str) -> None:
    async with room(stand, place) as here:
        one, two = [await here.device() for _ in range(2)]
        with stand.gate_closed():
            await one.send(here.question(HALF))
            for device in (one, two):
                await device.until("stream_chunk" if place == "session" else "token")
            if place == "session":
                await two.send({"type": "abort"})
            else:
                async with stand.server.client(here.user) as client:
                    running = (await client.get("/api/generations?status=running")).json()
                [generation] = running["generations"]
                await two.send({"action": "abort", "task_id": generation["generation_id"]})
            told = [await device.answer() for device in (one, two)]
        assert told[0] == told[1]
        assert kinds(told[0]) == ["aborted"]


async def test_who_types_is_told_to_the_others_of_the_session_only(stand: Standing) -> None:
    async with room(stand, "session") as here:
        one, two, user = [await here.device(place) for place in ("session", "session", "user")]
        async with opened(stand.server, "/ws/elsewhere", here.user) as elsewhere:
            await elsewhere.next()
            for active in (True, False, True):
                await one.send({"type": "typing", "active": active})
                typing = await two.next()
                assert set(typing) == {"type", "active", "connection_id", "user_id"}
                assert (typing["type"], typing["active"]) == ("typing", active)
            for device in (one, user, elsewhere):
                assert await device.told() == []


async def test_of_typing_the_last_word_counts(stand: Standing) -> None:
    """Also for one that reads nothing when somebody stops."""
    async with room(stand, "session") as here:
        one = await here.device()
        slow = await slow_device(here)
        await one.send(here.question(Answer(["x" * 20_000] * 50)))
        await one.answer()
        await soon(lambda: stalled(stand))
        for active in (True, True, False):
            await one.send({"type": "typing", "active": active})
        assert await one.told() == []
        frames = await slow.answer() + await slow.told()
        said = [frame["active"] for frame in frames if frame["type"] == "typing"]
        assert said[-1] is False


async def test_whoever_goes_types_no_more(stand: Standing) -> None:
    async with room(stand, "session") as here:
        one, two = [await here.device() for _ in range(2)]
        await one.send({"type": "typing", "active": True})
        assert (await two.next())["active"] is True
        one.cut()
        assert (await two.next())["active"] is False
