"""A client of the WebSocket doors, on the real `websockets` client: frames as they come, one by one."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, Protocol

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from serving import Signed
from standing import Json

#: How a client may say who it is.
Way = Literal["header", "subprotocols", "ticket", "token", "frame", "nothing"]
WAYS: Final[tuple[Way, ...]] = ("header", "subprotocols", "ticket", "token", "frame")
#: A frame that has not come by then does not come.
WAIT_SECONDS: Final = 20


class Listening(Protocol):
    """A server, wherever it runs."""

    @property
    def url(self) -> str: ...


class Socket:
    """One connection. What is waited for comes, or the test fails."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, frame: Json | str | bytes) -> None:
        """An object is sent as JSON, all else as it is."""
        await self.connection.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def next(self) -> Json:
        """The next frame. Raises ConnectionClosed if there is none."""
        async with asyncio.timeout(WAIT_SECONDS):
            text = await self.connection.recv()
        assert isinstance(text, str), "a text frame"
        return json.loads(text)

    async def take(self, number: int) -> list[Json]:
        """The next so many frames."""
        return [await self.next() for _ in range(number)]

    async def until(self, kind: str) -> list[Json]:
        """All frames up to the next of that type, which is the last."""
        frames = [await self.next()]
        while frames[-1]["type"] != kind:
            frames.append(await self.next())
        return frames

    async def answer(self) -> list[Json]:
        """All frames up to the next end of an answer, be it an error."""
        return await self.answers(1)

    async def answers(self, number: int) -> list[Json]:
        """All frames until so many answers have ended."""
        frames: list[Json] = []
        while sum(map(is_end, frames)) < number:
            frames.append(await self.next())
        return frames

    async def told(self) -> list[Json]:
        """What was on its way before the answer to a ping, which is left out."""
        await self.send({"type": "ping"})
        *frames, _ = await self.until("pong")
        return frames

    async def closed(self) -> int:
        """The code of the close, once it comes; what comes before it is passed over."""
        try:
            while True:
                await self.next()
        except ConnectionClosed:
            assert self.connection.close_code is not None
            return self.connection.close_code

    async def close(self) -> None:
        await self.connection.close()

    def cut(self) -> None:
        """Goes without a word, as when the network breaks."""
        self.connection.transport.abort()


@asynccontextmanager
async def opened(
    server: Listening, path: str, signed: Signed | None, *, way: Way = "header", **options: Any
) -> AsyncGenerator[Socket]:
    """Opens a socket and signs in. `options` are those of websockets' `connect`."""
    url = "ws" + server.url.removeprefix("http") + path
    token = signed.token if signed else ""
    headers: dict[str, str] = dict(options.pop("additional_headers", {}))
    match way:
        case "header":
            headers["Authorization"] = f"Bearer {token}"
        case "subprotocols":
            options["subprotocols"] = [Subprotocol("bearer"), Subprotocol(token)]
        case "ticket":
            url += f"?ticket={await ticket(server, token)}"
        case "token":
            url += f"?token={token}"
        case _:
            pass
    usual: dict[str, Any] = {"max_queue": None, "close_timeout": 2, "proxy": None}
    async with connect(url, additional_headers=headers, **(usual | options)) as connection:
        socket = Socket(connection)
        if way == "frame":
            await socket.send({"type": "auth", "token": token})
        yield socket


async def closing(socket: Socket) -> tuple[int, str]:
    """Code and reason of the close, once it comes; what comes before it is passed over."""
    code = await socket.closed()
    return code, socket.connection.close_reason or ""


async def ticket(server: Listening, token: str) -> str:
    """One that opens a socket."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
        response = await client.post("/api/tickets", json={"websocket": True})
    return response.raise_for_status().json()["ticket"]


def is_end(frame: Json) -> bool:
    """Whether a frame of any of the three ends an answer."""
    match frame:
        case {"type": "end" | "stream_end" | "aborted" | "error"}:
            return True
        case {"type": "message", "message": {"is_ai": bool(is_ai)}}:
            return is_ai
        case {"type": "message"}:
            return True
        case _:
            return False


def text_of(frames: Iterable[Json]) -> str:
    """What a client shows that was told these, of one answer."""
    text = ""
    for frame in frames:
        match frame:
            case {"type": "reset", "text": str(all_of_it)}:
                text = all_of_it
            case {"type": "token", "text": str(piece)}:
                text += piece
            case {"type": "token", "token": str(piece)}:
                text += piece
            case {"type": "stream_chunk", "content": str(piece)}:
                text += piece
            case _:
                pass
    return text


def kinds(frames: Sequence[Json]) -> list[str]:
    """Their types."""
    return [frame["type"] for frame in frames]
