"""Readers of one answer, one at each door, that show alike what they are told as it comes."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Final

import httpx
from httpx_sse import ServerSentEvent
from httpx_sse._decoders import SSEDecoder
from websockets.exceptions import ConnectionClosed

from doors import DOORS, FLOWING, POLL_SECONDS, TLS, Asked, ask_in_background
from provider import Answer
from socket_doors import SOCKETS, event_of
from sockets import Socket, opened
from standing import Json, Standing
from waiting import soon

#: How long anything may take that has to come by itself.
SOON_SECONDS: Final = 20
_EVENTS: Final = ("start", "token", "reset", "end", "aborted", "failed")
_TERMINAL: Final = ("end", "aborted", "failed")
#: What a close of the server's is over HTTP.
_CLOSES: Final = {
    4401: (401, "unauthorized"),
    4404: (404, "not_found"),
    1013: (503, "store_unavailable"),
}


class Reader:
    """One client that follows an answer through one door, from a position or the beginning.

    `text` is what it shows; `events` are their names, without `start` in the text dialect;
    `positions` those that it saw; `end` the name of the terminal event, None while there is none;
    `told` what that says, or the problem; `done` whether the end mark came. `over`: nothing more
    comes. `broken`: the connection was. A socket has the `status` that HTTP has, and its end needs
    no mark.
    """

    def __init__(self, asked: Asked, door: str, after: str | None = None) -> None:
        self.door = door
        self.status = 0
        self.headers = httpx.Headers()
        self.text = ""
        self.events: list[str] = []
        self.positions: list[str] = []
        self.end: str | None = None
        self.done = False
        self.told: Json = {}
        self.heartbeats = 0
        self.over = False
        self.broken = False
        self._asked = asked
        self._after = after
        self._news = asyncio.Condition()

    async def read(self, client: httpx.AsyncClient) -> None:
        """To the end, however it comes."""
        try:
            if self.door == "poll":
                await self._poll(client)
            elif self.door == "json":
                await self._ask_whole(client)
            elif self.door in SOCKETS:
                await self._listen()
            else:
                await self._stream(client)
        except httpx.TransportError:
            self.broken = True
        finally:
            self.over = True
            await self._tell()

    async def until(self, holds: Callable[["Reader"], bool]) -> None:
        """Waits until it holds of this reader."""
        async with asyncio.timeout(SOON_SECONDS), self._news:
            await self._news.wait_for(lambda: holds(self) or self.over)
        assert holds(self), self

    async def shows(self, text: str) -> None:
        await self.until(lambda reader: text in reader.text)

    def __repr__(self) -> str:
        return (
            f"<{self.door}: HTTP {self.status}, {self.text[:80]!r}, {self.events[-3:]},"
            f" end={self.end}, {self.told}, over={self.over}, broken={self.broken}>"
        )

    async def _stream(self, client: httpx.AsyncClient) -> None:
        request = self._asked.request(self.door, self._after)
        async with aclosing(await client.send(request, stream=True)) as response:
            if not await self._answered(response):
                return
            decoder = SSEDecoder()
            async for line in response.aiter_lines():
                self.heartbeats += line.startswith(":")
                frame = decoder.decode(line)
                # Without data it is none: the decoder makes one of a comment, too.
                if frame is not None and frame.data:
                    self._take_frame(frame)
                await self._tell()

    async def _poll(self, client: httpx.AsyncClient) -> None:
        after = self._after
        while not self.done:
            response = await client.send(self._asked.request("poll", after))
            if not await self._answered(response):
                return
            page = response.json()
            for event in page["events"]:
                self.positions.append(event["position"])
                self._take(event["type"], event)
            after, self.done = page["position"], page["done"]
            await self._tell()
            if not page["events"]:
                return

    async def _ask_whole(self, client: httpx.AsyncClient) -> None:
        response = await client.send(self._asked.request("json"))
        if await self._answered(response):
            self.told = response.json()
            self.text = self.told["text"]
            self.end = "aborted" if self.told["finish_reason"] == "aborted" else "end"
            self.done = True

    async def _listen(self) -> None:
        path, user = self._asked.path(self.door), self._asked.user
        async with opened(self._asked, path, user, max_size=None) as socket:
            try:
                await socket.send(self._asked.frame(self.door, self._after))
                while not self.done and not self.told:
                    self._hear(await _next(socket))
                    await self._tell()
            except ConnectionClosed as closed:
                self.broken = closed.rcvd is None
                code = 0 if closed.rcvd is None else closed.rcvd.code
                if not self.events and code in _CLOSES:
                    self.status, self.told["code"] = _CLOSES[code]

    def _hear(self, frame: Json) -> None:
        self.status = 200
        if not self._concerned(frame):
            return
        event = event_of(frame)
        if event is None:
            if frame["type"] == "error":
                self.told = frame
            return
        if event[0] == "start":  # told from the beginning, be it once more
            self.text, self.events = "", []
        if "position" in frame:
            self.positions.append(frame["position"])
        self._take(*event)
        self.done = self.end is not None

    def _concerned(self, frame: Json) -> bool:
        """A user's channel tells of all answers; it calls a session by its name, if it has one."""
        task = frame.get("task_id") or frame.get("generation_id") or self._asked.generation_id
        own = {self._asked.session_id, self._asked.question.get("session_id")}
        chat = self._asked.session_id
        match frame:
            case {"message": {"chat_id": str(named)}}:
                chat = named
            case _:
                pass
        return task == self._asked.generation_id and chat in own

    async def _answered(self, response: httpx.Response) -> bool:
        self.status = response.status_code
        self.headers = response.headers
        await self._tell()
        if self.status not in {200, 204}:
            await response.aread()
            assert response.headers["Content-Type"] == "application/problem+json", response.text
            self.told = response.json()
            self.text = self.told.get("text", "")
        return self.status == 200

    def _take_frame(self, frame: ServerSentEvent) -> None:
        if frame.id and frame.id not in self.positions:
            self.positions.append(frame.id)
        if frame.data == "[DONE]":
            self.done = True
            if self.end is None:
                self._take("end", {})
        elif frame.event == "message":
            self._take("token", {"text": frame.data})
        else:
            self._take(frame.event, frame.json())

    def _take(self, name: str, members: Json) -> None:
        assert name in _EVENTS
        assert not self.end, "nothing comes behind the end"
        if name == "reset":
            self.text = members["text"]
        elif name == "token":
            self.text += members["text"]
        self.events.append(name)
        if name in _TERMINAL:
            self.end = name
            self.told = members

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


