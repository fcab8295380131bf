"""sse-starlette's response, sent past all the layers, with heartbeats from a timer.

Of itself it opens a group of four tasks for each stream, inside of all the layers, and sends each
body through them.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from runnel.edge.http.streaming import Frames
from runnel.edge.requests import straight_of
from runnel.events import Batch
from runnel.settings import Settings

_log = structlog.stdlib.get_logger()
_HEARTBEAT: Final = ServerSentEvent(comment="heartbeat", sep="\n").encode()
#: While something is sent it is counted so often, and at the end: each time it is looked up for whom.
_COUNT_SECONDS: Final = 1.0
#: How often it is looked, within the time that a send may take, whether it takes longer.
_LOOKS: Final = 4


class Following(Protocol):
    """As much of chat.following.Follower as is needed here."""

    async def next(self) -> Sequence[Batch]: ...

    def close(self) -> None: ...


class EventStream(EventSourceResponse):
    """As EventSourceResponse, for an answer whose follower ends by itself when the client leaves,
    and when the server drains: nothing here watches for either.

    `first` was read already. `give_back` is called at the end; who takes nothing for too long has
    the follower closed. `sending_since`: when the send that waits was begun.
    """

    def __init__(
        self,
        frames: Frames,
        first: Sequence[Batch],
        follower: Following,
        settings: Settings,
        give_back: Callable[[], None],
    ) -> None:
        self.sending_since: float | None = None
        self._frames = frames
        self._first = first
        self._follower = follower
        self._give_back = give_back
        self._send_seconds = settings.send_timeout_seconds
        self._beating: asyncio.Task[None] | None = None
        self._uncounted = 0  # bytes that were sent
        self._counted_at = 0.0
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - its dict has no types
            iter(()),  # what there is to send comes from the follower
            ping=settings.heartbeat_seconds,
            sep="\n",
            headers={"Cache-Control": "no-cache, no-transform"},
        )
        # Whether the connection is kept, the server says, and to whoever wants it closed otherwise.
        del self.headers["connection"]
        # Nothing here takes turns, and it has room for 64 who wait. (A later version may have none.)
        vars(self).pop("_send_lock", None)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._straight = straight_of(scope)
        self._straight.give_back = self._give_back
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        await send(start)
        del start, self.raw_headers
        self._straight.rest = self._send_rest

    async def _send_rest(self) -> None:
        reading = asyncio.timeout(None)
        now = asyncio.get_running_loop().time()
        self._beat_at = now + self.ping_interval
        self._look_at = now + self._send_seconds / _LOOKS
        self._tick_later(reading)
        try:
            async with reading:
                await self._send_answer()
                self.active = False
                if self._beating is not None:
                    await self._beating  # nothing comes behind the end
                end = {"type": "http.response.body", "body": b"", "more_body": False}
                await self._straight.send(end)
        except TimeoutError:
            if not reading.expired():
                raise
            _log.info("reader.stalled")
            self._follower.close()
        finally:
            if self._uncounted:
                self._count(time.monotonic())
            self._ticking.cancel()
            if self._beating is not None:
                self._beating.cancel()

    async def _send_answer(self) -> None:
        frames, follower = self._frames, self._follower
        body = frames.opening() + frames.frames(self._first)
        self._first = ()
        while True:
            await self._send(body)
            # A reader that waits holds nothing of what it was given: that may be a whole answer.
            del body
            if frames.over:
                return
            if batches := await follower.next():
                body = frames.frames(batches)
                del batches
            else:  # closed by us
                if body := frames.broken_off():
                    await self._send(body)
                return

    async def _send(self, body: bytes) -> None:
        now = time.monotonic()
        if self.sending_since is None:  # else a heartbeat waits, and for longer
            self.sending_since = now
        message = {"type": "http.response.body", "body": body, "more_body": True}
        await self._straight.send(message)
        self.sending_since = None
        self._uncounted += len(body)
        if now >= self._counted_at + _COUNT_SECONDS:
            self._count(now)

    def _count(self, now: float) -> None:
        self._straight.count(self._uncounted)
        self._uncounted, self._counted_at = 0, now

    def _tick_later(self, reading: asyncio.Timeout) -> None:
        """One timer for both: each stream that is open has it."""
        at = min(self._beat_at, self._look_at)
        self._ticking = asyncio.get_running_loop().call_at(at, self._tick, reading)

    def _tick(self, reading: asyncio.Timeout) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._look_at:
            self._look_at = now + self._send_seconds / _LOOKS
            if self._stalls():
                reading.reschedule(0)
                return
        if now >= self._beat_at:
            self._beat_at = now + self.ping_interval
            if self._may_beat():
                self._beating = asyncio.create_task(self._send_heartbeat())
        self._tick_later(reading)

    def _stalls(self) -> bool:
        """Whether who reads has taken nothing for too long."""
        since = self.sending_since
        return since is not None and time.monotonic() - since > self._send_seconds

    def _may_beat(self) -> bool:
        # While something waits to be sent, a heartbeat would only wait behind it.
        return self.active and self.sending_since is None

    async def _send_heartbeat(self) -> None:
        if self._may_beat():
            await self._send(_HEARTBEAT)
