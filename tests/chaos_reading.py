"""Readers that come back, by whatever door and to whatever instance, until they have the end."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import httpx
from websockets.exceptions import ConnectionClosed, WebSocketException

from assembling import TERMINAL, Json, Place, Told, place_of, position, told_by_page, told_by_stream
from doors import TLS
from serving import Signed
from socket_doors import event_of
from sockets import opened

DOORS: Final = ("events", "text", "poll", "post events", "post text", "socket")
#: So long may a stream be silent, which has a heartbeat each second.
_SILENCE_SECONDS: Final = 4.0
#: Come again: the instance, its database or its Redis is away, or the instance is ending.
_AGAIN: Final = frozenset({502, 503, 504})


@dataclass(slots=True)
class Question:
    """An answer's question, which whoever has its key may ask again."""

    url: str
    user: Signed
    prompt: str
    model: str
    generation_id: str = ""
    session_id: str = ""
    known: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def body(self) -> Json:
        return {"prompt": self.prompt, "model": self.model}

    @property
    def headers(self) -> dict[str, str]:
        return {**self.user.headers, "Idempotency-Key": f"key of {self.prompt}"}

    def learn(self, headers: httpx.Headers) -> None:
        generation_id = headers["X-Generation-Id"]
        assert self.generation_id in {"", generation_id}, "asked once, answered twice"
        self.generation_id, self.session_id = generation_id, headers["X-Session-Id"]
        self.known.set()


class Shown:
    """What one reader shows. Fails at a gap, a repeat, a step back, and anything behind the end.

    `forgetful`: Redis may forget what it has confirmed, and a `reset` lead back.
    """

    def __init__(self, *, forgetful: bool) -> None:
        self.place: Place | None = None
        self.text = ""
        self.terminal: Told | None = None
        self.done = False
        self.seen: dict[Place, str] = {}
        self.resets = 0
        self._forgetful = forgetful
        self._without_place: Told | None = None

    def connect(self) -> None:
        """Another connection: an end without a place, of which the mark did not come, is not kept."""
        self._without_place = None

    def take(self, told: Told) -> None:
        assert not self.done, f"{told} behind the end mark"
        if told.type == "done":
            self._end(told)
            return
        assert self.terminal is None, f"{told} behind {self.terminal}"
        assert self._without_place is None, f"{told} behind {self._without_place}"
        if told.place is None:
            assert told.type in TERMINAL, told
            self._without_place = told  # it is the end mark's
        elif told.type == "reset":
            back = self.place is not None and told.place <= self.place
            assert self._forgetful or not back, f"{told} behind {self.place}"
            self.resets += 1
            self.place, self.text = told.place, told.text
        else:
            self._take_next(told)

    def _take_next(self, told: Told) -> None:
        assert told.place is not None
        if self.place is None:
            # The text dialect does not tell the start, which stands at 0.
            assert told.place == (1, 0 if told.type == "start" else 1), told
        else:
            epoch, offset = self.place
            assert told.place == (epoch, offset + 1), f"{told} at {self.place}"
        if told.type == "token":
            assert told.text
            self.seen[told.place] = told.text
        self.place = told.place
        self.text += told.text
        if told.type in TERMINAL:
            self.terminal = told

    def _end(self, told: Told) -> None:
        if self.terminal is None:
            # The text dialect has no frame for the good end.
            assert told.place is not None, "the end mark without an end"
            end = self._without_place or Told("end", None)
            self._take_next(Told(end.type, told.place, members=end.members))
        assert self.terminal is not None
        assert told.place in {None, self.terminal.place}, f"{told} behind {self.terminal}"
        self.done = True


