"""Who signed in may be nobody by the next frame: what ends a socket, and what it is told."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from typing import Any, Final

import pytest

from provider import Answer
from runnel.accounts.tokens import refused
from runnel.settings import Settings
from serving import Signed
from sockets import Socket, closing, opened, text_of, ticket
from standing import Json, Standing
from wire import NOBODYS_ID
from ws.open_sockets import look, nothing_held

#: The test itself lets the server look for who may not be there any more, so that it knows when.
SETTINGS: Final = {"revocation_check_seconds": 3600}
PATHS: Final = ("/ws", "/ws/a-session", "/ws/chat/completions")
REFUSED: Final = (4401, refused().message)
REVOKED: Final = (4401, "the login does not hold any more")
#: How long the contract lets a socket live on.
MOST_SECONDS: Final = 5
_numbers = count(1)


@pytest.fixture(autouse=True)
def nobody_tells_of_it(stand: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message that something was revoked is lost, as it may be: a look is what ends it."""
    monkeypatch.setattr(stand.server.server.parts.watch, "wake", lambda: None)


@pytest.fixture(autouse=True)
async def nothing_is_left(stand: Standing) -> AsyncIterator[None]:
    yield
    stand.provider.release()
    await nothing_held(stand)
    stand.provider.hold()


async def log_out(stand: Standing, who: Signed) -> None:
    async with stand.server.client(who) as client:
        (await client.post("/logout")).raise_for_status()


async def change_password(stand: Standing, who: Signed) -> None:
    body = {"current_password": who.password, "new_password": "another password of theirs"}
    async with stand.server.client(who) as client:
        (await client.post("/me/password", json=body)).raise_for_status()


async def disable(stand: Standing, who: Signed) -> None:
    stand.server.call(stand.server.server.administration.disable(who.username))


async def delete(stand: Standing, who: Signed) -> None:
    async with stand.server.client(who) as client:
        (await client.delete("/me")).raise_for_status()


async def revoke_key(stand: Standing, who: Signed) -> None:
    async with stand.server.client(who) as client:
        [key] = (await client.get("/api/keys")).json()["keys"]
        (await client.delete(f"/api/keys/{key['id']}")).raise_for_status()


End = Callable[[Standing, Signed], Awaitable[None]]
ENDS: Final[tuple[End, ...]] = (log_out, change_password, disable, delete, revoke_key)


async def somebody(stand: Standing, end: End) -> Signed:
    """A user whose credential that ends."""
    who = stand.server.user(f"somebody{next(_numbers)}")
    if end is not revoke_key:
        return who
    async with stand.server.client(who) as client:
        made = (await client.post("/api/keys", json={"name": "k"})).json()
    return Signed(who.username, who.password, made["key"])


def frames_of(path: str) -> list[Json]:
    """One of each kind that does something."""
    match path:
        case "/ws":
            return [
                {"action": "send_message", "chat_id": 1, "content": "hi"},
                {"action": "abort", "task_id": NOBODYS_ID},
            ]
        case "/ws/chat/completions":
            return [{"question": "hi"}, {"type": "abort"}]
        case _:
            return [
                {"type": "message", "content": "hi"},
                {"type": "abort"},
                {"type": "resume", "generation_id": NOBODYS_ID},
                {"type": "typing", "active": True},
                {"type": "no such"},
            ]


@pytest.mark.parametrize("end", ENDS)
async def test_a_frame_that_comes_afterwards_does_nothing(stand: Standing, end: End) -> None:
    asks = len(stand.provider.asks)
    who = await somebody(stand, end)
    async with AsyncExitStack() as stack:
        sockets: list[tuple[Socket, Json]] = []
        for path in PATHS:
            for frame in frames_of(path):
                socket = await stack.enter_async_context(opened(stand.server, path, who))
                sockets.append((socket, frame))
                await socket.told()
        await end(stand, who)
        for socket, frame in sockets:
            await socket.told()  # a ping asks for nothing, and so is answered
            await socket.send(frame)
            assert await closing(socket) == REFUSED
    assert len(stand.provider.asks) == asks
    assert stand.rows("SELECT * FROM messages WHERE content = 'hi'") == []


@pytest.mark.parametrize("end", ENDS)
async def test_a_socket_without_any_frame_ends_too(stand: Standing, end: End) -> None:
    who = await somebody(stand, end)
    made = await ticket(stand.server, who.token)
    with_ticket = f"/ws/chat/completions?ticket={made}"
    async with (
        opened(stand.server, "/ws", who) as first,
        opened(stand.server, "/ws/a-session", who) as second,
        opened(stand.server, with_ticket, None, way="nothing") as third,
        opened(stand.server, "/ws", stand.user) as other,
    ):
        for socket in (first, second, third, other):
            await socket.told()
        await end(stand, who)
        look(stand.server)
        for socket in (first, second, third):
            assert await closing(socket) == REVOKED
        assert await other.told() == []


