"""One WebSocket as the connection loop uses it: frames in, frames out, one close."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog
import uuid_utils
from starlette.websockets import WebSocket, WebSocketDisconnect

from runnel.edge.dialects.sockets import Frame
from runnel.edge.json import parse_json
from runnel.edge.sockets import CloseCode
from runnel.errors import Code, RunnelError

_log = structlog.stdlib.get_logger()
#: How many frames are written before other connections have their turn.
_FRAMES_A_TURN: Final = 64
#: How long a close waits for what was written before it.
_CLOSE_SECONDS: Final = 5.0


class ClosedError(Exception):
    """The socket is closed, whoever did it."""


class Wire:
    """Sends and receives, for the task that makes it. `ended`: the server has closed it; the
    client has not gone by itself.
    """

    def __init__(
        self,
        websocket: WebSocket,
        *,
        flush: Callable[[], Awaitable[None]],
        max_frame_bytes: int,
        max_depth: int,
        frames_per_second: int,
    ) -> None:
        """`flush` is awaited before a close of the server's is sent."""
        self.websocket = websocket
        self.opened_at = datetime.now(UTC)
        self.id = str(uuid_utils.uuid7())
        self.ended: CloseCode | None = None
        self.was_cut = False
        self.heard_at = time.monotonic()
        self.stalled_since: float | None = None
        self.count: Callable[[int], None] = lambda _: None
        self._flush = flush
        self._max_frame_bytes = max_frame_bytes
        self._max_depth = max_depth
        self._frames_per_second = frames_per_second
        self._second = 0
        self._frames = 0
        self._sending = 0
        self._in_this_turn = 0
        self._shut = False
        self._closing: asyncio.Task[None] | None = None
        self._task = asyncio.current_task()

    async def receive(self) -> Frame:
        """The client's next frame. Raises RunnelError `invalid_request` for what is none.

        Raises ClosedError once the socket is closed, and closes it for a flood or too large a
        frame.
        """
        if self.ended is not None:
            raise ClosedError
        message = await self.websocket.receive()
        if message["type"] == "websocket.disconnect":
            # The server's own, as it ends; a client's comes with a reason, be it empty.
            if message.get("code") == CloseCode.RESTARTING and "reason" not in message:
                self.ended = CloseCode.RESTARTING
            raise ClosedError
        self.heard_at = time.monotonic()
        self._refuse_flood(int(self.heard_at))
        text = message.get("text")
        if text is None:
            raise RunnelError(Code.INVALID_REQUEST, "Send JSON in text frames, not binary ones.")
        data = text.encode("utf-8", "surrogatepass")
        if len(data) > self._max_frame_bytes:  # where another server than ours runs the app
            self.end(CloseCode.TOO_LARGE, f"a frame has at most {self._max_frame_bytes} bytes")
            raise ClosedError
        try:
            return parse_json(data, max_depth=self._max_depth)
        except RunnelError:
            raise RunnelError(
                Code.INVALID_REQUEST,
                f"A frame is one JSON object, no deeper than {self._max_depth}.",
            ) from None

    async def send(self, frames: Sequence[bytes]) -> None:
        """Sends frames in their order. Raises ClosedError once the socket is closed."""
        size = 0
        for frame in frames:
            await self._send(frame)
            size += len(frame)
            # Of one call or of many: what was written long ago is sent in small pieces.
            self._in_this_turn += 1
            if self._in_this_turn == _FRAMES_A_TURN:
                self._in_this_turn = 0
                await asyncio.sleep(0)
        self.count(size)

    def end(self, code: CloseCode, reason: str) -> None:
        """Closes it; the first code counts."""
        if self.ended is None:
            self.ended = code
            self._closing = asyncio.create_task(self._close(code, reason))

    def cut(self) -> None:
        """Ends the loop of a client that takes nothing, without waiting for it."""
        self.ended = self.ended or CloseCode.FAILED
        if not self.was_cut and self._task is not None:
            self.was_cut = True
            self._task.cancel()
            _log.info("socket.stalled")

    async def closed(self) -> None:
        """Once a close that was begun is sent."""
        if self._closing is not None:
            await asyncio.wait([self._closing])

    async def _send(self, frame: bytes) -> None:
        if self._shut:
            raise ClosedError
        if not self._sending:
            self.stalled_since = time.monotonic()
        self._sending += 1
        try:
            await self.websocket.send({"type": "websocket.send", "text": frame.decode()})
        except (WebSocketDisconnect, RuntimeError, OSError):
            raise ClosedError from None
        finally:
            self._sending -= 1
            # One that went is a sign of life, also for those that wait beside it.
            self.stalled_since = time.monotonic() if self._sending else None

    async def _close(self, code: CloseCode, reason: str) -> None:
        try:
            await self._flush()
            self._shut = True
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.websocket.close(code, reason)
        except TimeoutError:
            self.cut()
        except (WebSocketDisconnect, RuntimeError, OSError):
            pass  # it was closed already

    def _refuse_flood(self, second: int) -> None:
        if second != self._second:
            self._second, self._frames = second, 0
        self._frames += 1
        if self._frames > self._frames_per_second:
            self.end(CloseCode.FLOOD, f"at most {self._frames_per_second} frames a second")
            raise ClosedError
