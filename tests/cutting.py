"""A network between a client and a server, that breaks when told to: a TCP proxy for HTTP/1.1.

It runs in a thread with an event loop of its own. All public methods are thread-safe.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from provider import Gauge

if TYPE_CHECKING:
    from collections.abc import Mapping

_READ_BYTES = 65_536
# A closed socket that lingers for no time resets its connection.
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the body of a request."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """Names in lower case."""


class Cutting:
    """The proxy. Use it as a context manager: it listens from enter to exit."""

    def __init__(self, url: str) -> None:
        """`url` is the server's; of its path nothing is used."""
        parts = urlsplit(url)
        self._target = parts.hostname, parts.port
        self.connections = Gauge("connections accepted so far")
        self.open_connections = Gauge("open connections")
        self.requests_received = Gauge("requests received, preflights aside")
        self.cuts = Gauge("connections cut so far")
        self._lock = threading.Lock()
        self._plans: deque[int | None] = deque()
        self._requests: list[Head] = []
        self._failures: list[BaseException] = []
        self._passing: dict[asyncio.Task[None], _Connection] = {}
        self._listening: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, name="cutting", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._port = self._listening.result(timeout=5.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout=5.0)
        assert not self._thread.is_alive(), "the cutting proxy did not stop"
        if self._failures:
            raise self._failures[0]

    @property
    def url(self) -> str:
        """What clients use in the place of the server's."""
        return f"http://127.0.0.1:{self._port}"

    def cut_after(self, *amounts: int | None) -> None:
        """Say what the next requests get, one each: so many bytes of the response, counted from
        its status line, and then a reset. None, and what comes later, is not cut.

        CORS preflights take no amount, nor do connections that a browser opens in advance.
        """
        with self._lock:
            self._plans = deque(amounts)

    def cut_now(self) -> int:
        """Reset all open connections; how many there were."""
        done: Future[int] = Future()
        self._loop.call_soon_threadsafe(self._cut_all, done)
        return done.result(timeout=5.0)

    @property
    def requests(self) -> list[Head]:
        """All that was received so far, in order, with preflights (`OPTIONS`)."""
        with self._lock:
            return list(self._requests)

    def asked(self, path: str, method: str = "GET") -> list[Head]:
        """The requests among them for this path, which is given without a query."""
        return [head for head in self.requests if (head.method, head.path) == (method, path)]

    def _run(self) -> None:
        # Not the loop of the process's policy: the server under test may have chosen uvloop.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._listen())

    async def _listen(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        except OSError as error:
            self._listening.set_exception(error)
            return
        self._listening.set_result(server.sockets[0].getsockname()[1])
        await self._stopping.wait()
        server.close()
        passing = list(self._passing)
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)
        await server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(1)
        self.open_connections.add(1)
        connection = _Connection(self, reader, writer)
        task = asyncio.create_task(connection.carry(self._target))
        self._passing[task] = connection
        task.add_done_callback(partial(self._ended, connection))
        if self._stopping.is_set():
            task.cancel()

    def _ended(self, connection: _Connection, task: asyncio.Task[None]) -> None:
        connection.drop()
        del self._passing[task]
        self.open_connections.add(-1)
        if connection.was_cut:
            self.cuts.add(1)
        if not task.cancelled() and (error := task.exception()):
            self._failures.append(error)

    def _cut_all(self, done: Future[int]) -> None:
        open_now = [connection for connection in self._passing.values() if connection.cut()]
        done.set_result(len(open_now))

    def plan_for(self, head: Head) -> int | None:
        """Called in the proxy's loop for each request: it is recorded, and takes its plan."""
        preflight = head.method == "OPTIONS"
        with self._lock:
            self._requests.append(head)
            plan = self._plans.popleft() if self._plans and not preflight else None
        if not preflight:
            self.requests_received.add(1)
        return plan


class _Connection:
    """A client's connection and the one to the server that carries it on."""

    def __init__(
        self, proxy: Cutting, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writers = [writer]
        self._left: int | None = None
        self.was_cut = False

    async def carry(self, target: tuple[str | None, int | None]) -> None:
        """Until one of the two sides closes, or it is cut."""
        with suppress(ConnectionError):
            answers, server = await asyncio.open_connection(*target)
            self._writers.append(server)
            for writer in self._writers:
                # What was drained has left, so that a reset takes nothing of it back.
                writer.transport.set_write_buffer_limits(high=0)
            ways = [self._pass_requests(server), self._pass_responses(answers)]
            tasks = [asyncio.create_task(way) for way in ways]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
            for error in ended:
                if isinstance(error, Exception):
                    raise error
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def drop(self) -> None:
        """Whatever is still open."""
        for writer in self._writers:
            writer.transport.abort()

    def cut(self) -> bool:
        """Resets both sides; False if it was cut before."""
        if self.was_cut:
            return False
        self.was_cut = True
        for writer in self._writers:
            connected: socket.socket = writer.get_extra_info("socket")
            with suppress(OSError):  # the other side was faster
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        return True

    async def _pass_requests(self, server: asyncio.StreamWriter) -> None:
        """From the client to the server, seeing where each request begins, up to a WebSocket's."""
        with suppress(asyncio.IncompleteReadError):
            while True:
                raw = await self._reader.readuntil(b"\r\n\r\n")
                head = _head(raw)
                assert "transfer-encoding" not in head.headers, "no client of the tests sends such"
                self._left = self._proxy.plan_for(head)
                length = int(head.headers.get("content-length", "0"))
                server.write(raw + await self._reader.readexactly(length))
                await server.drain()
                if head.headers.get("upgrade", "").lower() == "websocket":
                    break
            while data := await self._reader.read(_READ_BYTES):
                server.write(data)
                await server.drain()

    async def _pass_responses(self, answers: asyncio.StreamReader) -> None:
        client = self._writers[0]
        while data := await answers.read(_READ_BYTES):
            allowed = data[: self._left]
            client.write(allowed)
            await client.drain()
            if self._left is not None:
                self._left -= len(allowed)
                if self._left == 0:
                    self.cut()
                    return


def _head(raw: bytes) -> Head:
    first, *rest = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    pairs = (line.partition(":") for line in rest)
    return Head(method, path, query, {name.lower(): value.strip() for name, _, value in pairs})
