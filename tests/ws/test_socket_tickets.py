"""Tickets for a WebSocket: one socket each, for thirty seconds, and nothing else."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.exceptions import ConnectionClosed

from provider import Answer
from runnel.accounts.tokens import refused
from serving import LiveServer
from sockets import closing, opened, ticket
from standing import Standing, standing
from wire import bearer, problem, refused_field

REFUSED: Final = (4401, refused().message)
PATHS: Final = ("/ws", "/ws/a-session", "/ws/chat/completions")


async def code_of(server: LiveServer, in_query: str, path: str = "/ws") -> int | None:
    """With which code the socket is refused that such a ticket opens; None if it is let in."""
    url = f"{path}?ticket={in_query}"
    async with opened(server, url, None, way="nothing") as socket:
        try:
            await socket.told()
        except ConnectionClosed:
            assert await closing(socket) == REFUSED
            return 4401
    return None


@pytest.mark.parametrize("path", PATHS)
async def test_it_opens_one_socket_wherever(stand: Standing, path: str) -> None:
    one = await ticket(stand.server, stand.user.token)
    assert await code_of(stand.server, one, path) is None
    for again in PATHS:
        assert await code_of(stand.server, one, again) == 4401


async def test_of_sockets_that_race_for_it_one_is_let_in(stand: Standing) -> None:
    one = await ticket(stand.server, stand.user.token)
    codes = await asyncio.gather(*(code_of(stand.server, one) for _ in range(10)))
    assert sorted(map(str, codes)) == ["4401"] * 9 + ["None"]


def later(seconds: float, clock: Callable[[], datetime]) -> Callable[[], datetime]:
    return lambda: clock() + timedelta(seconds=seconds)


async def test_it_is_good_for_thirty_seconds(
    stand: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = [await ticket(stand.server, stand.user.token) for _ in range(2)]
    tokens = stand.server.server.parts.tickets._tokens
    clock = tokens._clock
    # Whole seconds: it may have been made at the very end of one.
    monkeypatch.setattr(tokens, "_clock", later(27, clock))
    assert await code_of(stand.server, early) is None
    monkeypatch.setattr(tokens, "_clock", later(30, clock))
    assert await code_of(stand.server, late) == 4401


async def test_it_is_no_token_and_a_token_is_no_ticket(stand: Standing) -> None:
    one = await ticket(stand.server, stand.user.token)
    stand.provider.answer("test", lambda _: Answer())
    asked = stand.client.post("/chat", json={"message": "hi"}).json()
    stand.provider.answer("test", stand._answer)
    events = f"/api/generations/{asked['generation_id']}/events"
    async with stand.server.client() as nobody:
        problem(await nobody.get("/me", headers=bearer(one)), 401, "unauthorized")
        problem(await nobody.get(f"{events}?ticket={one}"), 401, "unauthorized")
    reading = {"generation_id": asked["generation_id"]}
    reads = stand.client.post("/api/tickets", json=reading).json()["ticket"]
    key = stand.client.post("/api/keys", json={"name": "k"}).json()["key"]
    for other in (reads, stand.user.token, key, "", "x", one + "A", one[:-1], f"%20{one}"):
        assert await code_of(stand.server, other) == 4401, other
    assert await code_of(stand.server, one) is None  # none of that has spent it


async def test_it_ends_with_the_login_that_asked_for_it(stand: Standing) -> None:
    who = stand.server.user("leaving")
    one, two = [await ticket(stand.server, who.token) for _ in range(2)]
    async with (
        opened(stand.server, f"/ws?ticket={one}", None, way="nothing") as socket,
        stand.server.client(who) as client,
    ):
        assert await socket.told() == []
        (await client.post("/logout")).raise_for_status()
        assert await closing(socket) == (4401, "the login does not hold any more")
    assert await code_of(stand.server, two) == 4401


async def test_one_of_an_api_key_ends_with_the_key(stand: Standing) -> None:
    key = stand.client.post("/api/keys", json={"name": "k"}).json()
    one, two = [await ticket(stand.server, key["key"]) for _ in range(2)]
    async with opened(stand.server, f"/ws?ticket={one}", None, way="nothing") as socket:
        assert await socket.told() == []
        stand.client.delete(f"/api/keys/{key['id']}").raise_for_status()
        assert (await closing(socket))[0] == 4401
    assert await code_of(stand.server, two) == 4401


async def test_what_is_answered_to_who_asks_for_one(stand: Standing) -> None:
    made = stand.client.post("/api/tickets", json={"websocket": True}).raise_for_status().json()
    assert set(made) == {"ticket", "expires_in"}
    assert made["expires_in"] == 30
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"websocket": False}, "websocket"),
        ({"websocket": "true"}, "websocket"),
        ({"websocket": True, "more": 1}, "more"),
    ]
    for body, field in wrong:
        assert refused_field(stand.client.post("/api/tickets", json=body), field)
    both = {"websocket": True, "generation_id": "a"}
    for body in ({}, {"websocket": None}, both):
        response = stand.client.post("/api/tickets", json=body)
        answer = problem(response, 422, "invalid_request", more={"errors"})
        assert "websocket" in answer["errors"][0]["message"]
    async with stand.server.client() as nobody:
        refusal = await nobody.post("/api/tickets", json={"websocket": True})
    problem(refusal, 401, "unauthorized")


async def test_a_guest_has_tickets_too(migrated: Path, tmp_path: Path) -> None:
    with standing(migrated, tmp_path, anonymous_access=True) as there:
        async with there.server.client() as guest:
            made = (await guest.post("/api/tickets", json={"websocket": True})).json()
        assert await code_of(there.server, made["ticket"]) is None
        assert await code_of(there.server, made["ticket"]) == 4401


async def test_many_open_as_many_sockets(stand: Standing) -> None:
    who = stand.server.user("busy")
    tickets = await asyncio.gather(*(ticket(stand.server, who.token) for _ in range(15)))
    async with AsyncExitStack() as stack:
        for one in tickets:
            path = f"/ws?ticket={one}"
            socket = await stack.enter_async_context(
                opened(stand.server, path, None, way="nothing")
            )
            assert await socket.told() == []


async def test_a_socket_of_a_ticket_is_its_users(stand: Standing) -> None:
    who = stand.server.user("owner")
    one = await ticket(stand.server, who.token)
    async with opened(stand.server, f"/ws/mine?ticket={one}", None, way="nothing") as socket:
        await socket.next()
        await socket.send({"type": "message", "content": stand.prompt(Answer())})
        generation_id = (await socket.until("stream_start"))[-1]["generation_id"]
        assert (await socket.answer())[-1]["type"] == "stream_end"
    async with stand.server.client(who) as client:
        shown = await client.get(f"/api/generations/{generation_id}")
    assert shown.json()["status"] == "completed"
    assert stand.client.get(f"/api/generations/{generation_id}").status_code == 404
