"""Every way to sign in to a WebSocket, and each way wrong."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from websockets.typing import Subprotocol

from provider import Answer
from runnel.accounts.tokens import refused
from serving import LiveServer, Signed
from sockets import WAYS, Way, closing, opened, text_of, ticket
from standing import Standing
from wire import claims_of, forged, now
from ws.open_sockets import assert_is

REFUSED: Final = (4401, refused().message)
#: Those that hold a credential as it is; a ticket is made from one.
HELD: Final[tuple[Way, ...]] = ("header", "subprotocols", "token", "frame")


def holding(credential: str) -> Signed:
    """Somebody with that credential, whatever it is."""
    return Signed("", "", credential)


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_signs_in(stand: Standing, way: Way) -> None:
    async with opened(stand.server, "/ws", stand.user, way=way) as socket:
        await assert_is(stand.server, socket, stand.user.username)
        chosen = socket.connection.subprotocol
        assert chosen == ("bearer" if way == "subprotocols" else None)


@pytest.mark.parametrize("way", WAYS)
async def test_an_api_key_is_good_wherever_a_token_is(stand: Standing, way: Way) -> None:
    made = stand.client.post("/api/keys", json={"name": way}).json()
    async with opened(stand.server, "/ws", holding(made["key"]), way=way) as socket:
        await assert_is(stand.server, socket, stand.user.username)


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_can_be_asked_for_at_once(stand: Standing, way: Way) -> None:
    """Nobody has to wait for anything between the handshake and the question."""
    question = stand.prompt(Answer(["Good", " day"]))
    async with opened(stand.server, "/ws/chat/completions", stand.user, way=way) as socket:
        await socket.send({"question": question})
        assert text_of(await socket.answer()) == "Good day"


class Wrong:
    """Credentials that hold for nobody, by what is wrong with them."""

    def __init__(self, stand: Standing) -> None:
        server = stand.server
        pair = stand.client.post(
            "/login", json={"username": stand.user.username, "password": stand.user.password}
        ).json()
        claims = claims_of(pair["access_token"])
        generation_id = stand.ask("/chat", Answer()).json()["generation_id"]
        tickets = [
            stand.client.post("/api/tickets", json=body).json()["ticket"]
            for body in ({"generation_id": generation_id}, {"websocket": True})
        ]
        self.by_name = {
            "no token": "x",
            "no key": f"rnl_{'a' * 43}",
            "the refresh token": pair["refresh_token"],
            "a ticket of a generation": tickets[0],
            "a ticket for a socket, as a token": tickets[1],
            "expired": forged(server, claims | {"exp": now() - 1}),
            "another server's": forged(server, claims, secret="of another server, long enough too"),
            "unsigned": pair["access_token"].rpartition(".")[0] + ".",
            "much too long": pair["access_token"] + "A" * 9000,
        }


@pytest.fixture(scope="module")
def wrong(stand: Standing) -> Wrong:
    return Wrong(stand)


@pytest.mark.parametrize(
    "name",
    [
        "no token",
        "no key",
        "the refresh token",
        "a ticket of a generation",
        "a ticket for a socket, as a token",
        "expired",
        "another server's",
        "unsigned",
        "much too long",
    ],
)
async def test_what_holds_for_nobody_is_refused_alike(
    stand: Standing, wrong: Wrong, name: str
) -> None:
    for way in HELD:
        somebody = holding(wrong.by_name[name])
        for path in ("/ws", "/ws/chat/completions", "/ws/a-session", "/ws/no/such/path"):
            async with opened(stand.server, path, somebody, way=way) as socket:
                assert await closing(socket) == REFUSED, (way, path)


async def log_out(server: LiveServer, who: Signed) -> None:
    async with server.client(who) as client:
        (await client.post("/logout")).raise_for_status()


async def disable(server: LiveServer, who: Signed) -> None:
    server.call(server.server.administration.disable(who.username))


async def delete(server: LiveServer, who: Signed) -> None:
    async with server.client(who) as client:
        (await client.delete("/me")).raise_for_status()


@pytest.mark.parametrize("end", [log_out, disable, delete])
async def test_whose_login_or_account_is_gone_is_refused(
    stand: Standing, end: Callable[[LiveServer, Signed], Awaitable[None]]
) -> None:
    who = stand.server.user(f"gone-by-{end.__name__}".replace("_", "-"))
    made = await ticket(stand.server, who.token)
    await end(stand.server, who)
    for way in HELD:
        async with opened(stand.server, "/ws", who, way=way) as socket:
            assert await closing(socket) == REFUSED, way
    async with opened(stand.server, f"/ws?ticket={made}", None, way="nothing") as socket:
        assert await closing(socket) == REFUSED


async def test_a_revoked_key_is_refused(stand: Standing) -> None:
    key = stand.client.post("/api/keys", json={"name": "short"}).json()
    stand.client.delete(f"/api/keys/{key['id']}").raise_for_status()
    for way in HELD:
        async with opened(stand.server, "/ws", holding(key["key"]), way=way) as socket:
            assert await closing(socket) == REFUSED, way


@pytest.mark.parametrize("scheme", ["Basic", "bearer:", "Token", ""])
async def test_another_scheme_than_bearer_is_a_proxys(stand: Standing, scheme: str) -> None:
    """It says nothing to us, and bars no other way."""
    headers = {"Authorization": f"{scheme} {stand.user.token}"}
    async with opened(
        stand.server, "/ws", None, way="nothing", additional_headers=headers
    ) as socket:
        await socket.send({"type": "ping"})
        assert (await closing(socket))[0] == 4401
    way = "subprotocols"
    async with opened(
        stand.server, "/ws", stand.user, way=way, additional_headers=headers
    ) as socket:
        assert await socket.told() == []


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["bearer"], "bearer"),
        (["TOKEN", "bearer"], "bearer"),
        (["bearer", "TOKEN", "more"], "bearer"),
        (["chat", "bearer", "TOKEN"], "bearer"),
        (["Bearer", "TOKEN"], None),
    ],
)
async def test_subprotocols_in_another_form_sign_nobody_in(
    stand: Standing, offered: list[str], chosen: str | None
) -> None:
    """The token itself is never chosen: it would come back in the clear."""
    subprotocols = [Subprotocol(each.replace("TOKEN", stand.user.token)) for each in offered]
    async with opened(
        stand.server, "/ws", None, way="nothing", subprotocols=subprotocols
    ) as socket:
        assert socket.connection.subprotocol == chosen
        if chosen is None:  # nothing is said by that, and so the first frame may say it
            await socket.send({"type": "auth", "token": "x"})
        assert await closing(socket) == REFUSED


@pytest.mark.parametrize(
    "first",
    [
        {"type": "ping"},
        {"type": "auth"},
        {"type": "auth", "token": 1},
        {"type": "auth", "token": None},
        {"type": "message", "content": "hi"},
        {"question": "hi"},
        {"action": "send_message", "chat_id": 1, "content": "hi"},
        "[]",
        "no JSON",
        "",
        b"{}",
        "[" * 1000,
    ],
    ids=str,
)
async def test_a_first_frame_that_signs_nobody_in_ends_it(stand: Standing, first: Any) -> None:
    asks = len(stand.provider.asks)
    for path in ("/ws", "/ws/a-session", "/ws/chat/completions"):
        async with opened(stand.server, path, None, way="nothing") as socket:
            await socket.send(first)
            code, reason = await closing(socket)
            assert code == 4401
            assert reason
    assert len(stand.provider.asks) == asks
