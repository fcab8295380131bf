"""What speaks WebSocket below the doors: uvicorn's, over wsproto, with ends that the peer can read.

And with input that is taken a little at a time: the smallest frame has six bytes, so that what one
read of the system's brings may be tens of thousands, and seconds for everybody else.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from typing_extensions import override
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from runnel.edge.sockets import CloseCode

#: How long a peer may take to answer the close frame, and then to close its side too.
LINGER_SECONDS: Final = 1.0
#: How long one socket's input may keep the loop, looked at after each piece.
_TURN_SECONDS: Final = 0.001
_PIECE_BYTES: Final = 512
_MOST_UNWRITTEN_BYTES: Final = 16 * 1024
#: Pings, pongs and tiny pieces: messages the application counts itself.
_TINY_FRAMES_A_SECOND: Final = 100
_TINY_BYTES: Final = 32


class LingeringTransport(asyncio.Transport):
    """A transport that `close` only begins to close; `hang_up` goes on.

    The system's own close answers unread input with a reset, which takes from the peer what it has
    not read: the close frame that says why.
    """

    def __init__(
        self,
        inner: asyncio.Transport,
        *,
        closing: Callable[[], None],
        resuming: Callable[[], None],
    ) -> None:
        """`closing` is called at the first `close`: from then on nothing is written.

        `resuming` is called instead of reading on: there may be input that was read already.
        """
        super().__init__()
        self._inner = inner
        self._closing = closing
        self._ended = False
        # What is written in one turn of the loop leaves together: a call of the system's for each
        # frame would cost more than all else that is done for it.
        self._unwritten: list[bytes | bytearray | memoryview] = []
        self._unwritten_bytes = 0
        self.hung_up = False
        self.pause_reading = inner.pause_reading
        self.resume_reading = resuming

    @override
    def close(self) -> None:
        if not self._ended:
            self._write_out()
            self._ended = True
            self._closing()

    def hang_up(self) -> None:
        """Says that no more comes, and waits for the peer to close, LINGER_SECONDS at most."""
        if self.hung_up:
            return
        self.hung_up = True
        if self._inner.is_closing():
            return
        if self._inner.can_write_eof():
            self._inner.write_eof()
            self.read_on()
        else:  # TLS
            self._inner.close()
        # Neither comes to an end by itself if the peer takes nothing, or is no more.
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._inner.abort)

    def read_on(self) -> None:
        if not self._inner.is_closing():
            self._inner.resume_reading()

    @override
    def is_closing(self) -> bool:
        return self._ended or self._inner.is_closing()

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._ended:
            return
        if not self._unwritten:
            asyncio.get_running_loop().call_soon(self._write_out)
        self._unwritten.append(data)
        self._unwritten_bytes += len(data)
        if self._unwritten_bytes >= _MOST_UNWRITTEN_BYTES:
            self._write_out()

    def _write_out(self) -> None:
        unwritten, self._unwritten, self._unwritten_bytes = self._unwritten, [], 0
        if unwritten and not self._inner.is_closing():
            self._inner.write(b"".join(unwritten))


class SocketProtocol(WSProtocol):
    """One WebSocket. Its application hears of the end at once, and sends nothing after it."""

    _lingering: LingeringTransport
    #: Read from the system, and not yet looked at.
    _unread = memoryview(b"")
    #: So many frames that say little came in this second of the loop's.
    _second = 0
    _tiny_frames = 0
    _frame_length = 0

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.transport = self._lingering = LingeringTransport(
            transport, closing=self._end, resuming=self._take
        )

    def _end(self) -> None:
        # If uvicorn has told the application already, then with a better code.
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        self.disconnected = self.close_sent = True
        self.writable.set()
        if self.conn.state is ConnectionState.LOCAL_CLOSING:
            # What the peer sent before it answers our close frame is read, and let go.
            self.loop.call_later(LINGER_SECONDS, self._lingering.hang_up)
            self.loop.call_soon(self._take)
        else:
            self._lingering.hang_up()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._unread = memoryview(b"")
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self._lingering.hung_up:
            return
        if len(data) <= _PIECE_BYTES:
            super().data_received(data)
        else:
            self._lingering.pause_reading()
            self._unread = memoryview(data)
            self._take()

    def _take(self) -> None:
        """Looks at what was read, for a turn, and reads on after it; unless a message waits."""
        until = self.loop.time() + _TURN_SECONDS
        while self._unread and not self._lingering.hung_up:
            if self.read_paused and not self.close_sent:
                return
            if self.loop.time() > until:
                self.loop.call_soon(self._take)
                return
            piece, self._unread = self._unread[:_PIECE_BYTES], self._unread[_PIECE_BYTES:]
            super().data_received(bytes(piece))
        self._unread = memoryview(b"")
        if self.close_sent or not self.read_paused:
            self._lingering.read_on()

    @override
    def handle_message(self, event: TextMessage | BytesMessage) -> None:
        # A frame comes in as many events as the network has cut it into.
        self._frame_length += len(event.data)
        tiny = event.frame_finished and self._frame_length < _TINY_BYTES
        if event.frame_finished:
            self._frame_length = 0
        if event.message_finished or not tiny or self._may_say_little():
            super().handle_message(event)
            if self.buffer.length > self.buffer.max_length:
                self._tell_close(CloseCode.TOO_LARGE)

    @override
    def handle_ping(self, event: Ping) -> None:
        if self._may_say_little():
            super().handle_ping(event)

    @override
    def handle_pong(self, event: Pong) -> None:
        if self._may_say_little():
            super().handle_pong(event)

    @override
    def keepalive_timeout(self) -> None:
        if self.read_paused and not self.close_sent:
            # The application is slow with an earlier message: the pong may be there, unread.
            assert self.ping_timeout is not None
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)
        else:
            self._tell_close(CloseCode.FAILED)
            super().keepalive_timeout()

    def _tell_close(self, code: int) -> None:
        """Whoever looks after the socket's life is told that this end is not the client's."""
        self.scope.setdefault("state", {})["closed"] = code

    def _may_say_little(self) -> bool:
        """Ends a socket over which too many tiny frames come."""
        second = int(self.loop.time())
        if second != self._second:
            self._second, self._tiny_frames = second, 0
        self._tiny_frames += 1
        if self._tiny_frames > _TINY_FRAMES_A_SECOND:
            self.handle_close(CloseConnection(code=CloseCode.FLOOD, reason="too many tiny frames"))
            return False
        return True

    @override
    def handle_close(self, event: CloseConnection) -> None:
        # No frame of the peer's: a fault has been found, of which it has not been told.
        faulty = self.conn.state is ConnectionState.OPEN
        if faulty:
            self._tell_close(event.code)
            self.transport.write(self.conn.send(event))
        ended = self.transport.is_closing()
        super().handle_close(event)
        if faulty or ended:
            self._lingering.hang_up()
