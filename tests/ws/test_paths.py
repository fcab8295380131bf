"""Where the paths of WebSockets lead: to an own channel, to a session, or nowhere."""

from urllib.parse import quote

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from provider import Answer
from serving import Signed
from sockets import closing, opened
from standing import Standing
from wire import NOBODYS_ID, bearer


@pytest.fixture(scope="module")
def ids(stand: Standing) -> dict[str, str]:
    """Of users, by their names."""
    stand.server.user("bea")
    return dict(stand.rows("SELECT name, id FROM users"))


async def leads_to(stand: Standing, path: str, who: Signed | None = None) -> tuple[str, str | None]:
    """The kind of channel, or the code of the close; and the session, or the reason."""
    async with opened(stand.server, path, who or stand.user) as socket:
        try:
            frames = await socket.told()
        except ConnectionClosed:
            code, reason = await closing(socket)
            return str(code), reason
        page = stand.server.call(stand.server.server.parts.connections.page(None, 1000))
        here = page[-1]  # the newest
        if here.channel == "session":
            assert [frame["session_id"] for frame in frames] == [here.session_id]
            assert frames[0]["connection_id"] == here.id
        else:
            assert frames == []
        return here.channel, here.session_id


async def test_the_own_channel_by_all_its_names(stand: Standing, ids: dict[str, str]) -> None:
    own = ids["ana"]
    for name in ("", "/me", "/ana", "/ANA", "/Ana", f"/{own}", f"/{own.upper()}", "/%61na"):
        assert await leads_to(stand, f"/ws{name}") == ("user", None), name
    for name in ("me", "ana", "ANA", own, own.upper(), "a%6ea"):
        assert await leads_to(stand, f"/ws/users/{name}") == ("user", None), name


async def test_of_another_user_there_is_nothing(stand: Standing, ids: dict[str, str]) -> None:
    """Foreign is unknown: the same code, the same words."""
    told = {
        await leads_to(stand, f"/ws/users/{name}")
        for name in ("bea", ids["bea"], "nobody", NOBODYS_ID, "%C3%A9", "ME")
    }
    assert told == {("4404", "There is nothing here.")}
    unknown = {await leads_to(stand, f"/ws/{id_}") for id_ in (ids["bea"], NOBODYS_ID)}
    assert unknown == {("4404", "There is no such session.")}


async def test_another_users_name_is_a_free_name(stand: Standing, ids: dict[str, str]) -> None:
    kind, session_id = await leads_to(stand, "/ws/bea")
    assert kind == "session"
    assert stand.rows(f"SELECT user_id, name FROM sessions WHERE id = '{session_id}'") == [  # noqa: S608 - an id of ours
        (ids["ana"], "bea")
    ]


async def test_a_session_by_its_name_and_its_id(stand: Standing) -> None:
    kind, session_id = await leads_to(stand, "/ws/Notes.2026:a-b_c")
    assert kind == "session"
    assert session_id is not None
    for name in ("Notes.2026:a-b_c", quote("Notes.2026:a-b_c", safe=""), session_id):
        assert await leads_to(stand, f"/ws/{name}") == ("session", session_id), name
    assert await leads_to(stand, f"/ws/{session_id.upper()}") == ("session", session_id)
    other = await leads_to(stand, "/ws/notes.2026:a-b_c")
    assert other[0] == "session"
    assert other[1] != session_id


async def test_a_session_of_another_user_is_unknown(stand: Standing) -> None:
    who = stand.server.user("carl")
    asked = stand.ask("/chat", Answer(), session_id="private").json()
    assert await leads_to(stand, "/ws/private", who) != ("session", asked["session_id"])
    assert await leads_to(stand, f"/ws/{asked['session_id']}", who) == (
        "4404",
        "There is no such session.",
    )


@pytest.mark.parametrize(
    "name",
    [
        "a%20b",
        "%20",
        "a%2Cb",
        "caf%C3%A9",
        "%FF",
        "%00",
        "a" * 129,
        "%F0%9F%8E%89",
        "..%5C",
        "a%0A",
        "$",
    ],
)
async def test_a_name_that_none_may_have_is_unknown(stand: Standing, name: str) -> None:
    sessions = stand.rows("SELECT count(*) FROM sessions")
    code, reason = await leads_to(stand, f"/ws/{name}")
    assert code == "4404"
    assert reason
    assert stand.rows("SELECT count(*) FROM sessions") == sessions


@pytest.mark.parametrize(
    "path",
    [
        "/ws/",
        "/ws//",
        "/ws/a/b",
        "/ws/a%2Fb",
        "/ws/me/",
        "/ws/users",
        "/ws/users/",
        "/ws/users/me/",
        "/ws/chat",
        "/ws/chat/",
        "/ws/chat/completions/",
        "/ws/chat/completions/more",
        "/ws/users/a/b",
    ],
)
async def test_a_path_that_leads_nowhere(stand: Standing, path: str) -> None:
    kind, reason = await leads_to(stand, path)
    if path in ("/ws/users", "/ws/chat"):  # names like any other
        assert kind == "session"
    else:
        assert (kind, reason) == ("4404", "There is nothing here.")


@pytest.mark.parametrize("path", ["/", "/chat", "/wss", "/api/generate", "/nowhere"])
async def test_elsewhere_there_are_no_sockets(stand: Standing, path: str) -> None:
    url = f"{stand.server.url.replace('http', 'ws')}{path}"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers=bearer(stand.user.token), proxy=None)
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("path", ["/ws", "/ws/me", "/ws/chat/completions", "/ws/users/me"])
async def test_a_plain_request_is_told_that_there_is_nothing(stand: Standing, path: str) -> None:
    response = stand.client.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
