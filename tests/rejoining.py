"""Readers that come back when they are sent away, as a browser does, and what they met on the way.

What a reader may see: an end, or a close without one, after which it goes on behind its last
position. All else it counts: `met` by name, `closes` the closes without an end.
"""

import asyncio
import json
import random
from collections import Counter
from typing import Final

import httpx
from httpx_sse._decoders import SSEDecoder
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from serving import Signed
from sockets import Listening, opened
from standing import Json

#: How soon somebody comes back, at most: much sooner than `retry` asks for.
_PAUSE_SECONDS: Final = 0.3
_ENDS: Final = {"end", "aborted", "failed", "stream_end", "error"}


class Rejoining:
    """Reads one answer to its end, however often it is sent away."""

    def __init__(self, tally: Counter[str], choice: random.Random) -> None:
        self.text = ""
        self.after: str | None = None
        self.end: str | None = None
        self.resets = 0
        self._tally = tally
        self._choice = choice

    async def pause(self) -> None:
        await asyncio.sleep(self._choice.random() * _PAUSE_SECONDS)

    def meet(self, what: str) -> None:
        self._tally[what] += 1

    def take(self, kind: str, members: Json, position: str | None) -> None:
        assert self.end is None, f"{kind} behind the end"
        if position is not None:
            assert not self._has(position), (kind, position, self.after)
            self.after = position
        match kind:
            case "token":
                self.text += members["text"]
            case "reset":
                self.text = members["text"]
                self.resets += 1
            case "start":
                assert not self.text
            case _:
                assert kind in _ENDS, kind
                self.end = kind

    async def by_stream(
        self, client: httpx.AsyncClient, request: httpx.Request, *, done: bool = False
    ) -> None:
        """As EventSource does with a GET, and who sends a POST again with its key."""
        while not done:
            if self.after is not None:
                request.headers["Last-Event-ID"] = self.after
            done = await self._once(client, request)
            if not done:
                await self.pause()

    async def _once(self, client: httpx.AsyncClient, request: httpx.Request) -> bool:
        try:
            response = await client.send(request, stream=True)
        except httpx.TransportError as error:
            self.meet(f"{request.method} {type(error).__name__}")
            return False
        try:
            if response.status_code != 200:
                await response.aread()
                self.meet(f"{request.method} {response.status_code} {_code(response)}".strip())
                return response.status_code == 204
            decoder = SSEDecoder()
            async for line in response.aiter_lines():
                frame = decoder.decode(line)
                if frame is None or not frame.data:
                    continue
                if frame.data == "[DONE]":
                    return True
                self.take(frame.event, frame.json(), frame.id or None)
        except httpx.TransportError:
            self.meet("resets of the connection")
        finally:
            await response.aclose()
        self.meet("closes")
        return False

    async def by_channel(
        self, server: Listening, signed: Signed, session_id: str, generation_id: str
    ) -> None:
        """On the channel of its session, resuming each time."""
        resume = {"type": "resume", "generation_id": generation_id}
        while self.end is None:
            try:
                async with opened(server, f"/ws/{session_id}", signed) as socket:
                    assert (await socket.next())["type"] == "connected"
                    await socket.send(resume | ({"after": self.after} if self.after else {}))
                    while self.end is None:
                        # However long it takes: an answer may be silent.
                        self._hear(json.loads(await socket.connection.recv()))
            except InvalidHandshake as error:
                self.meet(f"WebSocket {error}")
            except ConnectionClosed as closed:
                code = None if closed.rcvd is None else closed.rcvd.code
                self.meet("closes" if code == 1012 else f"WebSocket close {code}")
            except OSError as error:
                self.meet(f"WebSocket {type(error).__name__}")
            if self.end is None:
                await self.pause()

    def _has(self, position: str) -> bool:
        return self.after is not None and _place(position) <= _place(self.after)

    def _hear(self, frame: Json) -> None:
        match frame:
            case {"type": "stream_chunk" | "reset", "position": position} if self._has(position):
                pass  # who is slow to resume is told from the beginning first
            case {"type": "stream_chunk", "content": content, "position": position}:
                self.take("token", {"text": content}, position)
            case {"type": "reset", "position": position}:
                self.take("reset", frame, position)
            case {"type": "message_saved" | "stream_start"}:
                pass
            case {"type": "error", "code": code}:
                self.meet(f"WebSocket error {code}")
                self.take("error", frame, None)
            case {"type": kind}:
                self.take(kind, frame, None)
            case _:
                raise AssertionError(frame)


def _place(position: str) -> tuple[int, ...]:
    return tuple(map(int, position.split("-")))


def _code(response: httpx.Response) -> str:
    try:
        return str(response.json()["code"])
    except (json.JSONDecodeError, KeyError):
        return ""
