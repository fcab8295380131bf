"""The bounds of WebSockets: how many, how large, and how often."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from cuts import no_errors
from serving import Signed
from sockets import Socket, closing, opened, ticket
from standing import Standing
from waiting import soon
from ws.open_sockets import (
    PATHS,
    all_idle,
    how_many_wait,
    let_in_or_not,
    nothing_held,
    open_all,
    sweep,
)
from ws.raw import knocking, let_in, reset

MOST: Final = 6
MOST_OF_A_USER: Final = 3
A_SECOND: Final = 20
BYTES: Final = 64 * 1024
#: Of the server.
SETTINGS: Final = {
    "websocket_max_connections": MOST,
    "websocket_max_connections_per_user": MOST_OF_A_USER,
    "websocket_frames_per_second": A_SECOND,
    "disconnect_grace_seconds": 1,
}
TOO_MANY: Final = (4429, "too many connections")
TOO_MANY_OF_A_USER: Final = (4429, "too many connections of this user")


@pytest.fixture(scope="module")
def users(stand: Standing) -> list[Signed]:
    return [stand.user, *(stand.server.user(name) for name in ("bea", "carl"))]


@pytest.fixture(autouse=True)
async def nothing_is_left(stand: Standing) -> AsyncIterator[None]:
    yield
    await nothing_held(stand)


async def test_there_are_so_many_places_in_all(stand: Standing, users: list[Signed]) -> None:
    async with AsyncExitStack() as stack:
        first, *_ = await open_all(stack, stand, *(users * 2))
        for path in PATHS:
            async with opened(stand.server, path, users[0]) as socket:
                assert await let_in_or_not(socket) == TOO_MANY
        await first.close()
        await soon(lambda: len(stand.server.server.parts.sockets) == MOST - 1)
        async with opened(stand.server, "/ws", users[0]) as socket:
            assert await let_in_or_not(socket) is None


async def test_who_does_not_sign_in_takes_no_place_from_who_does(
    stand: Standing, users: list[Signed]
) -> None:
    async with AsyncExitStack() as stack:
        # One address has a quarter of the places of those who wait.
        waiting = [
            await stack.enter_async_context(opened(stand.server, "/ws", None, way="nothing"))
        ]
        await soon(lambda: how_many_wait(stand) == MOST // 4)
        await open_all(stack, stand, *(users * 2))
        async with opened(stand.server, "/ws", None, way="nothing") as socket:
            assert await closing(socket) == TOO_MANY
        # Who waits and then signs in gets no place either while there is none.
        await waiting[0].send({"type": "auth", "token": users[0].token})
        assert await closing(waiting[0]) == TOO_MANY


async def test_there_are_so_many_places_of_a_user(stand: Standing, users: list[Signed]) -> None:
    async with AsyncExitStack() as stack:
        own = await open_all(stack, stand, *[users[0]] * MOST_OF_A_USER)
        for path in PATHS:
            async with opened(stand.server, path, users[0]) as socket:
                assert await let_in_or_not(socket) == TOO_MANY_OF_A_USER
        await open_all(stack, stand, users[1])
        own[1].cut()
        connections = stand.server.server.parts.connections
        await soon(lambda: len(stand.server.call(connections.page(None, 10))) == MOST_OF_A_USER)
        async with opened(stand.server, "/ws", users[0]) as socket:
            assert await let_in_or_not(socket) is None


async def test_of_those_that_race_for_the_places_as_many_get_one(
    stand: Standing, users: list[Signed]
) -> None:
    for _ in range(3):
        async with AsyncExitStack() as stack:
            sockets = await asyncio.gather(
                *(
                    stack.enter_async_context(opened(stand.server, PATHS[n % 3], users[0]))
                    for n in range(12)
                )
            )
            outcomes = await asyncio.gather(*map(let_in_or_not, sockets))
            assert outcomes.count(None) == MOST_OF_A_USER
            assert {each for each in outcomes if each} <= {TOO_MANY, TOO_MANY_OF_A_USER}
        await nothing_held(stand)


async def by_the_client(stand: Standing, socket: Socket) -> None:
    del stand
    await socket.close()


async def by_the_network(stand: Standing, socket: Socket) -> None:
    del stand
    socket.cut()


async def by_a_flood(stand: Standing, socket: Socket) -> None:
    del stand
    with suppress(ConnectionClosed):
        for _ in range(3 * A_SECOND):
            await socket.send({"type": "ping"})
    assert await closing(socket) == (1008, f"at most {A_SECOND} frames a second")


async def by_a_frame_too_large(stand: Standing, socket: Socket) -> None:
    del stand
    await socket.send("a" * (BYTES + 1))
    assert (await closing(socket))[0] == 1009


async def by_silence(stand: Standing, socket: Socket) -> None:
    await soon(lambda: stand.server.call(all_idle(stand)))
    sweep(stand.server, seconds_ahead=301)
    assert await closing(socket) == (4408, "silent for too long")


async def by_broken_frames(stand: Standing, socket: Socket) -> None:
    """A fault of the protocol's, after frames that are none to us."""
    del stand
    for frame in ("{", b"\0", "null"):
        await socket.send(frame)
    socket.connection.transport.write(b"\xff\xff\xff")
    assert (await closing(socket))[0] == 1002


