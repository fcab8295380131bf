"""A connection to Redis as the logs use it: commands go out as they are asked, and answers come back
in their order, each to whom it is for. No task and no timer is made for a call.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis
from redis.connection import DefaultParser
from redis.exceptions import ConnectionError as BrokenError
from redis.exceptions import InvalidResponse

#: Gets what Redis has answered, or the exception that stands for it. It must not raise.
Answered = Callable[[Any], None]

Argument = str | int | bytes
Command = tuple[Argument, ...]

# What the libraries say of their types is too little, or wrong.
_errors: Final[Any] = DefaultParser
_packed: Final[Callable[[Command], bytes]] = cast("Any", hiredis).pack_command


class Wire(asyncio.Protocol):
    """Takes over a transport on which nothing is on its way.

    What is not answered in its time breaks the connection, and so all that was asked behind it.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._replies = hiredis.Reader(
            protocolError=InvalidResponse, replyError=_errors.parse_error
        )
        self._asked: deque[tuple[float, Answered]] = deque()  # until when, and who waits for it
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self.up = not transport.is_closing()
        transport.set_protocol(self)

    def ask(self, command: Command, answered: Answered, seconds: float) -> None:
        """However it ends, `answered` is called: never before this returns."""
        until = self._loop.time() + seconds
        self._asked.append((until, answered))
        if self._watch is None or until < self._watch.when():
            self._look_after(until)
        try:
            self._transport.write(_packed(command))
        except RuntimeError as error:
            # What uvloop says of a connection that was reset while nobody read from it.
            self._loop.call_soon(self.lose, BrokenError(str(error)))

    def lose(self, error: Exception) -> None:
        """Whatever is asked has come to that."""
        self.up = False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._transport.abort()
        asked, self._asked = self._asked, deque()
        for _, answered in asked:
            answered(error)

    def data_received(self, data: bytes) -> None:
        self._replies.feed(data)
        try:
            while self._asked and (answer := self._replies.gets()) is not False:
                self._asked.popleft()[1](answer)
            surplus = not self._asked and self._replies.has_data()
        except InvalidResponse as error:
            self.lose(error)
            return
        if surplus:
            self.lose(InvalidResponse("Redis answers what nobody has asked"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lose(BrokenError(f"Redis closed the connection: {exc or 'at its end'}"))

    def _look_after(self, until: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._loop.call_at(until, self._enforce)

    def _enforce(self) -> None:
        """Called when the first may be overdue, and not once for each."""
        self._watch = None
        if not self._asked:
            return
        until = min(until for until, _ in self._asked)
        if until > self._loop.time():
            self._look_after(until)
        else:
            self.lose(TimeoutError("Redis does not answer"))
