"""What every way of following an answer over HTTP shares."""

import asyncio
from collections.abc import Callable
from typing import Self

from starlette.requests import Request
from starlette.types import Receive

from runnel.accounts.entities import Identity
from runnel.chat.following import Follower
from runnel.edge.parts import parts_of
from runnel.telemetry.metrics import Connection


class Held:
    """Inside, an answer is followed over HTTP; the reading ends as soon as the client has gone, or
    as the caller may not read. At its end `at_end` is called, and the follower detaches.

    The request's body must have been read, or be of no interest.
    """

    __slots__ = (
        "_at_end",
        "_connected",
        "_follower",
        "_holding",
        "_leaving",
        "_linger",
        "_lives_on",
    )

    def __init__(
        self,
        request: Request,
        caller: Identity,
        follower: Follower,
        *,
        linger: float = 0.0,
        kind: Connection = "stream",
        at_end: Callable[[], None] | None = None,
    ) -> None:
        parts = parts_of(request)
        self._follower = follower
        self._linger = linger
        self._at_end = at_end
        self._lives_on = False
        self._connected = parts.metrics.connected(kind)
        self._holding = parts.watch.holding(caller, follower.close)
        # Not the request: it would keep its body for as long.
        leaving = _leave_with_client(request.receive, follower, linger)
        self._leaving = asyncio.create_task(leaving)
        self._connected.__enter__()
        self._holding.__enter__()

    def living_on(self) -> Self:
        """From now on it is closed by whoever is given it."""
        self._lives_on = True
        return self

    def close(self) -> None:
        if self._at_end is not None:
            self._at_end()
        self._leaving.cancel()
        self._holding.__exit__(None, None, None)
        self._follower.leave(linger_seconds=self._linger)
        self._connected.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._lives_on:
            self.close()


async def _leave_with_client(receive: Receive, follower: Follower, linger: float) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    follower.leave(linger_seconds=linger)
