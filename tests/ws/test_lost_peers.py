"""Peers that are gone without a word, or take nothing: they are found, and cost nobody else anything."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from cuts import SEED, no_errors
from holdings import held, settled
from provider import Answer
from runnel.edge import socket_protocol
from serving import Signed
from sockets import Socket, closing, opened, text_of
from standing import Standing, locked, standing
from waiting import soon
from ws.open_sockets import nothing_held, sweep
from ws.raw import knocking, let_in, reset, say

#: What a peer that takes nothing is sent; it is more than the system keeps for it.
WIDE: Final = ["wide " * 6000] * 300
MIB: Final = 1024 * 1024
SETTINGS: Final = {
    "disconnect_grace_seconds": 1,
    "generation_max_bytes": 32 * MIB,
    "log_total_bytes": 64 * MIB,
    "websocket_max_connections": 1000,
    "websocket_max_connections_per_user": 1000,
}
PATHS: Final = ("/ws", "/ws/a-session", "/ws/chat/completions")


@pytest.fixture(autouse=True)
async def nothing_is_left(
    stand: Standing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[None]:
    # Peers that do not close have less time to.
    monkeypatch.setattr(socket_protocol, "LINGER_SECONDS", 0.1)
    with no_errors(caplog):
        yield
        await nothing_held(stand)


def question(path: str, text: str) -> dict[str, Any]:
    """A frame that asks at that path."""
    match path:
        case "/ws":
            return {"action": "send_message", "chat_id": 1, "content": text}
        case "/ws/chat/completions":
            return {"question": text}
        case _:
            return {"type": "message", "content": text}


@pytest.mark.parametrize("path", PATHS)
async def test_one_that_takes_nothing_is_left_and_nobody_else_notices(
    stand: Standing, path: str
) -> None:
    asked = stand.prompt(Answer(WIDE))
    parts = stand.server.server.parts
    async with AsyncExitStack() as stack:
        # Sees the same answer where several devices do.
        watching = await stack.enter_async_context(
            opened(stand.server, path, stand.user, max_size=None)
        )
        other = await stack.enter_async_context(opened(stand.server, "/ws/other", stand.user))
        connection = stack.enter_context(
            knocking(stand.server, path, stand.user.token, receive_bytes=4096)
        )
        let_in(connection)
        say(connection, **question(path, asked))
        await soon(lambda: [s for s in parts.sockets._open if s.stalled_since is not None])
        if path != "/ws/chat/completions":
            assert text_of(await watching.answer()) == "".join(WIDE)
        sweep(stand.server, seconds_ahead=20)
        assert len(parts.sockets) == 3
        # The system may have taken a bit more meanwhile, and then the time begins anew.
        await soon(lambda: sweep(stand.server, seconds_ahead=31) or len(parts.sockets) == 2)
        for socket in (watching, other):
            await socket.told()
        await other.send(question("/ws/other", stand.prompt(Answer(["there"]))))
        assert text_of(await other.answer()) == "there"
    await nothing_held(stand)
    # Whom the server leaves wants the answer still, for all it knows: as over HTTP.
    statuses = stand.rows("SELECT status FROM generations ORDER BY id DESC LIMIT 2")
    assert statuses == [("completed",)] * 2


async def test_one_that_answers_no_pings_is_found(migrated: Path, tmp_path: Path) -> None:
    hasty = {
        "websocket_ping_seconds": 0.1,
        "websocket_pong_seconds": 0.1,
        "disconnect_grace_seconds": 1,
    }
    with standing(migrated, tmp_path, **hasty) as there, ExitStack() as stack:
        question_of = {
            path: question(path, there.prompt(Answer(["a", "b"], gate_after=1))) for path in PATHS
        }
        async with opened(there.server, "/ws/stays", there.user) as answering:
            for path in PATHS:
                connection = stack.enter_context(knocking(there.server, path, there.user.token))
                say(let_in(connection), **question_of[path])
            # Nobody has signed in on this one, and nothing comes on it either.
            let_in(stack.enter_context(knocking(there.server, "/ws", None)))
            await asyncio.to_thread(there.provider.at_gate.wait_at_least, 3)
            # Each of them holds two pings by then, and has answered none.
            await soon(lambda: len(there.server.server.parts.sockets) == 1)
            assert (await answering.told())[0]["type"] == "connected"
            # What only one of them read is aborted; of the channels it is not.
            await soon(lambda: there.held()["producers"] == 2)
            there.provider.release()
        await nothing_held(there)
        statuses = there.rows("SELECT status FROM generations")
        assert sorted(statuses) == [("aborted",), ("completed",), ("completed",)]


async def test_one_is_not_lost_whose_pong_nobody_has_read(
    migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes behind a frame that takes long is not read before; a pong is no exception."""
    given_up = asyncio.Event()
    loop = asyncio.get_running_loop()
    keepalive_timeout = socket_protocol.SocketProtocol.keepalive_timeout

    def told(protocol: socket_protocol.SocketProtocol) -> None:
        keepalive_timeout(protocol)
        loop.call_soon_threadsafe(given_up.set)

    monkeypatch.setattr(socket_protocol.SocketProtocol, "keepalive_timeout", told)
    hasty = {"websocket_ping_seconds": 0.05, "websocket_pong_seconds": 1}
    with standing(migrated, tmp_path, **hasty) as there:
        there.provider.release()
        async with opened(there.server, "/ws/a-session", there.user) as socket:
            await socket.told()
            with locked(there):
                await socket.send(question("/ws/a-session", there.prompt(Answer(["slow"]))))
                for _ in range(3):
                    await socket.send({"type": "ping"})
                await given_up.wait()
            assert text_of(await socket.answer()) == "slow"