ENDS: Final[tuple[Callable[[Standing, Socket], Awaitable[None]], ...]] = (
    by_the_client,
    by_the_network,
    by_a_flood,
    by_a_frame_too_large,
    by_silence,
    by_broken_frames,
)


@pytest.mark.parametrize("end", ENDS)
async def test_a_place_is_given_back_however_its_socket_ends(
    stand: Standing,
    users: list[Signed],
    caplog: pytest.LogCaptureFixture,
    end: Callable[[Standing, Socket], Awaitable[None]],
) -> None:
    with no_errors(caplog):
        for path in PATHS:
            async with AsyncExitStack() as stack:
                for socket in await open_all(stack, stand, *[users[0]] * MOST_OF_A_USER):
                    await end(stand, socket)
                    if end is by_silence:
                        break  # they were all silent
            await nothing_held(stand)
            async with opened(stand.server, path, users[0]) as socket:
                assert await let_in_or_not(socket) is None
            await nothing_held(stand)


async def test_a_place_is_given_back_by_those_that_never_got_far(
    stand: Standing, users: list[Signed], caplog: pytest.LogCaptureFixture
) -> None:
    server, token = stand.server, users[0].token
    with no_errors(caplog):
        for _ in range(MOST + 1):
            async with opened(server, "/ws", None, way="nothing") as socket:
                await socket.send("nobody")
                assert (await closing(socket))[0] == 4401
            async with opened(server, "/ws/users/nobody", users[0]) as socket:
                assert (await closing(socket))[0] == 4404
            async with opened(server, "/ws", users[0], origin=Origin("http://evil")) as socket:
                assert (await closing(socket))[0] == 4403
            async with opened(server, "/ws", None, way="nothing") as socket:
                socket.cut()
            # Gone before its handshake is answered, or while the server looks who it is.
            for path in (*PATHS, f"/ws?ticket={await ticket(server, token)}"):
                with knocking(server, path, token) as connection:
                    reset(connection)
            with knocking(server, "/ws/a-session", token) as connection:
                reset(let_in(connection))
        await nothing_held(stand)


def ping_of(size: int, *, wide: bool = False) -> str:
    """A frame of exactly so many bytes, of fewer characters if it is wide."""
    bare = json.dumps({"type": "ping", "more": ""})
    room = size - len(bare)
    filler = "é" * (room // 2) + "a" * (room % 2) if wide else "a" * room
    frame = json.dumps({"type": "ping", "more": filler}, ensure_ascii=False)
    assert len(frame.encode()) == size
    return frame


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("wide", [False, True])
async def test_a_frame_may_be_as_large_as_the_bound(
    stand: Standing, path: str, *, wide: bool
) -> None:
    async with opened(stand.server, path, stand.user) as socket:
        await socket.send(ping_of(BYTES, wide=wide))
        assert (await socket.until("pong"))[-1] == {"type": "pong"}
        await socket.send(ping_of(BYTES + 1, wide=wide))
        assert (await closing(socket))[0] == 1009


async def test_in_pieces_it_may_not_be_larger(stand: Standing) -> None:
    async with opened(stand.server, "/ws", stand.user) as socket:
        frame = ping_of(BYTES)
        await socket.connection.send(frame[n : n + 1000] for n in range(0, BYTES, 1000))
        assert await socket.until("pong")
        with suppress(ConnectionClosed):  # it may be told before it has sent everything
            await socket.connection.send("a" * 1000 for _ in range(1000))
        assert (await closing(socket))[0] == 1009


async def test_before_signing_in_the_bound_is_the_same(stand: Standing) -> None:
    async with opened(stand.server, "/ws", None, way="nothing") as socket:
        await socket.send("a" * (BYTES + 1))
        assert (await closing(socket))[0] == 1009
    async with opened(stand.server, "/ws", None, way="nothing") as socket:
        await socket.send({"type": "auth", "token": stand.user.token, "more": "a" * 60_000})
        assert await let_in_or_not(socket) is None


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "frame",
    [{"type": "ping"}, {"type": "typing", "active": True}, {"more": 1}, "", b"x", "[" * 100],
    ids=str,
)
async def test_frames_of_all_kinds_are_counted(stand: Standing, path: str, frame: Any) -> None:
    async with opened(stand.server, path, stand.user) as socket:
        for _ in range(A_SECOND - 1):
            await socket.send(frame)
        assert await socket.told() is not None  # a second's frames do no harm
        with suppress(ConnectionClosed):
            # More than two seconds may hold, wherever the first of them began.
            for _ in range(2 * A_SECOND + 1):
                await socket.send(frame)
        assert await closing(socket) == (1008, f"at most {A_SECOND} frames a second")


async def test_a_flood_ends_no_other_socket(stand: Standing, users: list[Signed]) -> None:
    async with AsyncExitStack() as stack:
        flooding, own, others = await open_all(stack, stand, users[0], users[0], users[1])
        await by_a_flood(stand, flooding)
        assert await let_in_or_not(own) is None
        assert await let_in_or_not(others) is None
