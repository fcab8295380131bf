"""From which pages a browser may open a WebSocket: those of the same host, and those listed."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from starlette.requests import HTTPConnection
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from runnel.edge.ws.admission import origin_allowed
from serving import LiveServer
from sockets import Socket, closing
from standing import Standing, standing
from wire import bearer

FORBIDDEN: Final = (4403, "this origin may not connect")
LISTED: Final = "https://app.example"
#: Of the server.
SETTINGS: Final = {"cors_origins": (LISTED,)}


def allowed(origin: str | None, host: str | None, *listed: str) -> bool:
    headers = [
        (name, value.encode())
        for name, value in ((b"origin", origin), (b"host", host))
        if value is not None
    ]
    return origin_allowed(HTTPConnection({"type": "websocket", "headers": headers}), listed)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://chat.example", "chat.example"),
        ("http://chat.example", "chat.example:80"),
        ("http://chat.example:80", "chat.example"),
        ("https://chat.example", "chat.example"),  # behind a proxy that has taken the TLS off
        ("https://chat.example", "chat.example:443"),
        ("https://chat.example:443", "chat.example"),
        ("http://chat.example:8000", "chat.example:8000"),
        ("http://CHAT.example", "chat.EXAMPLE"),
        ("HTTP://chat.example", "chat.example"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://[::1]", "[::1]:80"),
        ("http://[2001:DB8::1]", "[2001:db8::1]"),
        (None, "chat.example"),
        (None, None),
    ],
)
def test_of_the_same_host_or_of_no_page(origin: str | None, host: str | None) -> None:
    assert allowed(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://other.example", "chat.example"),
        ("http://chat.example:8001", "chat.example:8000"),
        ("http://chat.example", "chat.example:8000"),
        ("http://chat.example:8000", "chat.example"),
        ("http://chat.example", "chat.example:443"),
        ("https://chat.example", "chat.example:80"),
        ("http://sub.chat.example", "chat.example"),
        ("http://chat.example.evil.example", "chat.example"),
        ("http://evil-chat.example", "chat.example"),
        ("http://chat.example.", "chat.example"),
        ("http://localhost:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "127.0.0.1:8000"),
        ("null", "chat.example"),
        ("null", "null"),
        ("", "chat.example"),
        ("", ""),
        ("chat.example", "chat.example"),
        ("file://", "chat.example"),
        ("file://", ""),
        ("http://", ""),
        ("http://", "chat.example"),
        ("http://chat.example", None),
        ("http://chat.example:port", "chat.example"),
        ("http://chat.example:99999", "chat.example:99999"),
        ("http://[::1", "[::1"),
        ("http://[chat.example]", "[chat.example]"),
        ("http://*", "chat.example"),
        ("chrome-extension://abcdef", "chat.example"),
    ],
)
def test_of_another_host_or_of_none(origin: str, host: str | None) -> None:
    assert not allowed(origin, host)


@pytest.mark.parametrize(
    ("origin", "allows"),
    [
        (LISTED, True),
        ("https://app.example:8443", False),
        ("http://app.example", False),
        ("https://other.example", False),
        ("null", False),
        ("http://chat.example", True),
    ],
)
def test_of_a_listed_host(origin: str, *, allows: bool) -> None:
    assert allowed(origin, "chat.example", LISTED) == allows


def test_a_star_lets_all_in() -> None:
    for origin in ("http://other.example", "null", "", "https://a.b:1"):
        assert allowed(origin, "chat.example", "*")


async def refused_with(
    server: LiveServer, host: str, origin: str | None, token: str, path: str = "/ws"
) -> tuple[int, str] | None:
    """Code and reason for a page of that origin at the server of that name; None: let in."""
    options: dict[str, Any] = {"origin": origin and Origin(origin), "proxy": None}
    url = httpx.URL(server.url)
    async with connect(
        f"ws://{host}{path}",
        host=url.host,
        port=url.port,
        additional_headers=bearer(token),
        **options,
    ) as connection:
        socket = Socket(connection)
        try:
            await socket.told()
        except ConnectionClosed:
            return await closing(socket)
    return None


@pytest.mark.parametrize(
    ("host", "origin", "code"),
    [
        ("chat.example", "http://chat.example", None),
        ("chat.example", "https://chat.example", None),
        ("chat.example", LISTED, None),
        ("chat.example", None, None),
        ("chat.example:8000", "http://chat.example:8000", None),
        ("[::1]:8000", "http://[::1]:8000", None),
        ("chat.example", "http://other.example", 4403),
        ("chat.example:8000", "http://chat.example", 4403),
        ("chat.example", "null", 4403),
    ],
)
async def test_what_a_browser_is_told(
    stand: Standing, host: str, origin: str | None, code: int | None
) -> None:
    for path in ("/ws", "/ws/chat/completions", "/ws/no/such/path"):
        told = await refused_with(stand.server, host, origin, stand.user.token, path)
        if path.endswith("path") and code is None:
            assert told is not None
            assert told[0] == 4404
        else:
            assert told == (code and FORBIDDEN)


async def test_the_origin_is_looked_at_before_anybody_signs_in(stand: Standing) -> None:
    """A page that may not connect learns of no token whether it holds."""
    for token in (stand.user.token, "wrong"):
        assert await refused_with(stand.server, "a.example", "http://b.example", token) == FORBIDDEN
    server = stand.server
    async with server.client(stand.user) as client:
        ticket = (await client.post("/api/tickets", json={"websocket": True})).json()["ticket"]
    path = f"/ws?ticket={ticket}"
    url = httpx.URL(server.url)
    for origin, code in (("http://b.example", 4403), ("http://a.example", None)):
        async with connect(
            f"ws://a.example{path}", host=url.host, port=url.port, origin=Origin(origin), proxy=None
        ) as connection:  # and spends no ticket
            socket = Socket(connection)
            if code is None:
                assert await socket.told() == []
            else:
                assert await closing(socket) == FORBIDDEN


@pytest.fixture(scope="module")
def rooted(
    migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Standing, Standing]]:
    """A server below a prefix, and one that believes what a proxy says of the client."""
    with ExitStack() as stack:
        folders = [tmp_path_factory.mktemp(name) for name in ("rooted", "forwarded")]
        yield (
            stack.enter_context(standing(migrated, folders[0], root_path="/runnel")),
            stack.enter_context(
                standing(migrated, folders[1], forwarded_allow_ips="127.0.0.1", cors_origins=("*",))
            ),
        )


@pytest.mark.parametrize("prefix", ["", "/runnel"])
async def test_behind_a_prefix_that_the_proxy_takes_off_or_leaves(
    rooted: tuple[Standing, Standing], prefix: str
) -> None:
    stand, _ = rooted
    server, token = stand.server, stand.user.token
    for path in ("/ws", "/ws/me", "/ws/users/me", "/ws/chat/completions", "/ws/named"):
        assert await refused_with(server, "a.example", None, token, f"{prefix}{path}") is None
    told = await refused_with(server, "a.example", None, token, f"{prefix}/ws/users/nobody")
    assert told is not None
    assert told[0] == 4404
    foreign = await refused_with(server, "a.example", "http://b.example", token, f"{prefix}/ws")
    assert foreign == FORBIDDEN


async def test_behind_a_proxy_the_register_names_the_client(
    rooted: tuple[Standing, Standing],
) -> None:
    _, stand = rooted
    url = httpx.URL(stand.server.url)
    headers = bearer(stand.user.token) | {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": "https",
    }
    async with connect(
        "ws://chat.example/ws",
        host=url.host,
        port=url.port,
        origin=Origin("https://chat.example"),
        additional_headers=headers,
        proxy=None,
    ) as connection:
        assert await Socket(connection).told() == []
        [connected] = stand.server.call(stand.server.server.parts.connections.page(None, 10))
        assert connected.address == "203.0.113.7"
