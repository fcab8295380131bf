"""What an operator sees of WebSockets: the register, the metrics, the log, the bytes."""

import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from structlog.testing import capture_logs
from websockets.typing import Origin

from provider import Answer
from serving import Signed
from sockets import closing, opened
from standing import Json, Standing
from waiting import soon
from wire import problem, refused_field
from ws.open_sockets import nothing_held

PATH: Final = "/api/admin/connections"
MEMBERS: Final = {
    "connection_id",
    "user_id",
    "username",
    "channel",
    "session_id",
    "address",
    "user_agent",
    "connected_at",
}


@pytest.fixture(scope="module")
def admin(stand: Standing) -> Signed:
    return stand.server.user("root", role="admin")


@pytest.fixture(autouse=True)
async def nothing_is_left(stand: Standing) -> AsyncIterator[None]:
    yield
    stand.provider.release()
    await nothing_held(stand)
    stand.provider.hold()


async def get(stand: Standing, who: Signed | None, **query: Any) -> httpx.Response:
    async with stand.server.client(who) as client:
        return await client.get(PATH, params=query)


async def listed(stand: Standing, admin: Signed, **query: Any) -> tuple[list[Json], str | None]:
    """A page, and the cursor of the next."""
    body = (await get(stand, admin, **query)).raise_for_status().json()
    assert set(body) == {"connections", "next_cursor"}
    return body["connections"], body["next_cursor"]


async def test_each_connection_is_shown_as_what_it_is(stand: Standing, admin: Signed) -> None:
    assert await listed(stand, admin) == ([], None)
    agent = "a-reader/1.0 " + "x" * 1000
    async with (
        opened(stand.server, "/ws/chat/completions", stand.user, user_agent_header=agent) as first,
        opened(stand.server, "/ws/notes", stand.user, way="subprotocols") as second,
        opened(stand.server, "/ws", admin, way="frame", user_agent_header=None) as third,
    ):
        connected = await second.next()
        for socket in (first, second, third):
            await socket.told()
        shown, cursor = await listed(stand, admin)
    assert cursor is None
    shown = sorted(shown, key=lambda each: each["channel"])
    assert [set(each) for each in shown] == [MEMBERS] * 3
    assert [each["channel"] for each in shown] == ["completions", "session", "user"]
    assert [each["username"] for each in shown] == ["ana", "ana", "root"]
    assert [each["session_id"] for each in shown] == [None, connected["session_id"], None]
    assert shown[1]["connection_id"] == connected["connection_id"]
    assert {each["address"] for each in shown} == {"127.0.0.1"}
    assert shown[0]["user_agent"] == agent[:256]
    assert shown[2]["user_agent"] is None
    assert shown[0]["user_id"] == shown[1]["user_id"] != shown[2]["user_id"]
    for each in shown:
        assert each["connected_at"].endswith("Z")
        at = datetime.fromisoformat(each["connected_at"])
        assert timedelta(0) <= datetime.now(UTC) - at < timedelta(minutes=1)
    await nothing_held(stand)
    assert await listed(stand, admin) == ([], None)


async def test_one_that_has_not_signed_in_is_not_shown(stand: Standing, admin: Signed) -> None:
    async with opened(stand.server, "/ws", None, way="nothing") as socket:
        await soon(lambda: len(stand.server.server.parts.sockets) == 1)
        assert await listed(stand, admin) == ([], None)
        await socket.send({"type": "auth", "token": stand.user.token})
        await socket.told()
        [shown], _ = await listed(stand, admin)
        assert shown["username"] == "ana"


async def test_pages_show_each_once_the_longest_connected_first(
    stand: Standing, admin: Signed
) -> None:
    async with AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(opened(stand.server, f"/ws/page{n}", stand.user))
            for n in range(7)
        ]
        expected = [(await socket.next())["connection_id"] for socket in sockets]
        whole, cursor = await listed(stand, admin)
        assert cursor is None
        assert {each["connection_id"] for each in whole} == set(expected)
        assert [each["connected_at"] for each in whole] == sorted(
            each["connected_at"] for each in whole
        )
        seen: list[Json] = []
        first, cursor = await listed(stand, admin, limit=3)
        seen += first
        await sockets[0].close()
        await soon(lambda: len(stand.server.server.parts.sockets) == 6)
        while cursor is not None:
            page, cursor = await listed(stand, admin, limit=3, cursor=cursor)
            seen += page
        assert seen == whole  # one that leaves moves no other between the pages
        exactly, cursor = await listed(stand, admin, limit=6)
        assert (len(exactly), cursor) == (6, None)


