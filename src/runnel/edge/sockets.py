"""The open WebSockets of this instance: how many there may be, and when one is ended."""

import asyncio
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NoReturn, Protocol

#: How often the bounds in time are looked at, in seconds.
_SWEEP_SECONDS: Final = 0.5
#: How long the last frames of ended answers may take on their way, at the server's end.
_FLUSH_SECONDS: Final = 2.0


class CloseCode(IntEnum):
    """Why the server ends a socket (RFC 6455, section 7.4; from 4000 on, our own)."""

    FLOOD = 1008
    TOO_LARGE = 1009
    FAILED = 1011
    RESTARTING = 1012
    TRY_LATER = 1013
    INVALID = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN_ORIGIN = 4403
    UNKNOWN = 4404
    SILENT = 4408
    TOO_MANY = 4429


class OpenSocket(Protocol):
    """What the sweep sees of a socket. Times are of time.monotonic()."""

    @property
    def unauthorized_since(self) -> float | None:
        """When it was opened, as long as nobody has signed in."""
        ...

    @property
    def silent_since(self) -> float | None:
        """The last frame of the client's, or the end of the last answer; None during one."""
        ...

    @property
    def stalled_since(self) -> float | None:
        """Since when a frame waits for the client to take it."""
        ...

    def end(self, code: CloseCode, reason: str) -> None:
        """Closes it; once is enough."""
        ...

    def cut(self) -> None:
        """Leaves a client that takes nothing any more, not even a close."""
        ...


@dataclass(frozen=True, slots=True)
class SocketBounds:
    """How many sockets there may be here, and how long, in seconds, one may wait for what.

    `most` are signed in; as many more may wait for somebody to sign in.
    """

    most: int
    auth_seconds: float
    silent_seconds: float
    send_seconds: float


class Sockets:
    """All of them, and one loop that ends whatever is over its bounds."""

    def __init__(self, bounds: SocketBounds) -> None:
        self._bounds = bounds
        self._open: set[OpenSocket] = set()
        self._taken = 0
        self._waiting = Counter[str]()
        self._emptied = asyncio.Event()
        self._closing = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def closing(self) -> bool:
        """Whether the server is about to end, and sockets with it."""
        return self._closing

    @contextmanager
    def opened(self, socket: OpenSocket) -> Generator[None]:
        """Inside, the socket is held to its bounds."""
        self._open.add(socket)
        try:
            yield
        finally:
            self._open.discard(socket)
            if not self._open:
                self._emptied.set()

    @contextmanager
    def place(self) -> Generator[bool]:
        """Inside, one of the places is taken, if there is one: whether there was."""
        is_room = self._taken < self._bounds.most
        self._taken += is_room
        try:
            yield is_room
        finally:
            self._taken -= is_room

    @contextmanager
    def waiting_place(self, address: str) -> Generator[bool]:
        """The same for who is nobody yet, apart: else whoever has no token could take them all.

        One address has no more than a quarter of them.
        """
        most, waiting = self._bounds.most, self._waiting
        is_room = waiting.total() < most and waiting[address] < max(1, most // 4)
        waiting[address] += is_room
        try:
            yield is_room
        finally:
            waiting[address] -= is_room
            if not waiting[address]:
                del waiting[address]

    async def watch(self) -> NoReturn:
        """Looks again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self.sweep(time.monotonic())

    def sweep(self, now: float) -> None:
        for socket in tuple(self._open):
            if _over(socket.stalled_since, now, self._bounds.send_seconds):
                socket.cut()
            elif _over(socket.unauthorized_since, now, self._bounds.auth_seconds):
                socket.end(CloseCode.UNAUTHORIZED, "not authenticated in time")
            elif _over(socket.silent_since, now, self._bounds.silent_seconds):
                socket.end(CloseCode.SILENT, "silent for too long")

    def begin_closing(self) -> None:
        """Ends what carries no answer now; the others end with their answers."""
        self._closing = True
        for socket in tuple(self._open):
            if socket.silent_since is not None or socket.unauthorized_since is not None:
                restarting(socket)

    async def close(self) -> None:
        """Ends them all, once what was written for them had some time to leave."""
        until = time.monotonic() + _FLUSH_SECONDS
        while self._open and (left := until - time.monotonic()) > 0:
            self.begin_closing()
            self._emptied.clear()
            try:
                async with asyncio.timeout(min(left, _SWEEP_SECONDS)):
                    await self._emptied.wait()
            except TimeoutError:
                pass
        for socket in tuple(self._open):
            restarting(socket)


def restarting(socket: OpenSocket) -> None:
    socket.end(CloseCode.RESTARTING, "restarting, reconnect now")


def _over(since: float | None, now: float, seconds: float) -> bool:
    return since is not None and now - since > seconds
