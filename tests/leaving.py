"""Clients of /v1 that leave in their own way: over a socket, with nothing in between."""

import json
import socket
from collections.abc import Generator
from contextlib import contextmanager

import httpx

from surface import COMPLETIONS, HELLO, MODEL, Surface


def leave_without_waiting(v1: Surface) -> None:
    """Asks for a stream, and is gone before there are headers."""
    with _asking(v1):
        v1.provider.at_gate.wait_at_least(1)


@contextmanager
def leave_without_reading(v1: Surface) -> Generator[None]:
    """Inside, the connection of somebody who has asked is open, and nobody reads from it."""
    with _asking(v1):
        yield


def _asking(v1: Surface) -> socket.socket:
    body = json.dumps({"model": MODEL, "messages": HELLO, "stream": True}).encode()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", httpx.URL(v1.server.url).port))
    head = (
        f"POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {v1.user.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection
