"""Several credentials at once, none, and one that comes once more."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.typing import Subprotocol

from provider import Answer
from runnel.accounts.tokens import refused
from serving import Signed
from sockets import WAYS, closing, opened, text_of, ticket
from standing import Standing, standing
from waiting import soon
from wire import bearer
from ws.open_sockets import assert_is, names

REFUSED: Final = (4401, refused().message)


@pytest.fixture(autouse=True)
def answering(stand: Standing) -> None:
    stand.provider.release()


@pytest.fixture(scope="module")
def other(stand: Standing) -> Signed:
    return stand.server.user("other")


def credentials(
    stand: Standing, header: str, offered: str, in_url: str, tickets: str
) -> dict[str, Any]:
    """All at once; what is empty is left out."""
    query = "&".join(
        f"{name}={value}" for name, value in (("ticket", tickets), ("token", in_url)) if value
    )
    options: dict[str, Any] = {"path": f"/ws?{query}"}
    if header:
        options["additional_headers"] = bearer(header)
    if offered:
        options["subprotocols"] = [Subprotocol("bearer"), Subprotocol(offered)]
    return options | {"server": stand.server, "signed": None, "way": "nothing"}


@pytest.mark.parametrize("first", range(4))
async def test_the_first_of_several_counts_alone(
    stand: Standing, other: Signed, first: int
) -> None:
    """In the order of the contract: header, subprotocols, ticket, token."""
    ticket_of_other = await ticket(stand.server, other.token)
    good = [stand.user.token] * 2 + [await ticket(stand.server, stand.user.token), stand.user.token]
    after = [other.token] * 2 + [ticket_of_other, other.token]
    given = [""] * first + [good[first]] + after[first + 1 :]
    async with opened(**credentials(stand, given[0], given[1], given[3], given[2])) as socket:
        await assert_is(stand.server, socket, stand.user.username)
    given = [""] * first + ["wrong"] + after[first + 1 :]
    async with opened(**credentials(stand, given[0], given[1], given[3], given[2])) as socket:
        assert await closing(socket) == REFUSED
    if first < 2:  # a ticket that was not looked at is not spent
        async with opened(stand.server, f"/ws?ticket={ticket_of_other}", None) as socket:
            assert await closing(socket) == REFUSED  # an empty header comes first
        path = f"/ws?ticket={ticket_of_other}"
        async with opened(stand.server, path, None, way="nothing") as socket:
            await assert_is(stand.server, socket, other.username)


async def test_an_auth_frame_after_signing_in_changes_nothing(
    stand: Standing, other: Signed
) -> None:
    for way in WAYS:
        async with opened(stand.server, "/ws", stand.user, way=way) as socket:
            await socket.send({"type": "auth", "token": stand.user.token})
            await assert_is(stand.server, socket, stand.user.username)
            await socket.send({"type": "auth", "token": other.token})
            [error] = await socket.told()
            assert (error["type"], error["code"]) == ("error", "conflict")
            await assert_is(stand.server, socket, stand.user.username)
            await socket.send({"type": "auth", "token": "wrong"})
            [error] = await socket.told()
            assert (error["type"], error["code"]) == ("error", "unauthorized")
            await assert_is(stand.server, socket, stand.user.username)


async def test_expiry_alone_ends_no_socket(
    stand: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = stand.server.server.parts
    logins = parts.accounts._logins
    question = stand.prompt(Answer(["still", " here"]))
    async with opened(stand.server, "/ws/chat/completions", stand.user) as socket:
        assert await socket.told() == []
        clock = logins._tokens._clock
        monkeypatch.setattr(logins._tokens, "_clock", lambda: clock() + timedelta(hours=2))
        stand.server.call(parts.watch.look())
        await socket.send({"question": question})
        assert text_of(await socket.answer()) == "still here"
        async with opened(stand.server, "/ws", stand.user) as refused_by_now:
            assert await closing(refused_by_now) == REFUSED


async def test_where_guests_are_let_in_no_credentials_are_needed(
    migrated: Path, tmp_path: Path
) -> None:
    with standing(migrated, tmp_path, anonymous_access=True) as stand:
        async with opened(stand.server, "/ws", None, way="nothing") as socket:
            await assert_is(stand.server, socket, "guest")
            await socket.send({"type": "auth", "token": stand.user.token})
            [error] = await socket.told()
            assert error["code"] == "conflict"
        for way in WAYS:
            async with opened(stand.server, "/ws/me", stand.user, way=way) as socket:
                # With a frame it comes too late: who says nothing is the guest at once.
                if way == "frame":
                    assert (await socket.next())["code"] == "conflict"
                else:
                    await assert_is(stand.server, socket, stand.user.username)
        for way in ("header", "subprotocols", "token"):
            async with opened(stand.server, "/ws", Signed("", "", "wrong"), way=way) as socket:
                assert await closing(socket) == REFUSED


async def test_many_may_sign_in_at_once(stand: Standing, other: Signed) -> None:
    users = [stand.user, other] * 8
    async with AsyncExitStack() as stack:
        sockets = await asyncio.gather(
            *(
                stack.enter_async_context(opened(stand.server, "/ws", user, way=WAYS[n % 5]))
                for n, user in enumerate(users)
            )
        )
        for socket in sockets:
            assert await socket.told() == []
        await soon(lambda: sorted(names(stand.server)) == sorted(user.username for user in users))
