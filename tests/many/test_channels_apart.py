"""Devices of one user at different instances: they see the same, and what ends them ends them all."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Final

import httpx
import pytest

from door_readers import Reader, following
from doors import STREAMS, ask_in_background
from provider import Answer
from rooms import questions
from serving import Signed
from several import Several
from socket_doors import abort_at, path_at, question_at
from sockets import Socket, opened, text_of
from standing import Json
from waiting import soon

#: Nobody looks by itself: what is seen is what the instances tell each other.
SETTINGS: Final = {
    "ABORT_WAIT_SECONDS": "20",
    "HEARTBEAT_SECONDS": "600",
    "REVOCATION_CHECK_SECONDS": "600",
    "LEASE_SECONDS": "5",
}
pytestmark = pytest.mark.timeout(180)

PIECES: Final = ("Olá", " mundo\n", "[DONE]", " 😀")
WHOLE: Final = "".join(PIECES)
CHANNELS: Final = ("ws session", "ws user")
#: Long before anybody looks.
AT_ONCE_SECONDS: Final = 5
_numbers = count(1)


@pytest.fixture
def user(three: Several) -> Signed:
    """One whom nobody else knows."""
    return three.new_user(f"device{next(_numbers)}")


@asynccontextmanager
async def devices(three: Several, user: Signed, door: str) -> AsyncGenerator[list[Socket]]:
    """One at each instance; they have read how it stands."""
    async with AsyncExitStack() as stack:
        sockets: list[Socket] = []
        for side in three.sides:
            opening = opened(side, path_at(door, "room"), user)
            sockets.append(await stack.enter_async_context(opening))
            if door == "ws session":
                assert (await sockets[-1].next())["type"] == "connected"
            assert await sockets[-1].told() == []
        yield sockets


async def to_each(sockets: list[Socket], kind: str) -> list[list[Json]]:
    """All that each is told up to the next frame of a kind."""
    return [await socket.until(kind) for socket in sockets]


@pytest.mark.parametrize("asker", range(3))
@pytest.mark.parametrize("door", CHANNELS)
async def test_all_see_the_question_and_its_answer_as_it_is_made(
    three: Several, user: Signed, door: str, asker: int
) -> None:
    three.provider.hold()
    async with devices(three, user, door) as sockets:
        prompt = three.prompt(Answer(PIECES, gate_after=2))
        question = question_at(door, prompt, session="room", key="of-the-asker")
        await sockets[asker].send(question)
        seen: list[list[Json]] = []
        for socket in sockets:
            frames = [await socket.next()]
            while text_of(frames) != "".join(PIECES[:2]):
                frames.append(await socket.next())
            seen.append(frames)
        three.provider.release()
        for frames, socket in zip(seen, sockets, strict=True):
            frames.extend(await socket.answer())
            assert await socket.told() == []
    if door == "ws session":  # to its asker a question is saved, to the others it is said
        saved = [frames[0] for frames in seen]
        assert {frame["client_message_id"] for frame in saved} == {"of-the-asker"}
    assert [frames[1:] for frames in seen] == [seen[0][1:]] * 3
    assert [questions(frames) for frames in seen] == [[prompt]] * 3
    assert text_of(seen[0]) == WHOLE


@pytest.mark.parametrize("door", CHANNELS)
async def test_an_abort_at_one_is_told_to_all(three: Several, user: Signed, door: str) -> None:
    three.provider.hold()
    async with devices(three, user, door) as sockets:
        prompt = three.prompt(Answer(PIECES, gate_after=2))
        await sockets[0].send(question_at(door, prompt, session="room"))
        for socket in sockets:
            frames = [await socket.next()]
            while text_of(frames) != "".join(PIECES[:2]):
                frames.append(await socket.next())
        generation_id = three.live(1, user)[0]["generation_id"]
        await sockets[2].send(abort_at(door, generation_id))
        ends = [frames[-1] for frames in await to_each(sockets, "aborted")]
        assert ends == [ends[0]] * 3
        for socket in sockets:
            assert await socket.told() == []
    kept = three.call(1, "GET", f"/api/generations/{generation_id}", user=user).json()
    assert (kept["status"], kept["text"]) == ("aborted", "".join(PIECES[:2]))


async def test_the_others_see_who_types(three: Several, user: Signed) -> None:
    async with devices(three, user, "ws session") as sockets:
        for active in (True, False):
            await sockets[0].send({"type": "typing", "active": active})
            told = [(await socket.until("typing"))[-1] for socket in sockets[1:]]
            assert told == [told[0]] * 2
            assert told[0]["active"] is active
        assert await sockets[0].told() == []


async def test_what_is_asked_over_http_is_seen_everywhere(three: Several, user: Signed) -> None:
    three.provider.release()
    async with (
        devices(three, user, "ws session") as here,
        devices(three, user, "ws user") as all_of,
    ):
        for number in range(3):
            body = {"message": three.prompt(Answer(PIECES)), "session_id": "room"}
            asking = asyncio.to_thread(three.call, number, "POST", "/chat", body, user=user)
            assert (await asking).json()["text"] == WHOLE
            for sockets in (here, all_of):
                seen = [await socket.answer() for socket in sockets]
                assert seen == [seen[0]] * 3
                assert questions(seen[0]) == [body["message"]]
                assert text_of(seen[0]) == WHOLE


async def test_a_purge_closes_the_sockets_of_its_session_everywhere(
    three: Several, user: Signed
) -> None:
    three.provider.hold()
    async with (
        devices(three, user, "ws session") as sockets,
        devices(three, user, "ws user") as others,
    ):
        prompt = three.prompt(Answer(PIECES, gate_after=2))
        await sockets[1].send(question_at("ws session", prompt))
        for socket in (*sockets, *others):
            frames = [await socket.next()]
            while text_of(frames) != "".join(PIECES[:2]):
                frames.append(await socket.next())
        [live] = three.live(2, user)
        path = f"/api/chat/sessions/{live['session_id']}"
        async with asyncio.timeout(AT_ONCE_SECONDS):
            purged = await asyncio.to_thread(three.call, 0, "DELETE", path, user=user, purge="true")
            assert purged.status_code == 204
            assert [await socket.closed() for socket in sockets] == [4404] * 3
        for socket in others:  # a user's channel stays
            assert {frame["type"] for frame in await socket.told()} <= {"aborted"}
        for number in range(3):
            for there in (path, f"/api/generations/{live['generation_id']}/events"):
                assert three.call(number, "GET", there, user=user).status_code == 404


async def test_a_session_that_is_closed_aborts_what_another_makes_in_it(
    three: Several, user: Signed
) -> None:
    three.provider.hold()
    async with devices(three, user, "ws session") as sockets:
        prompt = three.prompt(Answer(PIECES, gate_after=2))
        await sockets[1].send(question_at("ws session", prompt))
        await asyncio.to_thread(three.provider.at_gate.wait_at_least, 1)
        [live] = three.live(2, user)
        path = f"/api/chat/sessions/{live['session_id']}"
        closed = await asyncio.to_thread(three.call, 0, "DELETE", path, user=user)
        assert closed.json()["status"] == "closed"
        for frames in await to_each(sockets, "aborted"):
            assert text_of(frames) == "".join(PIECES[:2])
        refused = three.call(2, "POST", "/chat", {"message": "?", "session_id": "room"}, user=user)
        assert (refused.status_code, refused.json()["code"]) == (409, "session_closed")


async def test_a_logout_ends_streams_and_sockets_everywhere(three: Several, user: Signed) -> None:
    three.provider.hold()
    leaving = three.login(user.username, user.password, three.sides[1])
    prompt = three.prompt(Answer(PIECES, gate_after=2))
    with httpx.Client(base_url=three.url(0), headers=user.headers, timeout=60) as client:
        asked = ask_in_background(client, prompt)
    named = {"generation_id": asked.generation_id}
    ticket = three.call(1, "POST", "/api/tickets", named, user=leaving).json()["ticket"]
    its = replace(asked, authorization=f"Bearer {leaving.token}", ticket=ticket)
    async with AsyncExitStack() as stack:
        cut: list[Reader] = []
        kept: list[Reader] = []
        sockets: list[Socket] = []
        for side in three.sides:
            for who, readers in ((its, cut), (asked, kept)):
                doors = following(who.served_by(side.url), (*STREAMS, "ws session"))
                readers.extend((await stack.enter_async_context(doors)).values())
            for door in CHANNELS:
                opening = opened(side, path_at(door, asked.session_id), leaving)
                sockets.append(await stack.enter_async_context(opening))
        for reader in (*cut, *kept):
            await reader.shows("".join(PIECES[:2]))
        async with asyncio.timeout(AT_ONCE_SECONDS):
            logout = await asyncio.to_thread(three.call, 2, "POST", "/logout", user=leaving)
            assert logout.is_success
            for reader in cut:
                await reader.until(lambda one: one.over)
            assert [await socket.closed() for socket in sockets] == [4401] * len(sockets)
        three.provider.release()
    for reader in cut:
        assert not reader.done, reader
    for reader in kept:
        assert (reader.text, reader.end, reader.done) == (WHOLE, "end", True), reader
    for number in range(3):
        assert three.call(number, "GET", "/me", user=leaving).status_code == 401


@pytest.mark.parametrize("end", ["delete", "password"])
async def test_who_goes_is_gone_everywhere(three: Several, user: Signed, end: str) -> None:
    three.provider.hold()
    async with (
        devices(three, user, "ws session") as here,
        devices(three, user, "ws user") as all_of,
    ):
        prompt = three.prompt(Answer(PIECES, gate_after=2))
        await here[1].send(question_at("ws session", prompt))
        left = three.provider.client_left.value
        await asyncio.to_thread(three.provider.at_gate.wait_at_least, 1)
        async with asyncio.timeout(AT_ONCE_SECONDS):
            if end == "delete":
                going = asyncio.to_thread(three.call, 0, "DELETE", "/me", user=user)
            else:
                body = {"current_password": user.password, "new_password": "quite another one"}
                going = asyncio.to_thread(three.call, 0, "POST", "/me/password", body, user=user)
            gone = await going
            assert gone.is_success, gone.text
            closes = [await socket.closed() for socket in (*here, *all_of)]
        assert closes == [4401] * 6
        if end == "delete":
            three.provider.client_left.wait_at_least(left + 1)
        three.provider.release()


async def test_lists_titles_and_what_is_busy_are_the_same_everywhere(
    three: Several, user: Signed
) -> None:
    three.provider.hold()
    body = {"message": three.prompt(Answer(PIECES, gate_after=2)), "session_id": "room"}
    asked = three.call(0, "POST", "/chat", body | {"background": True}, user=user).json()
    await asyncio.to_thread(three.provider.at_gate.wait_at_least, 1)
    path = f"/api/chat/sessions/{asked['session_id']}"
    for number in range(3):
        other = {"message": three.prompt(Answer(["no"])), "session_id": "room"}
        busy = three.call(number, "POST", "/chat", other, user=user)
        assert (busy.status_code, busy.json()["code"]) == (409, "busy")
        assert busy.json()["generation_id"] == asked["generation_id"]
        side = three.sides[number]
        for door in CHANNELS:
            async with opened(side, path_at(door, "room"), user) as socket:
                question = question_at(door, other["message"], session="room")
                await socket.send(question)
                assert (await socket.until("error"))[-1]["code"] == "busy"
        shown = three.call(number, "GET", path, user=user).json()
        assert shown["running_generation_id"] == asked["generation_id"]
        title = f"called so at {number}"
        three.call(number, "PATCH", path, {"title": title}, user=user).raise_for_status()
        for at in range(3):
            [listed] = three.call(at, "GET", "/api/chat/sessions", user=user).json()["sessions"]
            assert (listed["session_id"], listed["title"]) == (asked["session_id"], title)
    three.provider.release()
    await soon(lambda: not three.live(1, user))
    histories = [
        three.call(number, "GET", f"{path}/messages", user=user).json() for number in range(3)
    ]
    assert histories == [histories[0]] * 3
    assert [each["content"] for each in histories[0]["messages"]] == [body["message"], WHOLE]
