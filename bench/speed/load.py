"""The load generator: a closed loop of streams over raw sockets, in the bench's own process.

It counts the tokens' marks, whatever frames they come in, and how late each came.
"""

import heapq
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from bench.speed.wire import MARK, MARK_BYTES, microseconds

_READ_BYTES: Final = 1 << 18
_STATUS: Final = slice(9, 12)
_OK: Final = b"200"
#: The last frames, in which an end would stand.
_TAIL_BYTES: Final = 512
#: Marks below are indexes, not moments.
_MOMENTS: Final = 1_000_000
_LATE_MICROSECONDS: Final = 100_000
_TICK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Ask:
    """How one answer is asked for, and how its end is known."""

    port: int
    #: Made anew for each answer.
    request: Callable[[], bytes]
    status: bytes = _OK
    end: bytes = b"[DONE]"
    #: Sent once `after` was read: a socket's first frame behind its handshake. And what it hangs up with.
    then: bytes = b""
    after: bytes = b""
    farewell: bytes = b""
    #: The request by which the answer just begun is followed a second time; its head is given.
    follow: Callable[[bytes], bytes] | None = None


@dataclass(slots=True)
class Load:
    """What came of a load. Times are microseconds."""

    incomplete: int = 0
    errors: int = 0
    tokens: int = 0
    #: Of all tokens, those that a second reader got.
    followed: int = 0
    late: list[int] = field(default_factory=list[int])
    first: list[int] = field(default_factory=list[int])
    #: How many came so late that a reader would notice.
    over: int = 0
    seconds: float = 0
    complaint: str = ""

    @property
    def failed(self) -> int:
        return self.incomplete + self.errors


def percentile(values: list[int], part: float) -> float:
    """In the values' unit; 0 of nothing."""
    return float(sorted(values)[round(part * (len(values) - 1))]) if values else 0.0


class _Reader:
    """A connection, that reads one answer."""

    __slots__ = (
        "asked",
        "carry",
        "ended",
        "follows",
        "opened",
        "request",
        "sock",
        "status",
        "tokens",
    )

    def __init__(self, request: bytes, *, follows: bool) -> None:
        self.sock = socket.socket()
        self.request = request
        self.follows = follows
        self.asked = microseconds()
        self.opened = False
        self.status = b""
        self.carry = b""
        self.tokens = 0
        self.ended = False


class Generator:
    """Runs one load and is done with."""

    def __init__(self, ask: Ask, *, expected: int | None) -> None:
        """`expected`: how many tokens a whole answer has; None if they are ended early."""
        self.load = Load()
        self._ask = ask
        self._expected = expected
        self._epoll = select.epoll()
        self._readers: dict[int, _Reader] = {}

    def run(
        self,
        *,
        concurrency: int,
        answers: int,
        ramp_seconds: float,
        deadline_seconds: float,
        watch: Callable[[float], None] | None = None,
    ) -> Load:
        """Answers are asked for until there were so many. `watch` is told the time now and then."""
        began = microseconds()
        starts = [began + int(ramp_seconds * 1e6 * n / concurrency) for n in range(concurrency)]
        heapq.heapify(starts)
        left = answers
        while left or self._readers:
            now = microseconds()
            elapsed = (now - began) / 1e6
            if elapsed > deadline_seconds:
                break
            while left and starts and starts[0] <= now:
                heapq.heappop(starts)
                left -= 1
                self._open(_Reader(self._ask.request(), follows=False))
            if watch:
                watch(elapsed)
            ended = self._turn((starts[0] - now) / 1e6 if left and starts else _TICK_SECONDS)
            for _ in range(ended):
                heapq.heappush(starts, now)
        self.load.seconds = (microseconds() - began) / 1e6
        if self._readers:
            self.load.errors += len(self._readers)
            late = f"{len(self._readers)} had not ended after {deadline_seconds:.0f} s."
            self.load.complaint = self.load.complaint or late
        for reader in self._readers.values():
            reader.sock.close()
        self._epoll.close()
        return self.load

    def _open(self, reader: _Reader) -> None:
        reader.sock.setblocking(False)
        reader.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BlockingIOError):
            reader.sock.connect(("127.0.0.1", self._ask.port))
        self._readers[reader.sock.fileno()] = reader
        self._epoll.register(reader.sock, select.EPOLLIN | select.EPOLLOUT)

    def _turn(self, seconds: float) -> int:
        """How many answers ended meanwhile."""
        wait = min(max(seconds, 0), _TICK_SECONDS)
        if wait:
            # epoll's own timeout is in whole milliseconds.
            select.select([self._epoll.fileno()], [], [], wait)
        ended = 0
        for descriptor, happened in self._epoll.poll(0):
            reader = self._readers[descriptor]
            try:
                if happened & select.EPOLLOUT:
                    reader.sock.send(reader.request)
                    self._epoll.modify(reader.sock, select.EPOLLIN)
                    continue
                data = reader.sock.recv(_READ_BYTES)
            except OSError as error:
                self.load.complaint = self.load.complaint or str(error)
                ended += self._close(reader, error=True)
                continue
            if data:
                self._read(reader, data)
            if reader.ended and self._ask.farewell:
                reader.sock.send(self._ask.farewell)
                data = b""
            if not data:
                ended += self._close(reader, error=False)
        return ended

    def _read(self, reader: _Reader, data: bytes) -> None:
        now = microseconds()
        load = self.load
        if not reader.status:
            self._read_head(reader, data)
        data = reader.carry + data
        numbers = MARK.findall(data)
        if numbers:
            if not reader.tokens and not reader.follows:
                load.first.append(now - reader.asked)
            reader.tokens += len(numbers)
            load.tokens += len(numbers)
            if reader.follows:
                load.followed += len(numbers)
            for each in numbers:
                due = int(each)
                if due > _MOMENTS:
                    late = now - due
                    load.late.append(late)
                    load.over += late > _LATE_MICROSECONDS
        if self._ask.then and not reader.opened and self._ask.after in data:
            reader.opened = True
            reader.asked = now
            reader.sock.send(self._ask.then)
        reader.ended = reader.ended or self._ask.end in data[-_TAIL_BYTES:]
        cut = data.rfind(b"~", -MARK_BYTES + 1)
        reader.carry = data[cut:] if cut >= 0 else data[-len(self._ask.end) :]

    def _read_head(self, reader: _Reader, data: bytes) -> None:
        reader.status = data[_STATUS]
        if reader.status != self._ask.status:
            self.load.complaint = self.load.complaint or data[:500].decode(errors="replace")
            return
        if self._ask.follow and not reader.follows:
            self._open(_Reader(self._ask.follow(data), follows=True))

    def _close(self, reader: _Reader, *, error: bool) -> int:
        """1 if a place in the loop is free again."""
        load = self.load
        del self._readers[reader.sock.fileno()]
        reader.sock.close()
        right = reader.tokens == self._expected if self._expected else reader.tokens > 0
        if error or (reader.status and reader.status != self._ask.status):
            load.errors += 1
        elif not reader.ended or not right:
            load.incomplete += 1
        return 0 if reader.follows else 1
