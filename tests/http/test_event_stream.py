"""A stream's heartbeats and its end, in front of a server that takes what it is sent when it likes."""

import asyncio

import pytest
from starlette.types import Message, Scope

from runnel.edge.dialects.sse import TextDialect
from runnel.edge.http.event_stream import EventStream
from runnel.edge.http.streaming import SseFrames
from runnel.edge.requests import RequestLayer
from runnel.events import Batch, Token
from runnel.settings import Settings
from runnel.telemetry.metrics import Metrics
from runnel.telemetry.traffic import USER_CLASSES, Traffic
from waiting import soon

HEARTBEAT = b": heartbeat\n\n"
FRAME = b"data: a\n\n"


class Taking:
    """Takes messages while it is open; `sent` are those that were begun."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.open = asyncio.Event()
        self.open.set()

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.sent if "body" in message]

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        await self.open.wait()


class Answer:
    """Words that come when the test says so, and end with None: there is no end then."""

    def __init__(self) -> None:
        self.coming: asyncio.Queue[str | None] = asyncio.Queue()
        self.closed = False
        self.fault: Exception | None = None

    async def next(self) -> list[Batch]:
        word = await self.coming.get()
        if self.fault is not None:
            raise self.fault
        return [] if word is None else [Batch(1, 1, (Token(word),))]

    def close(self) -> None:
        self.closed = True


class Streaming:
    """A stream that runs, with a heartbeat every few milliseconds."""

    def __init__(self, *, send_timeout_seconds: float = 3600) -> None:
        self.answer = Answer()
        self.taking = Taking()
        self.counted = 0
        self.given_back = False
        settings = Settings(heartbeat_seconds=0.005, send_timeout_seconds=send_timeout_seconds)
        frames = SseFrames(TextDialect(ids=False))
        self.stream = EventStream(frames, (), self.answer, settings, self._give_back)
        self.task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        traffic = Traffic(dict.fromkeys(USER_CLASSES, self._count))
        layer = RequestLayer(self.stream, metrics=Metrics(), traffic=traffic, root_path="")
        scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        await layer(scope, self._receive, self.taking.send)

    def _give_back(self) -> None:
        self.given_back = True

    def _count(self, size: int) -> None:
        self.counted += size

    async def _receive(self) -> Message:
        raise AssertionError


async def beats(streaming: Streaming, times: int) -> None:
    await soon(lambda: streaming.taking.bodies.count(HEARTBEAT) >= times)


async def test_heartbeats_come_between_frames_and_none_behind_the_end() -> None:
    streaming = Streaming()
    await beats(streaming, 2)
    streaming.answer.coming.put_nowait("a")
    await soon(lambda: FRAME in streaming.taking.bodies)
    streaming.answer.coming.put_nowait(None)
    await streaming.task
    bodies = streaming.taking.bodies
    assert (bodies[-1], streaming.taking.sent[-1]["more_body"]) == (b"", False)
    assert streaming.counted == sum(map(len, bodies))
    await asyncio.sleep(0.02)  # the time of several
    assert streaming.taking.bodies == bodies
    assert streaming.given_back
    assert not streaming.answer.closed


async def test_behind_a_frame_that_is_not_taken_no_heartbeat_waits() -> None:
    streaming = Streaming()
    await beats(streaming, 1)
    streaming.taking.open.clear()
    streaming.answer.coming.put_nowait("a")
    await soon(lambda: FRAME in streaming.taking.bodies)
    since = streaming.stream.sending_since
    assert since is not None
    await asyncio.sleep(0.02)  # the time of several
    assert streaming.taking.bodies[-1] == FRAME
    assert streaming.stream.sending_since == since  # none has begun its time anew
    streaming.taking.open.set()
    await beats(streaming, streaming.taking.bodies.count(HEARTBEAT) + 1)
    streaming.answer.coming.put_nowait(None)
    await streaming.task


async def test_the_end_waits_for_a_heartbeat_that_is_not_taken() -> None:
    streaming = Streaming()
    await beats(streaming, 1)
    streaming.taking.open.clear()
    await soon(lambda: streaming.stream.sending_since is not None)
    streaming.answer.coming.put_nowait(None)
    await soon(streaming.answer.coming.empty)
    assert not streaming.task.done()
    assert streaming.taking.bodies[-1] == HEARTBEAT
    streaming.taking.open.set()
    await streaming.task
    assert streaming.taking.bodies[-2:] == [HEARTBEAT, b""]


@pytest.mark.parametrize("waits", [True, False])
async def test_cancelling_gives_back_what_is_held_and_ends_the_heartbeats(*, waits: bool) -> None:
    streaming = Streaming()
    await beats(streaming, 1)
    if waits:
        streaming.taking.open.clear()
        streaming.answer.coming.put_nowait("a")
        await soon(lambda: FRAME in streaming.taking.bodies)
    streaming.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await streaming.task
    assert streaming.given_back
    sent = list(streaming.taking.sent)
    streaming.taking.open.set()
    await asyncio.sleep(0.02)  # the time of several
    assert streaming.taking.sent == sent


async def test_who_takes_nothing_for_too_long_is_given_up_without_an_end() -> None:
    streaming = Streaming(send_timeout_seconds=0.02)
    await beats(streaming, 1)
    streaming.taking.open.clear()
    streaming.answer.coming.put_nowait("a")
    await streaming.task
    assert streaming.answer.closed
    assert streaming.given_back
    assert b"" not in streaming.taking.bodies


async def test_a_fault_in_the_frames_is_raised_and_gives_back_what_is_held() -> None:
    streaming = Streaming()
    await beats(streaming, 1)
    streaming.answer.fault = TimeoutError("of its own")
    streaming.answer.coming.put_nowait("a")
    with pytest.raises(TimeoutError, match="of its own"):
        await streaming.task
    assert streaming.given_back
    assert not streaming.answer.closed


async def test_a_client_that_takes_no_beginning_gives_back_what_is_held() -> None:
    streaming = Streaming()
    streaming.taking.open.clear()
    await soon(lambda: streaming.taking.sent)
    streaming.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await streaming.task
    assert streaming.given_back
