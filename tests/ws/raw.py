"""A client of WebSockets that does as it likes: frames over a plain connection, read or not."""

import json
import socket
import struct
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import Final

import httpx

from serving import LiveServer

TEXT: Final = 1
_RESET: Final = struct.pack("ii", 1, 0)


@contextmanager
def knocking(
    server: LiveServer, path: str, token: str | None, *, receive_bytes: int | None = None
) -> Generator[socket.socket]:
    """Inside, a handshake is sent, and nothing is read of what comes."""
    connection = socket.socket()
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(20)
    with closing(connection):
        url = httpx.URL(server.url)
        connection.connect((url.host, url.port or 0))
        signed = f"Authorization: Bearer {token}\r\n" if token else ""
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"{signed}\r\n".encode()
        )
        yield connection


def let_in(connection: socket.socket) -> socket.socket:
    """Reads the answer to the handshake, and not a byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101")
    return connection


def say(connection: socket.socket, **members: object) -> None:
    """Sends a frame of JSON, of less than 64 KiB."""
    data = json.dumps(members).encode()
    if len(data) < 126:
        head = struct.pack("!BB", 128 | TEXT, 128 | len(data))
    else:
        head = struct.pack("!BBH", 128 | TEXT, 128 | 126, len(data))
    connection.sendall(head + bytes(4) + data)


def reset(connection: socket.socket) -> None:
    """Breaks it off, as a process does that is killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()


def close_code(connection: socket.socket) -> int:
    """Reads frames up to the close, and says its code."""
    with connection.makefile("rb") as file:
        while head := file.read(2):
            length = head[1]
            if length == 126:
                length = struct.unpack("!H", file.read(2))[0]
            elif length == 127:
                length = struct.unpack("!Q", file.read(8))[0]
            payload = file.read(length)
            if head[0] & 15 == 8:
                return struct.unpack("!H", payload[:2])[0]
    raise AssertionError("no close")