class Ends:
    """All the ways in which a socket may end, each from the handshake to the close."""

    def __init__(self, stand: Standing, who: Signed) -> None:
        self._stand = stand
        self._server = stand.server
        self._who = who

    @property
    def all(self) -> list[Callable[[str], Awaitable[None]]]:
        return [
            self.closed,
            self.cut,
            self.cut_in_mid_answer,
            self.closed_in_mid_answer,
            self.reset_at_the_handshake,
            self.reset_after_it,
            self.flooding,
            self.too_large,
            self.broken,
            self.nobody,
            self.nobody_who_leaves,
            self.unknown,
            self.of_a_foreign_page,
            self.logged_out,
        ]

    async def closed(self, path: str) -> None:
        async with opened(self._server, path, self._who) as socket:
            await socket.told()

    async def cut(self, path: str) -> None:
        async with opened(self._server, path, self._who) as socket:
            await socket.told()
            socket.cut()

    async def _in_mid_answer(self, socket: Socket, path: str) -> None:
        if path == "/ws/a-session":
            return  # one at a time there, and this may be the second
        asked = self._stand.prompt(Answer(["half", " and half"], gate_after=1))
        frame = question(path, asked)
        if path == "/ws":
            frame["chat_id"] = asked.replace(" ", "-")
        await socket.send(frame)
        frames = [await socket.next()]
        while "half" not in text_of(frames):
            assert frames[-1]["type"] != "error", frames
            frames.append(await socket.next())

    async def cut_in_mid_answer(self, path: str) -> None:
        async with opened(self._server, path, self._who) as socket:
            await self._in_mid_answer(socket, path)
            socket.cut()

    async def closed_in_mid_answer(self, path: str) -> None:
        async with opened(self._server, path, self._who) as socket:
            await self._in_mid_answer(socket, path)

    async def reset_at_the_handshake(self, path: str) -> None:
        with knocking(self._server, path, self._who.token) as connection:
            reset(connection)

    async def reset_after_it(self, path: str) -> None:
        with knocking(self._server, path, self._who.token) as connection:
            reset(let_in(connection))

    async def flooding(self, path: str) -> None:
        async with opened(self._server, path, self._who) as socket:
            with suppress(ConnectionClosed):
                for _ in range(301):
                    await socket.send({"type": "ping"})
            assert (await closing(socket))[0] == 1008

    async def too_large(self, path: str) -> None:
        async with opened(self._server, path, self._who) as socket:
            await socket.send("a" * 70_000)
            assert (await closing(socket))[0] == 1009

    async def broken(self, path: str) -> None:
        async with opened(self._server, path, self._who) as socket:
            socket.connection.transport.write(b"\xff\xff\xff")
            assert (await closing(socket))[0] == 1002

    async def nobody(self, path: str) -> None:
        async with opened(self._server, path, None, way="nothing") as socket:
            await socket.send("{}")
            assert (await closing(socket))[0] == 4401

    async def nobody_who_leaves(self, path: str) -> None:
        async with opened(self._server, path, None, way="nothing") as socket:
            socket.cut()

    async def unknown(self, path: str) -> None:
        async with opened(self._server, f"{path}/nowhere/x", self._who) as socket:
            assert (await closing(socket))[0] == 4404

    async def of_a_foreign_page(self, path: str) -> None:
        async with opened(
            self._server, path, self._who, origin=Origin("http://evil.example")
        ) as socket:
            assert (await closing(socket))[0] == 4403

    async def logged_out(self, path: str) -> None:
        body = {"username": self._who.username, "password": self._who.password}
        async with httpx.AsyncClient(base_url=self._server.url) as client:
            token = (await client.post("/login", json=body)).json()["access_token"]
            async with opened(self._server, path, Signed("", "", token)) as socket:
                await socket.told()
                headers = {"Authorization": f"Bearer {token}"}
                (await client.post("/logout", headers=headers)).raise_for_status()
                assert (await closing(socket))[0] == 4401


async def test_of_two_hundred_sockets_nothing_stays(stand: Standing) -> None:
    who = stand.server.user("two-hundred")
    ends = Ends(stand, who)
    chance = random.Random(SEED)
    begun = [(end, path) for end in ends.all for path in PATHS]

    async def run(number: int) -> None:
        plan = begun * -(-number // len(begun))
        chance.shuffle(plan)
        waiting = iter(plan[:number])

        async def one_after_another() -> None:
            for end, path in waiting:
                await end(path)

        await asyncio.gather(*(one_after_another() for _ in range(8)))
        stand.provider.release()
        await nothing_held(stand)
        stand.provider.hold()

    await run(len(begun))  # connections to the database and the provider stay, once they are there
    await soon(lambda: not stand.server.connections)
    before = held(stand)
    await run(200)
    # The provider's own connections may be more than before, where more answers ran at once.
    provider = stand.provider.open_connections.value
    allowed = replace(before, tasks=before.tasks + 2 * provider)
    after = await settled(stand, allowed, but_descriptors=True)
    assert after.descriptors <= before.descriptors + 2 * provider
