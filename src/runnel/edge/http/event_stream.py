"""sse-starlette's response, sent in the request's own task, with heartbeats from a timer.

Of itself it opens a group of four tasks for each stream, and sends each body through every layer.
"""

import asyncio
import time
from collections.abc import AsyncIterable
from typing import Final

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Message, Receive, Scope, Send
from typing_extensions import override

from runnel.edge.requests import straight_of

_HEARTBEAT: Final = ServerSentEvent(comment="heartbeat", sep="\n").encode()


class EventStream(EventSourceResponse):
    """As EventSourceResponse, for frames that end by themselves when the client leaves, and when
    the server drains: nothing here watches for either.

    `sending_since`: when the send that waits was begun.
    """

    def __init__(self, frames: AsyncIterable[bytes], *, heartbeat_seconds: float) -> None:
        self.sending_since: float | None = None
        self._beating: asyncio.Task[None] | None = None
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - its dict has no types
            frames,
            ping=heartbeat_seconds,
            sep="\n",
            headers={"Cache-Control": "no-cache, no-transform"},
        )

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._straight = straight_of(scope)
        self._beat_later(send)
        try:
            await self._stream_response(send)
        finally:
            self._next_beat.cancel()
            if self._beating is not None:
                self._beating.cancel()

    @override
    async def _send_with_timeout(self, send: Send, message: Message) -> None:
        # sse-starlette's own would open a scope with a timer for each send.
        if self.sending_since is None:  # else a heartbeat waits, and for longer
            self.sending_since = time.monotonic()
        await self._straight.send(message)
        self.sending_since = None
        self._straight.count(len(message["body"]))

    def _beat_later(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        self._next_beat = loop.call_later(self.ping_interval, self._beat, send)

    def _beat(self, send: Send) -> None:
        if self._may_beat():
            self._beating = asyncio.create_task(self._send_heartbeat(send))
        self._beat_later(send)

    def _may_beat(self) -> bool:
        # While something waits to be sent, a heartbeat would only wait behind it.
        return self.active and self.sending_since is None

    async def _send_heartbeat(self, send: Send) -> None:
        async with self._send_lock:  # the end waits for it, and nothing comes behind the end
            if self._may_beat():
                message = {"type": "http.response.body", "body": _HEARTBEAT, "more_body": True}
                await self._send_with_timeout(send, message)
