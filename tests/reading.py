"""Readers of server-sent events that share no code with the server that writes them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from httpx_sse import EventSource, ServerSentEvent

DONE = "[DONE]"


class UnfinishedError(Exception):
    """The stream is over, and no frame was `[DONE]`."""


def simplest_text(body: bytes) -> str:
    """What the simplest reader makes of the text dialect.

    It splits at blank lines, joins a frame's `data: ` lines with LF, and concatenates the frames
    until one is `[DONE]`.
    """
    text: list[str] = []
    for frame in body.decode().split("\n\n"):
        lines = [line.removeprefix("data: ") for line in frame.split("\n") if line[:6] == "data: "]
        data = "\n".join(lines)
        if data == DONE:
            return "".join(text)
        text.append(data)
    raise UnfinishedError(body)


def parsed(body: bytes) -> list[ServerSentEvent]:
    """The frames as httpx-sse reads them, without `retry:`."""
    response = httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=body)
    return [frame for frame in EventSource(response).iter_sse() if frame.retry is None]


def parsed_text(body: bytes) -> str:
    """The text of a body in the text dialect, as httpx-sse reads it."""
    frames = parsed(body)
    assert frames[-1].data == DONE, frames[-3:]
    assert DONE not in [frame.data for frame in frames[:-1]]
    assert {frame.event for frame in frames} == {"message"}, "no frame has a name"
    return "".join(frame.data for frame in frames[:-1])


@dataclass(frozen=True, slots=True)
class Seen:
    """One event of the events dialect."""

    name: str
    id: str
    data: dict[str, Any]


def parsed_events(body: bytes) -> list[Seen]:
    """The events of a body in the events dialect, whose last frame must be `[DONE]`."""
    *frames, last = parsed(body)
    assert (last.event, last.data) == ("message", DONE)
    return [Seen(frame.event, frame.id, json.loads(frame.data)) for frame in frames]


def text_of(events: Iterable[Seen]) -> str:
    """What the `token` events say."""
    return "".join(event.data["text"] for event in events if event.name == "token")


def without_comments(body: bytes) -> bytes:
    """The body without its heartbeats."""
    frames = body.split(b"\n\n")
    return b"\n\n".join(frame for frame in frames if not frame.startswith(b":"))


def cleaned(pieces: Sequence[str]) -> str:
    """The pieces as one text, cleaned as STREAMS.md says, by other means than the server's."""
    text = "".join(pieces).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    # UTF-16 joins what are pairs; its decoder replaces each surrogate that is left alone.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def dechunked(response: bytes) -> tuple[bytes, bytes]:
    """Head and body of a raw HTTP/1.1 response whose body is chunked; it must be whole."""
    head, _, rest = response.partition(b"\r\n\r\n")
    body: list[bytes] = []
    begin = 0
    while True:
        line = rest.index(b"\r\n", begin)
        size, begin = int(rest[begin:line], 16), line + 2
        if size == 0:
            return head, b"".join(body)
        body.append(rest[begin : begin + size])
        begin += size + 2


class Incoming:
    """A response's body as it comes, to be read up to what is waited for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.body = b""

    def until(self, wanted: bytes, times: int = 1) -> bytes:
        """Reads until `wanted` was there so many times; all that was read so far."""
        while self.body.count(wanted) < times:
            self.body += next(self._chunks)
        return self.body

    def rest(self) -> bytes:
        """Reads to the end; the whole body."""
        for chunk in self._chunks:
            self.body += chunk
        return self.body
