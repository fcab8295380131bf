"""How long a WebSocket may be silent, and how long nobody may have signed in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from provider import Answer
from sockets import Socket, closing, opened, text_of
from standing import Json, Standing, standing
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


@pytest.fixture(autouse=True)
async def nothing_is_left(stand: Standing) -> AsyncIterator[None]:
    yield
    await nothing_held(stand)


async def test_whoever_says_nothing_is_ended(stand: Standing) -> None:
    async with AsyncExitStack() as stack:
        sockets = await open_all(stack, stand, *[stand.user] * 3)
        sweep(stand.server, seconds_ahead=299)
        for socket in sockets:
            assert await let_in_or_not(socket) is None  # and that was a frame
        sweep(stand.server, seconds_ahead=299)
        for socket in sockets:
            assert await let_in_or_not(socket) is None
        sweep(stand.server, seconds_ahead=301)
        for socket in sockets:
            assert await closing(socket) == (4408, "silent for too long")


@pytest.mark.parametrize("path", PATHS)
async def test_during_an_answer_nobody_has_to_say_anything(stand: Standing, path: str) -> None:
    with stand.gate_closed():
        question = stand.prompt(Answer(["long", " answer"], gate_after=1))
        async with opened(stand.server, path, stand.user) as socket:
            frames = {
                "/ws": {"action": "send_message", "chat_id": 1, "content": question},
                "/ws/a-session": {"type": "message", "content": question},
                "/ws/chat/completions": {"question": question},
            }
            await socket.send(frames[path])
            shown = await until_shown(socket, "long")
            sweep(stand.server, seconds_ahead=100_000)
            stand.provider.release()
            assert text_of([*shown, *await socket.answer()]) == "long answer"
            # From its end on the time counts, though the client has said nothing since.
            await soon(lambda: stand.server.call(all_idle(stand)))
            sweep(stand.server, seconds_ahead=299)
            sweep(stand.server, seconds_ahead=301)
            assert await closing(socket) == (4408, "silent for too long")


async def until_shown(socket: Socket, text: str) -> list[Json]:
    frames: list[Json] = []
    while text_of(frames) != text:
        frames.append(await socket.next())
    return frames


async def test_who_does_not_sign_in_has_fifteen_seconds(stand: Standing) -> None:
    async with AsyncExitStack() as stack:
        silent, dripping = [
            await stack.enter_async_context(opened(stand.server, "/ws", None, way="nothing"))
            for _ in range(2)
        ]
        [there] = await open_all(stack, stand, stand.user)
        await soon(lambda: how_many_wait(stand) == 2)
        begun = asyncio.Event()
        dripped = asyncio.create_task(dripping.connection.send(drip(begun)))
        await begun.wait()
        await dripping.connection.ping()
        sweep(stand.server, seconds_ahead=14)
        assert silent.connection.close_code is None
        sweep(stand.server, seconds_ahead=16)
        for socket in (silent, dripping):
            assert await closing(socket) == (4401, "not authenticated in time")
        assert await let_in_or_not(there) is None
        dripped.cancel()
        await asyncio.wait([dripped])


async def drip(begun: asyncio.Event) -> AsyncIterator[str]:
    """The first piece of a frame that never ends."""
    yield '{"type": "auth",'
    begun.set()
    await asyncio.Event().wait()


async def test_the_sweep_comes_by_itself(migrated: Path, tmp_path: Path) -> None:
    with standing(migrated, tmp_path, websocket_auth_seconds=0.2, websocket_timeout=0.6) as hurried:
        async with (
            opened(hurried.server, "/ws", None, way="nothing") as nobody,
            opened(hurried.server, "/ws", hurried.user) as silent,
        ):
            assert (await closing(nobody))[0] == 4401
            assert (await closing(silent))[0] == 4408
