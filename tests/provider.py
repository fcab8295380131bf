"""A stand-in for a model provider: OpenAI's `/v1/chat/completions` over real HTTP/1.1.

It runs in a thread with an event loop of its own, so that it serves whatever loop or process asks
it. All public methods are thread-safe. Those that wait block the calling thread: from async code
call them as `await asyncio.to_thread(provider.wait_for_request)`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Self

from provider_script import (
    BEFORE_HEADERS,
    Answer,
    Request,
    Script,
    Voice,
    model_list,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["BEFORE_HEADERS", "Answer", "Gauge", "Provider", "Request", "Script"]

CHAT_PATH = "/v1/chat/completions"


class Gauge:
    """A number that one thread changes and another waits on."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._value = 0
        self._changed = threading.Condition()

    @property
    def value(self) -> int:
        return self._value

    def add(self, amount: int) -> None:
        with self._changed:
            self._value += amount
            self._changed.notify_all()

    def wait_at_least(self, value: int, timeout: float = 5.0) -> None:
        """Block until the number is `value` or more; TimeoutError after `timeout` seconds."""
        self._wait(lambda: self._value >= value, f"at least {value}", timeout)

    def wait_at_most(self, value: int, timeout: float = 5.0) -> None:
        """Block until the number is `value` or less; TimeoutError after `timeout` seconds."""
        self._wait(lambda: self._value <= value, f"at most {value}", timeout)

    def _wait(self, reached: Callable[[], bool], wanted: str, timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(reached, timeout):
                raise TimeoutError(f"{self._name}: {self._value}, not {wanted}, after {timeout} s")


class _HangUpError(Exception):
    """The script says to close the connection here."""


class Provider:
    """The stand-in. Use it as a context manager: it listens from enter to exit."""

    def __init__(self) -> None:
        self.client_left = Gauge("clients that left before their answer was whole")
        self.at_gate = Gauge("answers waiting at the gate")
        self.open_connections = Gauge("open connections")
        self._received = Gauge("requests received")
        self._requests: list[Request] = []
        self._scripts: dict[str, deque[Script]] = {}
        self._lock = threading.Lock()
        self._reserved: list[socket.socket] = []
        self._failures: list[BaseException] = []
        self._numbers = count(1)
        self._connections: set[asyncio.Task[None]] = set()
        self._listening: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, name="provider", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._port = self._listening.result(timeout=5.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout=5.0)
        for reserved in self._reserved:
            reserved.close()
        assert not self._thread.is_alive(), "the stand-in provider did not stop"
        if self._failures:
            # A bug in a script must fail its test, not look like a bad provider.
            raise self._failures[0]

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        return f"http://127.0.0.1:{self._port}/v1"

    def refused_url(self) -> str:
        """A base URL whose port refuses connections for as long as the provider lives."""
        # Bound and never listening: the port refuses, and nobody else can be given it.
        reserved = socket.socket()
        reserved.bind(("127.0.0.1", 0))
        self._reserved.append(reserved)
        return f"http://127.0.0.1:{reserved.getsockname()[1]}/v1"

    def answer(self, model: str, *answers: Script) -> None:
        """Say what the next requests for `model` get, one each; the last one repeats.

        A model nobody spoke of gets `Answer()`.
        """
        with self._lock:
            self._scripts[model] = deque(answers or (Answer(),))

    def release(self) -> None:
        """Open the gate: all that wait there go on, and later ones pass, until `hold`."""
        self._loop.call_soon_threadsafe(self._gate.set)

    def hold(self) -> None:
        """Close the gate again."""
        self._loop.call_soon_threadsafe(self._gate.clear)

    @property
    def requests(self) -> list[Request]:
        """All that was received so far, in order."""
        with self._lock:
            return list(self._requests)

    @property
    def asks(self) -> list[Request]:
        """The requests for chat completions among them."""
        return [request for request in self.requests if request.path == CHAT_PATH]

    def wait_for_request(self, timeout: float = 5.0, *, number: int = 1) -> Request:
        """Block until `number` chat completions were asked for, and return the last of these."""
        self._received.wait_at_least(number, timeout)
        return self.asks[number - 1]

    def _run(self) -> None:
        # Not the loop of the process's policy: the server under test may have chosen uvloop.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._listen())

    async def _listen(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._gate = asyncio.Event()
        try:
            server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        except OSError as error:
            self._listening.set_exception(error)
            return
        self._listening.set_result(server.sockets[0].getsockname()[1])
        await self._stopping.wait()
        server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_connections.add(1)
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(partial(self._ended, writer))
        if self._stopping.is_set():
            connection.cancel()

    def _ended(self, writer: asyncio.StreamWriter, connection: asyncio.Task[None]) -> None:
        # A connection that was cancelled, to stop, is not to wait for a client that reads no more.
        writer.transport.abort()
        self._connections.discard(connection)
        self.open_connections.add(-1)
        if not connection.cancelled() and (error := connection.exception()):
            self._failures.append(error)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, _HangUpError):
            await self._converse(reader, writer)
        # Not an abort: that resets, and a reset takes from the client what it has not yet read.
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        early = b""
        while request := await _read_request(reader, early):
            self._record(request)
            answering = asyncio.create_task(self._say(self._voice(request), writer))
            # A client has nothing to send while it waits: if this read ends, it left. (Or it got
            # the end of the answer and asked again before this task woke: the byte is kept.)
            leaving = asyncio.create_task(_first_byte(reader))
            try:
                await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
                gone = leaving.done() and leaving.result() == b""
                if gone and not answering.done():
                    self.client_left.add(1)
                    return
                await self._whole(answering)
                early = leaving.result() if leaving.done() else b""
            finally:
                answering.cancel()
                leaving.cancel()
                await asyncio.gather(answering, leaving, return_exceptions=True)
            if gone or request.headers.get("connection") == "close":
                return

    async def _whole(self, answering: asyncio.Task[None]) -> None:
        try:
            await answering
        except ConnectionError:
            self.client_left.add(1)
            raise

    def _record(self, request: Request) -> None:
        with self._lock:
            self._requests.append(request)
        if request.path == CHAT_PATH:
            self._received.add(1)

    def _voice(self, request: Request) -> Voice:
        if request.path == "/v1/models":
            with self._lock:
                return Voice(Answer((), body=model_list(self._scripts)), {})
        if request.path != CHAT_PATH:
            return Voice(Answer((), status=404, error_message="Unknown request URL"), {})
        ask = request.body
        with self._lock:
            scripts = self._scripts.get(ask["model"], deque([Answer()]))
            script = scripts.popleft() if len(scripts) > 1 else scripts[0]
        answer = script if isinstance(script, Answer) else script(ask)
        return Voice(answer, ask, next(self._numbers))

    async def _say(self, voice: Voice, writer: asyncio.StreamWriter) -> None:
        answer = voice.answer
        await self._reach(BEFORE_HEADERS, answer)
        await _write(writer, voice.beginning())
        for place, piece in enumerate(answer.pieces):
            if place:
                await asyncio.sleep(answer.delay)
            await self._reach(place, answer)
            await _write(writer, voice.piece(piece))
        await self._reach(len(answer.pieces), answer)
        await _write(writer, voice.ending())

    async def _reach(self, place: int, answer: Answer) -> None:
        """Do what the script says for this place."""
        if place == answer.gate_after:
            self.at_gate.add(1)
            try:
                await self._gate.wait()
            finally:
                self.at_gate.add(-1)
        if place == answer.stall_after:
            await asyncio.Event().wait()
        if place == answer.cut_after:
            raise _HangUpError


async def _write(writer: asyncio.StreamWriter, parts: Iterable[bytes]) -> None:
    for part in parts:
        writer.write(part)
        await writer.drain()


async def _first_byte(reader: asyncio.StreamReader) -> bytes:
    """The first byte of what the client sends next, empty if it closed the connection."""
    try:
        return await reader.read(1)
    except ConnectionError:
        return b""


async def _read_request(reader: asyncio.StreamReader, early: bytes) -> Request | None:
    """The next request, whose first bytes may have been read; None if the client left instead."""
    try:
        head = early + await reader.readuntil(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        pairs = (line.partition(":") for line in rest)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    method, target, _ = first.split(" ")
    path = target.partition("?")[0]
    return Request(method, path, headers, json.loads(body) if body else {})
