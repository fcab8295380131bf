"""How a WebSocket ends: both sides hear why, the memory is bounded, and nobody is waited for long."""

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from runnel.edge import socket_protocol
from ws.echo import echo, options, serving

if TYPE_CHECKING:
    from types import MethodType

MOST: Final = options()["ws_max_size"]
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
HANDSHAKE: Final = (
    b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
#: A peer that answers no ping is given up after this.
HASTY: Final = {"websocket_ping_seconds": 0.1, "websocket_pong_seconds": 0.1}


class Told:
    """An application that listens, and keeps what it is told; or talks until it may not."""

    def __init__(self, *, talks: bool = False) -> None:
        self._talks = talks
        self._said: SimpleQueue[Message] = SimpleQueue()
        #: Bytes it could send.
        self.sent = 0

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while self._talks:
                await send({"type": "websocket.send", "text": "a" * MOST})
                self.sent += MOST
        except OSError:
            pass
        while True:
            message = await receive()
            self._said.put(message)
            if message["type"] == "websocket.disconnect":
                break
        with pytest.raises(OSError):  # noqa: PT011 - says nothing but that the peer is gone
            await send({"type": "websocket.send", "text": "too late"})
        self._said.put({"type": "refused"})

    def next(self) -> Message:
        return self._said.get(timeout=20)

    def assert_ended(self, code: int) -> None:
        """It was told so, and can send no more."""
        assert self.next()["code"] == code
        assert self.next() == {"type": "refused"}


class Peer:
    """A client that does as it likes."""

    def __init__(self, url: str, *, receive_bytes: int | None = None) -> None:
        host, port = url.removeprefix("ws://").strip("/").split(":")
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(20)
        self.socket.connect((host, int(port)))
        self.socket.sendall(HANDSHAKE)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1)
        assert head.startswith(b"HTTP/1.1 101")

    def close(self) -> None:
        self.socket.close()

    def send(self, opcode: int, payload: bytes, *, declared: int | None = None) -> None:
        self.socket.sendall(frame(opcode, payload, declared=declared))

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """What comes until the server says that no more does."""
        with self.socket.makefile("rb") as file:
            while head := file.read(2):
                length = head[1]
                if length == 126:
                    length = struct.unpack("!H", file.read(2))[0]
                elif length == 127:
                    length = struct.unpack("!Q", file.read(8))[0]
                yield head[0] & 15, file.read(length)


def frame(opcode: int, payload: bytes, *, declared: int | None = None) -> bytes:
    length = len(payload) if declared is None else declared
    if length < 126:
        head = struct.pack("!BB", 128 | opcode, 128 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", 128 | opcode, 128 | 126, length)
    else:
        head = struct.pack("!BBQ", 128 | opcode, 128 | 127, length)
    return head + bytes(4) + payload


def code_of(payload: bytes) -> int:
    return struct.unpack("!H", payload[:2])[0]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers that do not close have less time to."""
    monkeypatch.setattr(socket_protocol, "LINGER_SECONDS", 0.1)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that do are awaited, on a busy machine too."""
    monkeypatch.setattr(socket_protocol, "LINGER_SECONDS", 20)


async def test_a_message_up_to_the_bound_is_taken() -> None:
    with serving(echo, options()) as url:
        async with connect(url, compression=None) as client:
            await client.send("a" * MOST)
            assert await client.recv() == "a" * MOST
            await client.send(["ä", "b" * (MOST - 2)])
            assert await client.recv() == "ä" + "b" * (MOST - 2)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "message",
    [
        "a" * (MOST + 1),
        "ä" * (MOST // 2 + 1),
        "a" * 1_000_000,
        ["a" * 1000] * 1000,
        b"a" * (MOST + 1),
    ],
    ids=["a byte over it", "bytes, not characters", "far over it", "in pieces", "bytes"],
)
async def test_both_sides_hear_that_a_message_is_over_the_bound(message: Any) -> None:
    told = Told()
    with serving(told, options()) as url:
        client = await connect(url, compression=None)
        with suppress(ConnectionClosed):  # it may be told before it has sent everything
            await client.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert client.close_code == 1009
        # No reset, which might have come before the close frame was read.
        assert closed.value.__cause__ is None
        told.assert_ended(1009)


@pytest.mark.usefixtures("hurried")
def test_of_a_huge_frame_no_more_is_awaited_than_the_bound() -> None:
    told = Told()
    with serving(told, options()) as url, closing(Peer(url)) as peer:
        peer.send(TEXT, b"a" * (MOST + 1), declared=1 << 40)
        told.assert_ended(1009)
        [(opcode, reason)] = peer.frames()
        assert (opcode, code_of(reason)) == (CLOSE, 1009)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(TEXT, b"\xff"), 1007),
        (b"\x81\x01a", 1002),  # not masked
        (b"\xf1\x80" + bytes(4), 1002),  # reserved bits
        (frame(PING, b"a" * 126), 1002),
    ],
    ids=["invalid UTF-8", "not masked", "reserved bits", "a long ping"],
)
def test_both_sides_hear_of_a_fault(sent: bytes, code: int) -> None:
    told = Told()
    with serving(told, options()) as url, closing(Peer(url)) as peer:
        # What comes after the fault stays unread, and takes nothing from the peer.
        peer.socket.sendall(sent + b"a" * 500_000)
        [(opcode, reason)] = peer.frames()
        assert (opcode, code_of(reason)) == (CLOSE, code)
        told.assert_ended(code)


