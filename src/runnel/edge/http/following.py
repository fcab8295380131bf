"""What every way of following an answer over HTTP shares."""

import asyncio
from contextlib import ExitStack

from starlette.requests import Request
from starlette.types import Receive

from runnel.accounts.entities import Identity
from runnel.chat.following import Follower
from runnel.edge.parts import parts_of
from runnel.telemetry.metrics import Connection


def held(
    request: Request,
    caller: Identity,
    follower: Follower,
    *,
    linger: float = 0.0,
    kind: Connection = "stream",
) -> ExitStack:
    """Detaches at its end; until then the reading ends as soon as the client has gone, or as the
    caller may not read.

    The request's body must have been read, or be of no interest.
    """
    parts = parts_of(request)
    stack = ExitStack()
    stack.enter_context(parts.metrics.connected(kind))
    stack.callback(follower.leave, linger_seconds=linger)
    stack.enter_context(parts.watch.holding(caller, follower.close))
    # Not the request: it would keep its body for as long.
    leaving = asyncio.create_task(_leave_with_client(request.receive, follower, linger))
    stack.callback(leaving.cancel)
    return stack


async def _leave_with_client(receive: Receive, follower: Follower, linger: float) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    follower.leave(linger_seconds=linger)
