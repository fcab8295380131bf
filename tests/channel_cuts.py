"""A client on a session's channel that resumes an answer, and that may be cut at any byte."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from assembling import Json, Place, Told, place_of, position
from cutting_off import WHOLE_SECONDS, Cut, leave

#: What ends an answer there, and its event.
_ENDS: Final = {"stream_end": "end", "aborted": "aborted", "error": "failed"}


class Followable(Protocol):
    """What has to be known of an answer."""

    port: int
    token: str
    generation_id: str
    session_id: str


@dataclass(slots=True)
class Followed:
    """What has come before the cut. `whole`: up to the answer's end; `place`: where it ended."""

    frames: list[Json] = field(default_factory=list[Json])
    received: int = 0
    whole: bool = False
    place: str = "the handshake"


async def follow(question: Followable, after: Place | None, cut: Cut | None = None) -> Followed:
    """Resumes behind a place, or at the beginning, and reads to the end or to the cut."""
    uri = parse_uri(f"ws://127.0.0.1:{question.port}/ws/{question.session_id}")
    client = ClientProtocol(uri, max_size=None)
    request = client.connect()
    request.headers["Authorization"] = f"Bearer {question.token}"
    client.send_request(request)
    resume = {"type": "resume", "generation_id": question.generation_id}
    if after is not None:
        resume["after"] = position(after)
    reader, writer = await asyncio.open_connection("127.0.0.1", question.port)
    followed = Followed()
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(cut.seconds if cut else WHOLE_SECONDS):
                await _read(client, (reader, writer), json.dumps(resume).encode(), cut, followed)
    finally:
        await leave(writer, cut)
    return followed


async def _read(
    client: ClientProtocol,
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    resume: bytes,
    cut: Cut | None,
    followed: Followed,
) -> None:
    reader, writer = connection
    sent, most_sent = 0, cut.sent if cut else None
    most_received = cut.received if cut else 2**62
    while True:
        for data in client.data_to_send():
            writer.write(data[: None if most_sent is None else most_sent - sent])
            sent += len(data)
            if most_sent is not None and sent > most_sent:
                followed.place = "what it sends"
                return
        await writer.drain()
        size = min(most_received - followed.received, 65_536)
        data = await reader.read(size) if size else b""
        if not data:
            return
        followed.received += len(data)
        client.receive_data(data)
        for event in client.events_received():
            if isinstance(event, Response):
                assert client.handshake_exc is None
                client.send_text(resume)
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                assert event.fin
                frame = json.loads(bytes(event.data))
                followed.frames.append(frame)
                if frame["type"] in _ENDS:
                    followed.whole = True
                    return
            followed.place = "what it is told"


def told_by_channel(
    frames: Sequence[Json], after: Place | None, have: Place | None
) -> Iterator[Told]:
    """The events of an answer that was resumed `after`, for a client that has read up to `have`.

    The end has no place there: it is the next.
    """
    place, latest = after, have
    starts = 0
    for frame in frames:
        match frame:
            case {"type": "connected"}:
                assert frame["running"] is None or frame["running"]["generation_id"]
            case {"type": "message_saved"}:
                pass
            case {"type": "stream_start"}:
                # From the beginning: who joins and is slow to resume is told of what runs, and then
                # once more from where it resumes.
                place, starts = None, starts + 1
            case {"type": "stream_chunk"}:
                place = place_of(frame["position"])
                again = latest is not None and place[0] == latest[0] and place <= latest
                if not (again and starts > int(after is None)):
                    latest = place
                    yield Told("token", place, frame["content"])
            case {"type": "reset"}:
                place = place_of(frame["position"])
                yield Told("reset", place, frame["text"])
            case {"type": "stream_end" | "aborted" | "error" as kind}:
                epoch, offset = place or (1, 0)
                yield Told(_ENDS[kind], (epoch, offset + 1), members=_members(frame))
                yield Told("done", None)
            case _:
                raise AssertionError(frame)


def _members(frame: Json) -> Json:
    metadata = frame.get("metadata", {})
    said = frame | metadata
    names = ("finish_reason", "code", "message", "retryable")
    return {name: said[name] for name in names if name in said}