@pytest.mark.usefixtures("hurried")
def test_a_peer_that_answers_no_ping_is_given_up() -> None:
    told = Told()
    with serving(told, options(**HASTY)) as url, closing(Peer(url)) as peer:
        told.assert_ended(1006)
        (ping, _), (close, reason) = peer.frames()
        assert (ping, close, code_of(reason)) == (PING, CLOSE, 1011)


@pytest.mark.usefixtures("hurried")
def test_one_that_answers_is_kept() -> None:
    told = Told()
    with serving(told, options(**HASTY)) as url, closing(Peer(url)) as peer:
        frames = peer.frames()
        for _ in range(3):
            opcode, payload = next(frames)
            assert opcode == PING
            peer.send(PONG, payload)
        peer.send(TEXT, b"still there")
        assert told.next()["text"] == "still there"
        peer.send(CLOSE, struct.pack("!H", 1000))
        told.assert_ended(1000)


@pytest.mark.usefixtures("hurried")
def test_one_that_reads_nothing_holds_up_little_and_not_for_long() -> None:
    told = Told(talks=True)
    with serving(told, options(**HASTY)) as url, closing(Peer(url, receive_bytes=4096)):
        told.assert_ended(1006)
        # What the system takes for a connection; the server itself keeps a message or two.
        assert told.sent < 16 * 1024 * 1024


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "empty",
    [frame(PING, b""), frame(PONG, b"a"), b"\x00\x80" + bytes(4), b"\x00\x81" + bytes(5)],
    ids=["pings", "pongs", "pieces of no length", "pieces of one byte"],
)
def test_a_flood_of_frames_that_say_nothing_ends_the_socket(empty: bytes) -> None:
    told = Told()
    with serving(told, options()) as url, closing(Peer(url)) as peer:
        peer.socket.sendall(b"\x01\x80" + bytes(4) if empty[0] == 0 else b"")
        peer.socket.sendall(empty * 10_000)
        *_, (opcode, reason) = peer.frames()
        assert (opcode, code_of(reason)) == (CLOSE, 1008)
        told.assert_ended(1008)


def test_of_many_frames_read_at_once_few_are_taken_at_once() -> None:
    frames = 20_000
    waiting: list[int] = []
    heard: list[str] = []

    async def listen(_: Scope, receive: Receive, send: Send) -> None:
        protocol: Any = cast("MethodType", receive).__self__
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            heard.append(message["text"])
            waiting.append(protocol.queue.qsize())

    with serving(listen, options()) as url, closing(Peer(url)) as peer:
        peer.socket.sendall(b"".join(frame(TEXT, b"%d" % number) for number in range(frames)))
        peer.send(CLOSE, struct.pack("!H", 1000))
        assert [opcode for opcode, _ in peer.frames()] == [CLOSE]
    assert heard == [str(number) for number in range(frames)]
    assert max(waiting) < 100


@pytest.mark.usefixtures("hurried")
def test_a_server_that_ends_tells_its_peers_and_waits_for_none() -> None:
    told = Told()
    with ExitStack() as stack:
        with serving(told, options()) as url:
            peer = stack.enter_context(closing(Peer(url)))
            peer.send(TEXT, b"here")
            assert told.next()["text"] == "here"
            peer.send(TEXT, b"a" * 10_000, declared=20_000)
        [(opcode, reason)] = peer.frames()
        assert (opcode, code_of(reason)) == (CLOSE, 1012)
