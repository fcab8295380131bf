"""One answer as a stream of server-sent events."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack
from typing import Final

import anyio
import structlog
from sse_starlette import ServerSentEvent
from starlette.types import Message, Receive, Scope, Send
from typing_extensions import override

from runnel.chat.following import Follower
from runnel.edge.dialects.sse import SseDialect, encode, retry_line
from runnel.edge.http.event_stream import EventStream
from runnel.events import Batch
from runnel.settings import Settings

_log = structlog.stdlib.get_logger()
#: How often it is looked, within the time that a send may take, whether it takes longer.
_LOOKS: Final = 4


#: Writes an answer: first the batches that were read already, then what a follower gives.
Write = Callable[[Sequence[Batch], Follower], AsyncGenerator[bytes]]


def writing(dialect: SseDialect) -> Write:
    """Each event as the dialect has it, to the end that the follower comes to."""

    async def write(first: Sequence[Batch], follower: Follower) -> AsyncGenerator[bytes]:
        frames = retry_line() + encode(dialect, first)
        del first
        while True:
            yield frames
            # A reader that waits holds nothing of what it was given: that may be a whole answer.
            del frames
            if follower.finished:
                return
            batches = await follower.next()
            if not batches:
                return  # closed by us: without an end, so that the client attaches again
            frames = encode(dialect, batches)
            del batches

    return write


class AnswerStream(EventStream):
    """Sends what is written of a follower. Closing it, however it comes, only detaches.

    `held` is given back at the end.
    """

    def __init__(
        self, frames: AsyncGenerator[bytes], follower: Follower, settings: Settings, held: ExitStack
    ) -> None:
        self._follower = follower
        self._held = held
        self._send_seconds = settings.send_timeout_seconds
        self._sending_since: float | None = None
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - its dict has no types
            frames,
            ping=settings.heartbeat_seconds,
            ping_message_factory=_heartbeat,
            sep="\n",
            headers={"Cache-Control": "no-cache, no-transform"},
        )

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            with anyio.CancelScope() as reading:
                self._look_later(reading)
                try:
                    await super().__call__(scope, receive, send)
                finally:
                    self._looking.cancel()
            if reading.cancelled_caught:
                _log.info("reader.stalled")
                self._follower.close()

    @override
    async def _send_with_timeout(self, send: Send, message: Message) -> None:
        # sse-starlette's own would open a scope with a timer for each send.
        self._sending_since = time.monotonic()
        await send(message)
        self._sending_since = None

    def _look_later(self, reading: anyio.CancelScope) -> None:
        pause = self._send_seconds / _LOOKS
        self._looking = asyncio.get_running_loop().call_later(pause, self._look, reading)

    def _look(self, reading: anyio.CancelScope) -> None:
        """Ends the reading of one who has taken nothing for too long."""
        since = self._sending_since
        if since is not None and time.monotonic() - since > self._send_seconds:
            reading.cancel()
        else:
            self._look_later(reading)


def _heartbeat() -> ServerSentEvent:
    return ServerSentEvent(comment="heartbeat", sep="\n")
