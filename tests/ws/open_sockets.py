# pyright: reportPrivateUsage=false
"""Sockets that are open together: how they come in, when they are swept, what they leave behind."""

import time
from contextlib import AsyncExitStack
from typing import Final

from websockets.exceptions import ConnectionClosed

from holdings import held
from serving import LiveServer, Signed
from sockets import Socket, closing, opened
from standing import Standing
from waiting import soon

#: One of each kind.
PATHS: Final = ("/ws", "/ws/a-session", "/ws/chat/completions")


async def let_in_or_not(socket: Socket) -> tuple[int, str] | None:
    """None: it is open. Else why it was closed."""
    try:
        assert [frame["type"] for frame in await socket.told()] in ([], ["connected"])
    except ConnectionClosed:
        return await closing(socket)
    return None


async def open_all(stack: AsyncExitStack, stand: Standing, *users: Signed) -> list[Socket]:
    """Sockets of all three kinds, one a user, that are all let in."""
    sockets = [
        await stack.enter_async_context(opened(stand.server, PATHS[n % 3], user))
        for n, user in enumerate(users)
    ]
    assert [await let_in_or_not(socket) for socket in sockets] == [None] * len(users)
    return sockets


async def all_idle(stand: Standing) -> bool:
    """Whether no connection is being told anything."""
    return all(
        socket.silent_since is not None for socket in stand.server.server.parts.sockets._open
    )


def sweep(server: LiveServer, *, seconds_ahead: float) -> None:
    """The sweep, as it will be then."""

    async def look() -> None:
        server.server.parts.sockets.sweep(time.monotonic() + seconds_ahead)

    server.call(look())


def look(server: LiveServer) -> None:
    """The server looks who may not be there any more."""
    server.call(server.server.parts.watch.look())


def left(stand: Standing) -> dict[str, int]:
    """What is held for sockets and their answers; nothing when nobody is connected."""
    now = held(stand)
    counted = stand.held() | {
        "sockets": now.sockets,
        "registered": now.registered,
        "channels": now.channels,
        "hearing": now.hearing,
        "followers": now.followers,
        "holdings": now.holdings,
        "audience": now.audience,
        "places": stand.server.server.parts.sockets._taken,
        "waiting": how_many_wait(stand),
    }
    return {name: number for name, number in counted.items() if number}


def how_many_wait(stand: Standing) -> int:
    """How many wait for somebody to sign in."""
    return stand.server.server.parts.sockets._waiting.total()


async def nothing_held(stand: Standing) -> None:
    """Waits until nothing is held any more; fails, telling what is, if that does not come."""
    try:
        await soon(lambda: not left(stand))
    except AssertionError:
        raise AssertionError(left(stand)) from None


def names(server: LiveServer) -> list[str]:
    """Who is connected, by the register."""
    page = server.call(server.server.parts.connections.page(None, 1000))
    return [each.username for each in page]


async def assert_is(server: LiveServer, socket: Socket, username: str) -> None:
    """The socket is open, that user's, and the only one once those before it have left."""
    assert await socket.told() == []
    await soon(lambda: names(server) == [username])
