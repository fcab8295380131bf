"""Devices of one user, in one session or over all its chats, and what they are told there."""

import socket
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import count
from typing import Any, Final, cast

import httpx
import pytest

from provider import Answer
from runnel.chat.notices import Asked, Notice
from runnel.control.memory import MemoryBus
from serving import Signed
from sockets import Socket, is_end, opened
from standing import Json, Standing

PIECES: Final = ("Olá", " mundo\n", "[DONE]", " 😀")
WHOLE: Final = "".join(PIECES)
FULL: Final = Answer(PIECES)
HALF: Final = Answer(["first", " second"], gate_after=1)
PLACES: Final = ("session", "user")
_numbers = count(1)


class Room:
    """A session of a user whom nobody else knows, and devices that are there."""

    def __init__(self, stand: Standing, place: str, user: Signed, stack: AsyncExitStack) -> None:
        self.stand = stand
        self.place = place
        self.user = user
        self._stack = stack

    async def device(self, place: str | None = None, **options: Any) -> Socket:
        """One more; it has read how the session stands."""
        place = place or self.place
        path = "/ws/room" if place == "session" else "/ws"
        device = await self._stack.enter_async_context(
            opened(self.stand.server, path, self.user, **options)
        )
        if place == "session":
            await device.next()
        else:
            # Its channel is joined once it answers.
            assert await device.told() == []
        return device

    def question(self, answer: Answer = FULL, **members: Any) -> Json:
        prompt = self.stand.prompt(answer)
        if self.place == "session":
            return {"type": "message", "content": prompt, **members}
        return {"action": "send_message", "chat_id": "room", "content": prompt, **members}

    async def ask_over_http(self, answer: Answer, **body: Any) -> Json:
        async with self.stand.server.client(self.user) as client:
            question = {"message": self.stand.prompt(answer), "session_id": "room"}
            response = await client.post("/chat", json=question | body)
        assert response.status_code in (200, 202), response.text
        return response.json()


@asynccontextmanager
async def room(stand: Standing, place: str) -> AsyncGenerator[Room]:
    async with AsyncExitStack() as stack:
        yield Room(stand, place, stand.server.user(f"device{next(_numbers)}"), stack)


@asynccontextmanager
async def joined(stand: Standing, session: str) -> AsyncGenerator[tuple[Socket, Json]]:
    """A connection of the session, and how it was told that the session stands."""
    async with opened(stand.server, f"/ws/{session}", stand.user) as socket:
        connected = await socket.next()
        assert set(connected) == {
            "type",
            "session_id",
            "connection_id",
            "last_message_id",
            "running",
        }
        assert connected["type"] == "connected"
        yield socket, connected


def message(content: str, **members: object) -> Json:
    return {"type": "message", "content": content, **members}


def error(frame: Json, code: str, *members: str) -> str:
    """The message of an error, which has these members besides those of every error."""
    assert set(frame) == {"type", "code", "message", "retryable", *members}, frame
    assert (frame["type"], frame["code"]) == ("error", code)
    return frame["message"]


def fresh_key() -> str:
    """A `client_message_id` that nobody else has."""
    return f"key-{next(_numbers)}"


def questions(frames: Iterable[Json]) -> list[str]:
    """The questions that a device was told, in its order."""
    found: list[str] = []
    for frame in frames:
        match frame:
            case {"type": "message_saved", "content": str(content)}:
                found.append(content)
            case {"type": "message", "message": {"is_ai": False, "content": str(content)}}:
                found.append(content)
            case _:
                pass
    return found


def assert_in_order(frames: Iterable[Json]) -> None:
    """Of one session: each question, then its whole answer, then the next question."""
    open_answer = False
    for frame in frames:
        if questions([frame]):
            assert not open_answer, frames
            open_answer = True
        elif is_end(frame):
            assert open_answer, frames
            open_answer = False
        else:
            assert open_answer, frames
    assert not open_answer


async def slow_device(here: Room) -> Socket:
    """One that reads only what it is asked for, through a narrow pipe."""
    [listening] = cast("Any", here.stand.server)._uvicorn.servers
    for each in listening.sockets:  # whatever it accepts is as narrow
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    url = httpx.URL(here.stand.server.url)
    narrow = socket.create_connection((url.host, url.port))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    return await here.device(sock=narrow, max_queue=1, compression=None, ping_interval=None)


def stalled(stand: Standing) -> bool:
    """Whether some socket takes nothing."""
    sockets = stand.server.server.parts.sockets
    return any(each.stalled_since is not None for each in tuple(sockets._open))


@contextmanager
def losing_questions() -> Generator[list[Notice]]:
    """Inside, the bus loses what is asked."""
    lost: list[Notice] = []
    publish = MemoryBus.publish

    def lose(self: MemoryBus, notice: Notice) -> None:
        if isinstance(notice, Asked):
            lost.append(notice)
        else:
            publish(self, notice)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryBus, "publish", lose)
        yield lost