async def _next(socket: Socket) -> Json:
    return json.loads(await socket.connection.recv())


@asynccontextmanager
async def following(
    asked: Asked, doors: Iterable[str], after: str | None = None
) -> AsyncGenerator[dict[str, Reader]]:
    """Readers at doors; at the end they are awaited until nothing more comes."""
    readers = {door: Reader(asked, door, after) for door in doors}
    timeout = POLL_SECONDS + SOON_SECONDS
    async with httpx.AsyncClient(verify=TLS, timeout=timeout) as client:
        tasks = [asyncio.create_task(reader.read(client)) for reader in readers.values()]
        try:
            yield readers
            await asyncio.wait(tasks, timeout=SOON_SECONDS)
            still = [reader for reader in readers.values() if not reader.over]
            assert not still, f"not over: {still}"
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
    failures = [end for end in ends if isinstance(end, Exception)]
    if failures:
        raise ExceptionGroup("readers that met what no reader should", failures)


async def told_by(
    asked: Asked, doors: Iterable[str] = DOORS, after: str | None = None
) -> dict[str, Reader]:
    """What each of the doors has told when nothing more comes."""
    async with following(asked, doors, after) as readers:
        pass
    return readers


async def all_show(readers: dict[str, Reader], text: str) -> None:
    """Waits until every reader that gets the answer piece by piece shows a text."""
    for door, reader in readers.items():
        if door in FLOWING:
            await reader.shows(text)


@asynccontextmanager
async def followed_at_every_door(
    stand: Standing, client: httpx.Client | None = None
) -> AsyncGenerator[tuple[Asked, dict[str, Reader]]]:
    """An answer that waits at the gate, and at each door a reader who has seen what there is."""
    stand.provider.hold()
    prompt = stand.prompt(Answer(["one", " two", " three"], gate_after=1))
    asked = ask_in_background(client or stand.client, prompt)
    async with following(asked, DOORS) as readers:
        await all_show(readers, "one")
        await soon(lambda: stand.followers == len(DOORS))
        yield asked, readers