def test_the_server_looks_often_enough() -> None:
    assert Settings().revocation_check_seconds < MOST_SECONDS - 1


@pytest.mark.parametrize("end", [log_out, revoke_key])
async def test_another_login_of_the_user_goes_on(stand: Standing, end: End) -> None:
    who = await somebody(stand, end)
    staying = Signed(
        who.username, who.password, await _another_login(stand, who.username, who.password)
    )
    async with (
        opened(stand.server, "/ws/a-session", who) as leaving,
        opened(stand.server, "/ws/a-session", staying) as there,
    ):
        await there.told()
        await leaving.told()
        await end(stand, who)
        look(stand.server)
        assert await closing(leaving) == REVOKED
        await there.send({"type": "message", "content": stand.prompt(Answer(["on"]))})
        assert text_of(await there.answer()) == "on"


async def _another_login(stand: Standing, username: str, password: str) -> str:
    async with stand.server.client() as client:
        body = {"username": username, "password": password}
        return (await client.post("/login", json=body)).json()["access_token"]


async def ask(stand: Standing, socket: Socket, path: str) -> list[Json]:
    """Asks, and reads the first half of the answer, which waits then."""
    asked = stand.prompt(Answer(["half", " and half"], gate_after=1))
    frames = {
        "/ws": {"action": "send_message", "chat_id": 1, "content": asked},
        "/ws/a-session": {"type": "message", "content": asked},
        "/ws/chat/completions": {"question": asked},
    }
    await socket.send(frames[path])
    told = [await socket.next()]
    while text_of(told) != "half":
        told.append(await socket.next())
    return told


def last_answer(stand: Standing) -> tuple[Any, ...]:
    [row] = stand.rows(
        "SELECT status, content, aborted_by FROM generations"
        " JOIN messages ON messages.id = message_id ORDER BY generations.id DESC LIMIT 1"
    )
    return row


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("end", [log_out, revoke_key])
async def test_the_end_of_a_login_ends_no_answer(stand: Standing, path: str, end: End) -> None:
    """As over HTTP: the server ends the reading, nobody has said that the answer is not wanted."""
    who = await somebody(stand, end)
    async with opened(stand.server, path, who) as socket:
        await ask(stand, socket, path)
        await end(stand, who)
        look(stand.server)
        assert await closing(socket) == REVOKED
    stand.provider.release()
    await nothing_held(stand)
    assert last_answer(stand) == ("completed", "half and half", None)


@pytest.mark.parametrize("path", PATHS)
async def test_who_is_disabled_has_their_answer_aborted(stand: Standing, path: str) -> None:
    who = await somebody(stand, disable)
    async with opened(stand.server, path, who) as socket:
        await ask(stand, socket, path)
        await disable(stand, who)
        look(stand.server)
        assert await closing(socket) == REVOKED
    await nothing_held(stand)
    assert last_answer(stand) == ("aborted", "half", "server")


@pytest.mark.parametrize("path", PATHS)
async def test_who_is_deleted_leaves_nothing_behind(stand: Standing, path: str) -> None:
    rows = stand.rows("SELECT count(*) FROM generations")
    who = await somebody(stand, delete)
    async with opened(stand.server, path, who) as socket:
        await ask(stand, socket, path)
        await delete(stand, who)
        look(stand.server)
        # What it was doing may end it before the server looks.
        assert (await closing(socket))[0] == 4401
    await nothing_held(stand)
    assert stand.rows("SELECT count(*) FROM generations") == rows


async def test_where_the_database_is_away_nobody_is_refused(stand: Standing) -> None:
    """Who is there is told of it and stays; who comes in may try later."""
    async with opened(stand.server, "/ws/a-session", stand.user) as socket:
        await socket.told()
        stand.rows("ALTER TABLE logins RENAME TO away")
        try:
            await socket.send({"type": "message", "content": "hi"})
            error = await socket.next()
            assert (error["type"], error["code"], error["retryable"]) == (
                "error",
                "store_unavailable",
                True,
            )
            for path in PATHS:
                async with opened(stand.server, path, stand.user) as refused_now:
                    code, reason = await closing(refused_now)
                    assert code == 1013
                    assert reason
        finally:
            stand.rows("ALTER TABLE away RENAME TO logins")
        await socket.send({"type": "message", "content": stand.prompt(Answer(["back"]))})
        assert text_of(await socket.answer()) == "back"
