"""Connections of boto3's that can be ended from outside.

boto3 blocks in the system's own calls and shows its connections nowhere; closing a response from
another thread leaves the reader where it waits.
"""

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from botocore import awsrequest


class Line:
    """What one thread asks a question through. `end` may be called from any thread."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._socket: socket.socket | None = None
        self._ended = False

    def end(self) -> None:
        """Ends the wait that its thread is in, and each that it might begin."""
        with self._changing:
            self._ended = True
            if self._socket is not None:
                with suppress(OSError):  # the other side may have ended it
                    # Not TLS' own method: it takes from the reader what it is reading with.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def take(self, connected: socket.socket) -> None:
        """From now on this is to be ended. Raises ConnectionError if nobody waits any more."""
        with self._changing:
            if self._ended:
                raise ConnectionAbortedError("nobody waits for the answer any more")
            self._socket = connected

    def give_back(self) -> None:
        """The connection may be another's next."""
        with self._changing:
            self._socket = None


_current: ContextVar[Line | None] = ContextVar("line", default=None)


@contextmanager
def through(line: Line) -> Generator[None]:
    """What this thread asks inside is asked through the line."""
    before = _current.set(line)
    try:
        yield
    finally:
        _current.reset(before)


def watch(client: Any) -> None:
    """Lets lines take the connections of a client. To be called before it is used."""
    # The only way there: a client takes no connection classes from outside.
    classes = client._endpoint.http_session._pool_classes_by_scheme  # noqa: SLF001
    classes |= {"http": _pool_class(awsrequest.AWSHTTPConnectionPool)}
    classes |= {"https": _pool_class(awsrequest.AWSHTTPSConnectionPool)}


def _pool_class(base: Any) -> type[Any]:
    # Any: botocore says nothing of its types.
    class Pool(base):
        ConnectionCls = _connection_class(base.ConnectionCls)

        def _put_conn(self, conn: Any) -> None:
            if conn is not None:
                conn.give_back()
            base._put_conn(self, conn)  # noqa: SLF001 - its own class'

    return Pool


def _connection_class(base: Any) -> type[Any]:
    class Connection(base):
        _line: Line | None = None

        def connect(self) -> None:
            base.connect(self)
            self._take()

        def request(self, *args: Any, **named: Any) -> None:
            if self.sock is not None:
                self._take()
            base.request(self, *args, **named)

        def _take(self) -> None:
            self._line = _current.get()
            if self._line is not None:
                self._line.take(self.sock)

        def give_back(self) -> None:
            if self._line is not None:
                self._line.give_back()
            self._line = None

    return Connection
