"""What every way of following an answer over HTTP shares."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager

from starlette.requests import Request

from runnel.accounts.entities import Identity
from runnel.chat.following import Follower
from runnel.edge.parts import Parts
from runnel.telemetry.metrics import Connection


def held(
    parts: Parts,
    caller: Identity,
    follower: Follower,
    *,
    linger: float = 0.0,
    kind: Connection = "stream",
) -> ExitStack:
    """Detaches at its end; until then the reading ends as soon as the caller may not read."""
    stack = ExitStack()
    stack.enter_context(parts.metrics.connected(kind))
    stack.callback(follower.leave, linger_seconds=linger)
    stack.enter_context(parts.watch.holding(caller, follower.close))
    return stack


@asynccontextmanager
async def leaving_with(
    request: Request, follower: Follower, *, linger: float = 0.0
) -> AsyncGenerator[None]:
    """Inside, the reading ends as soon as the client has gone."""

    async def leave_with_client() -> None:
        # The body was read, so nothing else can come.
        while (await request.receive())["type"] != "http.disconnect":
            pass
        follower.leave(linger_seconds=linger)

    leaving = asyncio.create_task(leave_with_client())
    try:
        yield
    finally:
        leaving.cancel()