class Reader:
    """Comes back by one of its doors, as often as it has to."""

    def __init__(
        self,
        question: Question,
        choice: random.Random,
        doors: Sequence[str],
        tally: Counter[str],
        *,
        forgetful: bool,
    ) -> None:
        self.shown = Shown(forgetful=forgetful)
        self.question = question
        self.doors = doors
        self.story: list[str] = []  # what it has met, for whoever looks why a test failed
        self._choice = choice
        self._tally = tally

    async def read(self) -> None:
        timeout = httpx.Timeout(_SILENCE_SECONDS)
        async with httpx.AsyncClient(
            base_url=self.question.url, verify=TLS, timeout=timeout
        ) as client:
            while not self.shown.done:
                door = self._choice.choice(self.doors)
                if not door.startswith("post"):
                    await self.question.known.wait()
                before = self.shown.place
                self.shown.connect()
                try:
                    met = await self._attach(client, door)
                except (httpx.TransportError, WebSocketException, OSError) as error:
                    met = type(error).__name__
                self.story.append(f"{door} at {before}: {met}")
                self._tally["attachments"] += 1
                await asyncio.sleep(self._choice.random() * 0.1)

    def __repr__(self) -> str:
        shown = self.shown
        return (
            f"<{self.question.prompt}, {self.question.generation_id}: {shown.place},"
            f" {shown.terminal}, {self.story[-8:]}>"
        )

    async def _attach(self, client: httpx.AsyncClient, door: str) -> str:
        if door == "socket":
            return await self._listen()
        if door == "poll":
            return await self._poll(client)
        path = f"/api/generations/{self.question.generation_id}/events"
        form = door.removeprefix("post ")
        if form == door:
            headers = self.question.user.headers | self._behind()
            request = client.build_request("GET", path, headers=headers, params={"format": form})
        else:
            headers = self.question.headers | self._behind()
            body = self.question.body | {"format": form}
            request = client.build_request("POST", "/api/generate", headers=headers, json=body)
        return await self._stream(client, request, form)

    def _behind(self) -> dict[str, str]:
        return {} if self.shown.place is None else {"Last-Event-ID": position(self.shown.place)}

    async def _stream(self, client: httpx.AsyncClient, request: httpx.Request, form: str) -> str:
        response = await client.send(request, stream=True)
        body = b""
        met = "its end"
        try:
            if not self._goes_on(response):
                return str(response.status_code)
            if request.method == "POST":
                self.question.learn(response.headers)
            with suppress(httpx.TransportError):
                async for part in response.aiter_raw():
                    body += part
        finally:
            await response.aclose()
        for told in told_by_stream(body, form):
            self.shown.take(told)
        return met

    def _goes_on(self, response: httpx.Response) -> bool:
        """Whether it has a body to be read. An end that the reader holds is no news."""
        if response.status_code == 204:
            assert self.shown.terminal, f"204 at {self.shown.place}"
            self.shown.take(Told("done", None))
            return False
        assert response.status_code in _AGAIN | {200}, f"{response.status_code} for {self}"
        return response.status_code == 200

    async def _poll(self, client: httpx.AsyncClient) -> str:
        path = f"/api/generations/{self.question.generation_id}/events"
        while not self.shown.done:
            after = self.shown.place
            query = {"wait": str(self._choice.choice((0.1, 1, 2)))}
            if after is not None:
                query["after"] = position(after)
            headers = self.question.user.headers | {"Accept": "application/json"}
            response = await client.get(path, headers=headers, params=query)
            assert response.status_code in _AGAIN | {200}, response.text
            if response.status_code != 200:
                return str(response.status_code)
            for told in told_by_page(response.json(), after):
                self.shown.take(told)
        return "its end"

    async def _listen(self) -> str:
        question = self.question
        async with opened(question, f"/ws/{question.session_id}", question.user) as socket:
            resume = {"type": "resume", "generation_id": question.generation_id}
            if self.shown.place is not None:
                resume["after"] = position(self.shown.place)
            await socket.send(resume)
            hearing = _Hearing(self.shown)
            try:
                while not self.shown.done:
                    async with asyncio.timeout(_SILENCE_SECONDS):
                        frame = json.loads(await socket.connection.recv())
                    if frame["type"] == "error" and event_of(frame) is None:
                        return frame["code"]
                    for told in hearing.told(frame):
                        self.shown.take(told)
            except ConnectionClosed as closed:
                if closed.rcvd is not None and closed.rcvd.code in {4401, 4404}:
                    raise AssertionError(self) from closed
                return str(closed)
        return "its end"


class _Hearing:
    """One connection of a session's channel.

    Who joins and is slow to resume is told what runs from its beginning, and then once more from
    where it resumes: what it has by then is dropped.
    """

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._began = False

    def told(self, frame: Json) -> Iterable[Told]:
        shown = self._shown
        event = event_of(frame)
        if event is None:
            assert frame["type"] in {"connected", "message_saved", "typing"}, frame
            return
        name, members = event
        if name == "start":
            self._began = True
        elif name in {"token", "reset"}:
            place = place_of(frame["position"])
            if self._began and shown.place is not None and place <= shown.place:
                return
            yield Told(name, place, members["text"])
        else:
            yield from self._end(name, frame)

    def _end(self, name: str, frame: Json) -> Iterator[Told]:
        # It has no position there: it is the next.
        shown = self._shown
        if shown.terminal is None:
            epoch, offset = shown.place or (1, 0)
            said = frame | frame.get("metadata", {})
            kept = {"finish_reason", "code", "message", "retryable"}
            yield Told(name, (epoch, offset + 1), members={k: said[k] for k in said if k in kept})
        else:
            assert name == shown.terminal.type
        yield Told("done", None)