async def test_it_is_for_admins(stand: Standing, admin: Signed) -> None:
    problem(await get(stand, None), 401, "unauthorized")
    problem(await get(stand, stand.user), 403, "forbidden")
    for query, field in (
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "x"}, "limit"),
    ):
        assert refused_field(await get(stand, admin, **query), field)
    for cursor in ("", "no id", "\u0000", "z" * 5000):
        assert await listed(stand, admin, cursor=cursor) == ([], None)


def open_now(page: str) -> float:
    [number] = re.findall(
        r'^runnel_active_connections\{kind="websocket"\} (\S+)$', page, re.MULTILINE
    )
    return float(number)


def closes(page: str) -> Counter[str]:
    found = re.findall(r'^runnel_websockets_closed_total\{by="(\w+)"\} (\S+)$', page, re.MULTILINE)
    return Counter({by: int(float(number)) for by, number in found})


async def test_metrics_count_the_open_and_how_they_were_closed(stand: Standing) -> None:
    def page() -> str:
        return stand.client.get("/metrics").text

    before = closes(page())
    async with (
        opened(stand.server, "/ws", stand.user) as first,
        opened(stand.server, "/ws", None, way="nothing") as second,
    ):
        await first.told()
        await soon(lambda: open_now(page()) == 2)
        await second.send("nobody")
        assert (await closing(second))[0] == 4401
        await soon(lambda: open_now(page()) == 1)
    async with opened(stand.server, "/ws/users/nobody", stand.user) as socket:
        assert (await closing(socket))[0] == 4404
    async with opened(stand.server, "/ws", stand.user, origin=Origin("http://evil")) as socket:
        assert (await closing(socket))[0] == 4403
    async with opened(stand.server, "/ws", stand.user) as socket:
        socket.cut()
    # What is ended below the application is the server's end all the same.
    async with opened(stand.server, "/ws", stand.user) as socket:
        await socket.send("x" * 70_000)
        assert (await closing(socket))[0] == 1009
    async with opened(stand.server, "/ws", stand.user) as socket:
        for _ in range(200):
            await socket.connection.ping()
        assert (await closing(socket))[0] == 1008
    expected = Counter({"client": 2, "4401": 1, "4404": 1, "4403": 1, "1009": 1, "1008": 1})
    await soon(lambda: closes(page()) - before == expected)
    assert open_now(page()) == 0


async def test_one_line_of_the_log_tells_of_each_socket(stand: Standing) -> None:
    secret = "a-secret-of-nobody"
    with capture_logs() as entries:
        async with opened(stand.server, f"/ws/notes?token={stand.user.token}", None, way="nothing"):
            pass
        async with opened(
            stand.server, f"/ws/users/nobody?ticket={secret}&x={secret}", None, way="nothing"
        ) as socket:
            assert (await closing(socket))[0] == 4401
        await nothing_held(stand)
        lines = [entry for entry in entries if entry["event"] == "socket"]
        assert sorted((line["path"], line["closed"]) for line in lines) == [
            ("/ws/notes", None),
            ("/ws/users/nobody", 4401),
        ]
        assert {frozenset(line) for line in lines} == {
            frozenset({"event", "log_level", "path", "closed", "address", "seconds"})
        }


async def test_a_request_id_stands_in_the_socket_s_lines(
    stand: Standing, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client's own, if it sends one that is fit; also in the lines of its answers."""
    headers = {"X-Request-Id": "a-socket-of-mine"}
    stand.provider.release()
    async with opened(
        stand.server, "/ws/chat/completions", stand.user, additional_headers=headers
    ) as socket:
        await socket.send({"question": stand.prompt(Answer())})
        await socket.answer()
    await nothing_held(stand)
    lines = [line for line in capsys.readouterr().out.splitlines() if "a-socket-of-mine" in line]
    assert [re.split(r"\s+", line)[4] for line in lines] == ["generation.ended", "socket"]


async def test_bytes_are_counted_for_the_user(stand: Standing, admin: Signed) -> None:
    async def sent() -> int:
        async with stand.server.client(admin) as client:
            users = (await client.get("/api/admin/stats")).json()["users"]
        return next((each["bytes_total"] for each in users if each["username"] == "eve"), 0)

    eve = stand.server.user("eve")
    stand.provider.release()
    wide = "w" * 50_000
    assert await sent() == 0
    async with opened(stand.server, "/ws/chat/completions", eve) as socket:
        await socket.send({"question": stand.prompt(Answer([wide]))})
        frames = await socket.answer()
        assert frames[-1]["full_text"] == wide
        # The text in its token, and in its end.
        assert 100_000 < await sent() < 101_000
