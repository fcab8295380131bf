"""One answer as a stream of server-sent events."""

from collections.abc import AsyncGenerator, Sequence
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


class AnswerStream(EventSourceResponse):
    """Begins with the batches that were read already. Closing it, however it comes, only detaches.

    `held` is given back at the end.
    """

    def __init__(
        self,
        first: Sequence[Batch],
        follower: Follower,
        dialect: SseDialect,
        settings: Settings,
        held: ExitStack,
    ) -> None:
        self._first = first
        self._follower = follower
        self._dialect = dialect
        self._held = held
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - its dict has no types
            self._frames(),
            ping=settings.heartbeat_seconds,
            ping_message_factory=_heartbeat,
            send_timeout=settings.send_timeout_seconds,
            sep="\n",
            headers={"Cache-Control": "no-cache, no-transform"},
        )

    async def _frames(self) -> AsyncGenerator[bytes]:
        frames = retry_line() + encode(self._dialect, self._first)
        self._first = ()
        while True:
            yield frames
            # A reader that waits holds nothing of what it was given: that may be a whole answer.
            del frames
            if self._follower.finished:
                return
            batches = await self._follower.next()
            if not batches:
                return  # closed by us: without an end, so that the client attaches again
            frames = encode(self._dialect, batches)
            del batches

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
