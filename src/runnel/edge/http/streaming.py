"""One answer as a stream of server-sent events."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack
from typing import Final

import structlog
from starlette.types import Receive, Scope, Send
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
        super().__init__(frames, heartbeat_seconds=settings.heartbeat_seconds)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            reading = asyncio.timeout(None)
            try:
                async with reading:
                    self._look_later(reading)
                    try:
                        await super().__call__(scope, receive, send)
                    finally:
                        self._next_look.cancel()
            except TimeoutError:
                if not reading.expired():
                    raise
                _log.info("reader.stalled")
                self._follower.close()

    def _look_later(self, reading: asyncio.Timeout) -> None:
        pause = self._send_seconds / _LOOKS
        self._next_look = asyncio.get_running_loop().call_later(pause, self._look, reading)

    def _look(self, reading: asyncio.Timeout) -> None:
        """Ends the reading of one who has taken nothing for too long."""
        since = self.sending_since
        if since is not None and time.monotonic() - since > self._send_seconds:
            reading.reschedule(0)
        else:
            self._look_later(reading)
