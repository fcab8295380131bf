"""Requests a second: a closed loop over connections that are kept, one question after the other."""

import json
import select
import socket
import time
from dataclasses import dataclass, field
from typing import Any, Final

from bench.speed.processes import Process
from bench.speed.wire import microseconds

_CONNECTIONS: Final = 16
_READ_BYTES: Final = 1 << 18
_CHUNKS_END: Final = b"\r\n0\r\n\r\n"
_SECONDS: Final = 10


@dataclass(slots=True)
class Requests:
    """What came of it. CPU in microseconds a request, times in microseconds."""

    done: int = 0
    errors: int = 0
    seconds: float = 0
    cpu: float = 0
    took: list[int] = field(default_factory=list[int])
    complaint: str = ""

    @property
    def a_second(self) -> float:
        return self.done / self.seconds


class _Asking:
    __slots__ = ("asked", "data", "sock")

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.asked = 0

    def ask(self, request: bytes) -> None:
        self.data = b""
        self.asked = microseconds()
        self.sock.sendall(request)


def requests(port: int, request: bytes, process: Process, *, seconds: float) -> Requests:
    """For so long the same is asked over and over, by 16 connections."""
    made = Requests()
    asking = [_Asking(port) for _ in range(_CONNECTIONS)]
    by_descriptor = {each.sock.fileno(): each for each in asking}
    with select.epoll() as epoll:
        for each in asking:
            epoll.register(each.sock, select.EPOLLIN)
            each.ask(request)
        before, began = process.cpu_microseconds(), time.monotonic()
        while time.monotonic() - began < seconds and by_descriptor:
            for descriptor, _ in epoll.poll(0.1):
                each = by_descriptor[descriptor]
                data = each.sock.recv(_READ_BYTES)
                each.data += data
                if not data:
                    made.errors += 1
                    epoll.unregister(each.sock)
                    del by_descriptor[descriptor]
                elif complete(each.data):
                    _count(made, each)
                    each.ask(request)
        made.seconds = time.monotonic() - began
        made.cpu = (process.cpu_microseconds() - before) / max(1, made.done)
    for each in asking:
        each.sock.close()
    return made


def _count(made: Requests, asking: _Asking) -> None:
    if asking.data.startswith(b"HTTP/1.1 20"):
        made.done += 1
        made.took.append(microseconds() - asking.asked)
    else:
        made.errors += 1
        made.complaint = made.complaint or asking.data[:500].decode(errors="replace")


def complete(response: bytes) -> bool:
    head, blank, body = response.partition(b"\r\n\r\n")
    if not blank:
        return False
    head = head.lower()
    if b"transfer-encoding: chunked" in head:
        return body.endswith(_CHUNKS_END)
    return len(body) >= int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])


def once(port: int, request: bytes) -> Any:
    """One request's JSON."""
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as sock:
        sock.sendall(request)
        response = b""
        while not complete(response):
            data = sock.recv(_READ_BYTES)
            assert data, response
            response += data
    assert response.startswith(b"HTTP/1.1 20"), response
    return json.loads(response.partition(b"\r\n\r\n")[2])
