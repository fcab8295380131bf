"""Clients that cut their own connections, at any byte, and come back by another door."""

import asyncio
import json
import logging
import os
import random
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Final, Literal

import httpx
import pytest
from structlog.testing import capture_logs

from assembling import (
    Assembled,
    Json,
    Place,
    Reply,
    Told,
    position,
    reply_of,
    told_by_page,
    told_by_stream,
)
from channel_cuts import follow, told_by_channel
from cutting_off import Cut, exchange, some_cut
from serving import Signed
from standing import Standing

Door = Literal["events", "text", "ticket", "poll", "post", "channel", "whole", "background"]
SEED: Final = int(os.environ.get("RUNNEL_TEST_SEED") or random.randrange(2**32))


class Question:
    """What all who read an answer know of it."""

    def __init__(self, stand: Standing, prompt: str, user: Signed | None = None) -> None:
        self.prompt = prompt
        self.key = f"key of {prompt}"
        self.session = ""
        self.generation_id = ""
        self.session_id = ""
        self.asked = asyncio.Event()
        self.port = httpx.URL(stand.server.url).port or 0
        self.sign_in(user or stand.user)

    def sign_in(self, user: Signed) -> None:
        self.ticket = ""
        self.token = user.token
        self._user = f"Authorization: Bearer {user.token}"

    def learn(self, generation_id: str, session_id: str) -> None:
        assert self.generation_id in {"", generation_id}, "asked twice, answered twice"
        self.generation_id, self.session_id = generation_id, session_id
        self.asked.set()

    async def call(self, method: str, path: str, body: bytes = b"") -> Reply:
        """What the user is answered."""
        return reply_of(await exchange(self.port, _request(method, path, [self._user], body)))

    async def take_ticket(self) -> None:
        body = json.dumps({"generation_id": self.generation_id}).encode()
        reply = await self.call("POST", "/api/tickets", body)
        assert reply.status == 200, reply
        self.ticket = json.loads(reply.body)["ticket"]

    def reading(self, choice: random.Random, door: Door, form: str, after: Place | None) -> bytes:
        """The request to go on behind a place, or to begin, by a door that does not ask."""
        lines = [] if door == "ticket" else [self._user]
        path = f"/api/generations/{self.generation_id}/events?format={form}"
        if door == "ticket":
            path += f"&ticket={self.ticket}"
        if door == "poll":
            path += f"&wait={choice.choice((0, 0.01, 0.1, 0.3))}"
            lines.append("Accept: application/json")
        by = choice.choice(("header", "query", "both")) if after else ""
        if after and by == "query":
            path += f"&after={position(after)}"
        if after and by == "both":
            # An EventSource that reconnects asks at its first address, with its new position.
            path += f"&after={position((after[0], choice.randrange(after[1] + 1)))}"
        if after and by != "query":
            lines.append(f"Last-Event-ID: {position(after)}")
        return _request("GET", path, lines, b"")

    def asking(self, choice: random.Random, door: Door, form: str, after: Place | None) -> bytes:
        """The question, with its key by one way or the other."""
        path = "/chat" if door == "whole" else choice.choice(("/api/generate", "/chat"))
        body: Json = {choice.choice(("prompt", "message")): self.prompt, "format": form}
        body |= {"stream": True} if path == "/chat" and door != "whole" else {}
        body |= {"background": True} if door == "background" else {}
        body |= {"session_id": self.session} if self.session else {}
        lines = [self._user]
        by = choice.choice(("header", "body", "both"))
        if by != "header":
            body["client_message_id"] = self.key
        if by != "body":
            lines.append(f"Idempotency-Key: {self.key}")
        if after:
            lines.append(f"Last-Event-ID: {position(after)}")
        return _request("POST", path, lines, json.dumps(body).encode())


def _request(method: str, path: str, lines: Sequence[str], body: bytes) -> bytes:
    sent = ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
    head = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *lines, *sent, "", ""]
    return "\r\n".join(head).encode() + body


class Reader:
    """Reads one answer to its end, cut again and again, each time by a door of its choice.

    `often`: the share of its connections that is cut. `forgetful`: the server keeps no log of
    what has ended.
    """

    def __init__(
        self,
        question: Question,
        choice: random.Random,
        tally: Counter[str],
        *,
        often: float = 0.85,
        forgetful: bool = False,
    ) -> None:
        self.assembled = Assembled()
        self._question = question
        self._choice = choice
        self._tally = tally
        self._often = often
        self._forgetful = forgetful

    async def read(self) -> Assembled:
        while not self.assembled.done:
            await self._connect()
            if self._choice.random() < 0.3:
                await asyncio.sleep(self._choice.random() * 0.06)
        return self.assembled

    async def find_nothing_more(self) -> None:
        """Whoever holds the last position is told that there is nothing more to come."""
        door: Door = self._choice.choice(("events", "text", "ticket", "post", "channel"))
        if door == "channel":
            await self._find_the_end_again()
            return
        request = await self._request(door, "events", self.assembled.place)
        reply = reply_of(await exchange(self._question.port, request))
        assert (reply.status, reply.body) == (204, b"")
        self._tally["204s"] += 1

    async def _find_the_end_again(self) -> None:
        """A socket has no status: it is told the end itself once more."""
        question, assembled = self._question, self.assembled
        followed = await follow(question, assembled.place)
        [end, _] = told_by_channel(followed.frames, assembled.place, assembled.place)
        assert assembled.terminal
        assert end.type == assembled.terminal.type
        self._tally["ends again"] += 1

    async def _connect(self) -> None:
        choice, assembled = self._choice, self.assembled
        door, form = self._door()
        after = assembled.place
        lies = after is not None and assembled.terminal is None and choice.random() < 0.12
        if after and lies:  # of an epoch that never was, or of the future
            after = choice.choice(((after[0] + 7, after[1]), (after[0], after[1] + 10**6)))
        assembled.reconnect("lied" if lies else "gone" if self._forgetful else "")
        resets = len(assembled.resets)
        self._tally[f"{'resumes' if after else 'beginnings'} by {door}"] += 1
        if door == "channel":
            await self._follow_channel(after)
        else:
            await self._read_over_http(door, form, after)
        self._tally["resets"] += len(assembled.resets) - resets

    async def _follow_channel(self, after: Place | None) -> None:
        choice, assembled = self._choice, self.assembled
        cut = some_cut(choice, 700) if choice.random() < self._often else None
        followed = await follow(self._question, after, cut)
        self._tally["bytes"] += followed.received
        if cut and not followed.whole:
            self._tally["cuts"] += 1
            self._tally[f"cuts in {followed.place}"] += 1
        assert cut or followed.whole, f"the channel at {after} was closed by the server"
        for told in told_by_channel(followed.frames, after, assembled.place):
            if assembled.terminal and told.type != "done":  # without its mark; it is told again
                assert told.type == assembled.terminal.type
            else:
                assembled.take(told)

    async def _read_over_http(self, door: Door, form: str, after: Place | None) -> None:
        choice, assembled = self._choice, self.assembled
        request = await self._request(door, form, after)
        cut = some_cut(choice, len(request)) if choice.random() < self._often else None
        received = await exchange(self._question.port, request, cut)
        reply = reply_of(received)
        self._tally["bytes"] += len(received)
        if cut and not reply.whole:
            self._tally["cuts"] += 1
            self._tally[f"cuts in {_middle(cut, received, reply)}"] += 1
        assert cut or reply.whole, f"{door} at {after} was closed by the server"
        if not reply.status:
            return
        if door in {"post", "background"}:
            headers = reply.headers
            self._question.learn(headers["x-generation-id"], headers["x-session-id"])
        for told in self._told(reply, door, form, after):
            assembled.take(told)
        if reply.whole and door not in {"poll", "background"}:
            assert assembled.done, f"{door} at {after} ended without the answer's end"

    async def _request(self, door: Door, form: str, after: Place | None) -> bytes:
        question = self._question
        if door in {"post", "background"}:
            return question.asking(self._choice, door, form, after)
        if door == "ticket" and not question.ticket:
            await question.take_ticket()
        return question.reading(self._choice, door, form, after)

    def _told(self, reply: Reply, door: Door, form: str, after: Place | None) -> Iterable[Told]:
        match reply.status, door:
            case 200, "poll":
                return told_by_page(json.loads(reply.body), after) if reply.whole else ()
            case 200, "events" | "text" | "ticket" | "post":
                assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
                return told_by_stream(reply.body, form)
            case 202, "background":
                if reply.whole:
                    self._question.ticket = json.loads(reply.body)["ticket"]
                return ()
            case 204, "events" | "text" | "ticket" | "post":
                assert self.assembled.terminal, f"204 for {after}"
                assert reply.whole
                self._tally["204s"] += 1
                return (Told("done", None),)
            case _:
                raise AssertionError(reply)

    def _door(self) -> tuple[Door, str]:
        choice = self._choice
        if not self._question.generation_id:
            return choice.choice(("post", "post", "background")), choice.choice(("text", "events"))
        door: Door = choice.choice(("events", "text", "ticket", "poll", "post", "channel"))
        if door in {"ticket", "post"}:
            return door, choice.choice(("text", "events"))
        return door, "text" if door == "text" else "events"


def _middle(cut: Cut, received: bytes, reply: Reply) -> str:
    """In the middle of what the cut came."""
    if cut.sent is not None:
        return "the request"
    if not reply.status:
        return "the head" if received else "the waiting for it"
    if reply.body.endswith(b"\n\n") or not reply.body:
        return "no frame"
    try:
        reply.body.decode()
    except UnicodeDecodeError:
        return "a character"
    return "a frame"


@contextmanager
def no_errors(caplog: pytest.LogCaptureFixture) -> Generator[None]:
    """Whatever clients do, the server takes it calmly."""
    with capture_logs() as entries:
        yield
    assert [entry for entry in entries if entry["log_level"] in {"error", "critical"}] == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def say(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Past all capturing, so that it is seen even from a worker of xdist."""
    with capsys.disabled():
        sys.stderr.write(f"\n{words}; again with RUNNEL_TEST_SEED={SEED}\n")


def counts(tally: Counter[str]) -> str:
    return ", ".join(f"{what} {number}" for what, number in sorted(tally.items()))
