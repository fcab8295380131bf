"""One answer as a stream of server-sent events."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack

import structlog
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from runnel.chat.following import Follower
from runnel.edge.dialects.sse import SseDialect, encode, retry_line
from runnel.events import Batch
from runnel.settings import Settings

_log = structlog.stdlib.get_logger()


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


class AnswerStream(EventSourceResponse):
    """Sends what is written of a follower. Closing it, however it comes, only detaches.

    `held` is given back at the end.
    """

    def __init__(
        self, frames: AsyncGenerator[bytes], follower: Follower, settings: Settings, held: ExitStack
    ) -> None:
        self._follower = follower
        self._held = held
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - its dict has no types
            frames,
            ping=settings.heartbeat_seconds,
            ping_message_factory=_heartbeat,
            send_timeout=settings.send_timeout_seconds,
            sep="\n",
            headers={"Cache-Control": "no-cache, no-transform"},
        )

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            try:
                await super().__call__(scope, receive, send)
            except SendTimeoutError:
                _log.info("reader.stalled")
                self._follower.close()


def _heartbeat() -> ServerSentEvent:
    return ServerSentEvent(comment="heartbeat", sep="\n")
