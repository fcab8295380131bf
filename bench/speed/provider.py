"""The stand-in of a provider: one loop over raw sockets, so cheap that it is not what is measured.

A program: `python -m bench.speed.provider` prints its port. `GET /finish` ends what it says at
once, with a proper end. Each token is a write of its own, as providers send them.
"""

import gc
import select
import socket
import sys
from collections import deque
from contextlib import suppress
from functools import cache
from typing import Final

from bench.speed.wire import (
    BEGINNING,
    Question,
    confirmation,
    ending,
    microseconds,
    question_of,
    refusal,
    token,
    whole,
)

_BACKLOG: Final = 4096
_READ_BYTES: Final = 1 << 16

_indexed: Final = cache(token)
_ending: Final = cache(ending)
_whole: Final = cache(whole)


class _Connection:
    """A client, and the answer that it is being told."""

    __slots__ = ("asked", "began", "closing", "next", "question", "sock", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.asked = b""
        self.unsent = b""
        self.question: Question | None = None
        #: The next token's index, and the microsecond at which the first was due.
        self.next = 0
        self.began = 0
        self.closing = False


class Provider:
    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]
        self._epoll = select.epoll()
        self._epoll.register(self._listening, select.EPOLLIN)
        self._connections: dict[int, _Connection] = {}
        self._fast: deque[_Connection] = deque()
        # All answers of one rate come due in the order in which they came due before.
        self._paced: dict[int, deque[tuple[int, _Connection]]] = {}

    def serve(self) -> None:
        listening = self._listening.fileno()
        while True:
            for descriptor, happened in self._wait():
                if descriptor == listening:
                    self._accept()
                elif connection := self._connections.get(descriptor):
                    self._handle(connection, happened)
            self._say_what_is_due()
            self._say_as_fast_as_can_be()

    def _wait(self) -> list[tuple[int, int]]:
        if self._fast:
            return self._epoll.poll(0)
        dues = [queue[0][0] for queue in self._paced.values() if queue]
        if not dues:
            return self._epoll.poll()
        # epoll's own timeout is in whole milliseconds.
        seconds = (min(dues) - microseconds()) / 1e6
        if seconds > 0:
            select.select([self._epoll.fileno()], [], [], seconds)
        return self._epoll.poll(0)

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                sock, _ = self._listening.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections[sock.fileno()] = _Connection(sock)
                self._epoll.register(sock, select.EPOLLIN)

    def _handle(self, connection: _Connection, happened: int) -> None:
        try:
            if happened & (select.EPOLLERR | select.EPOLLHUP):
                return self._drop(connection)
            if happened & select.EPOLLOUT:
                self._flush(connection)
            if happened & select.EPOLLIN:
                data = connection.sock.recv(_READ_BYTES)
                if not data:
                    return self._drop(connection)
                connection.asked += data
                self._answer(connection)
        except OSError:
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        if self._connections.pop(connection.sock.fileno(), None):
            connection.question = None
            connection.sock.close()

    def _answer(self, connection: _Connection) -> None:
        """Begins to answer what was asked, if it is there in full."""
        head, blank, body = connection.asked.partition(b"\r\n\r\n")
        if not blank or connection.question is not None:
            return
        head = head.lower()
        length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        connection.asked = body[length:]
        connection.closing = b"\r\nconnection: close" in head
        if head.startswith(b"get /finish"):
            self._finish()
            self._send(connection, confirmation())
        else:
            self._reply(connection, body[:length])

    def _reply(self, connection: _Connection, body: bytes) -> None:
        try:
            question = question_of(body)
        except ValueError:
            self._send(connection, refusal())
            return
        if question.stream:
            self._begin(connection, question)
        else:
            self._send(connection, _whole(question.answer.tokens))

    def _begin(self, connection: _Connection, question: Question) -> None:
        connection.question = question
        connection.next = 0
        connection.began = microseconds()
        self._send(connection, BEGINNING)
        if rate := question.answer.rate:
            queue = self._paced.setdefault(rate, deque())
            # It is due at once: those that wait are due later, all but what is late already.
            queue.appendleft((connection.began, connection))
        else:
            self._fast.append(connection)

    def _say_what_is_due(self) -> None:
        for rate, queue in self._paced.items():
            now = microseconds()
            while queue and queue[0][0] <= now:
                due, connection = queue.popleft()
                question = connection.question
                if question is None:
                    continue
                self._try(connection, token(due))
                connection.next += 1
                if connection.next == question.answer.tokens:
                    self._end(connection, question)
                else:
                    due = connection.began + connection.next * 1_000_000 // rate
                    queue.append((due, connection))

    def _say_as_fast_as_can_be(self) -> None:
        for _ in range(len(self._fast)):
            connection = self._fast.popleft()
            question = connection.question
            if question is None:
                continue
            if not connection.unsent:
                self._try(connection, _indexed(connection.next))
                connection.next += 1
                if connection.next == question.answer.tokens:
                    self._end(connection, question)
                    continue
            self._fast.append(connection)

    def _end(self, connection: _Connection, question: Question) -> None:
        connection.question = None
        self._try(connection, _ending(connection.next, usage=question.usage))

    def _finish(self) -> None:
        self._fast.clear()
        self._paced.clear()
        for connection in list(self._connections.values()):
            if question := connection.question:
                self._end(connection, question)

    def _try(self, connection: _Connection, data: bytes) -> None:
        try:
            self._send(connection, data)
        except OSError:
            self._drop(connection)

    def _send(self, connection: _Connection, data: bytes) -> None:
        if connection.unsent:
            connection.unsent += data
            return
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            connection.unsent = data[sent:]
            self._epoll.modify(connection.sock, select.EPOLLIN | select.EPOLLOUT)
        elif connection.closing and connection.question is None:
            connection.sock.shutdown(socket.SHUT_WR)

    def _flush(self, connection: _Connection) -> None:
        data, connection.unsent = connection.unsent, b""
        self._epoll.modify(connection.sock, select.EPOLLIN)
        if data:
            self._send(connection, data)


def main() -> None:
    provider = Provider()
    sys.stdout.write(f"{provider.port}\n")
    sys.stdout.flush()
    gc.freeze()
    gc.disable()
    provider.serve()


if __name__ == "__main__":
    main()
