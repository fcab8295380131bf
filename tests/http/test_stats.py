"""`GET /api/admin/stats`: which sessions fail, and to whom how much is sent."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from provider import Answer
from reading import Incoming
from serving import Signed
from standing import Json, Standing, standing
from wire import problem, query

PATH = "/api/admin/stats"
GOOD = Answer(("Hello",))
BAD = Answer(status=500)


@pytest.fixture
def stand(migrated: Path, tmp_path: Path) -> Iterator[Standing]:
    with standing(migrated, tmp_path, anonymous_access=True) as there:
        yield there


@pytest.fixture
def admin(stand: Standing) -> Signed:
    return stand.server.user("root2", "admin")


def stats(stand: Standing, admin: Signed) -> Json:
    answer = httpx.get(f"{stand.server.url}{PATH}", headers=admin.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ends(stand: Standing, name: str, *answers: Answer) -> str:
    """The id of a session of that name in which these were given."""
    said = [stand.ask("/chat", answer, session_id=name) for answer in answers]
    return said[-1].headers["X-Session-Id"]


def test_it_is_for_admins(stand: Standing) -> None:
    problem(stand.client.get(PATH), 403, "forbidden")
    guest = httpx.get(f"{stand.server.url}{PATH}")
    problem(guest, 403, "forbidden")


def test_an_idle_server_has_nothing_to_tell(stand: Standing, admin: Signed) -> None:
    body = stats(stand, admin)
    assert body["sessions"] == body["users"] == []
    assert body["total"] == {
        "generations": 0,
        "failed": 0,
        "error_rate": 0.0,
        "bytes_last_minute": 0,
        "bytes_total": 0,
    }
    started, since = (datetime.fromisoformat(body[name]) for name in ("started_at", "ends_since"))
    now = datetime.now(UTC)
    assert timedelta() <= now - started < timedelta(minutes=2)
    assert timedelta(hours=24) <= now - since < timedelta(hours=24, minutes=2)


def test_sessions_that_fail_most_come_first_and_those_that_do_not_are_left_out(
    stand: Standing, admin: Signed
) -> None:
    often = ends(stand, "often", BAD, BAD, GOOD)
    half = ends(stand, "half", GOOD, BAD)
    always = ends(stand, "always", BAD)
    ends(stand, "never", GOOD, GOOD)
    accepted = stand.ask("/chat", Answer(("a", "b"), gate_after=1), background=True).json()
    stand.provider.at_gate.wait_at_least(1)
    assert stats(stand, admin)["total"]["generations"] == 8  # not yet what runs
    stand.client.post(accepted["abort_url"]).raise_for_status()
    body = stats(stand, admin)
    user_id = stand.client.get("/me").json()["id"]
    whose = {"user_id": user_id, "username": "ana"}
    assert body["sessions"] == [
        {"session_id": often, "generations": 3, "failed": 2, "error_rate": 0.6667} | whose,
        {"session_id": always, "generations": 1, "failed": 1, "error_rate": 1.0} | whose,
        {"session_id": half, "generations": 2, "failed": 1, "error_rate": 0.5} | whose,
    ]
    total = body["total"]
    assert (total["generations"], total["failed"], total["error_rate"]) == (9, 4, 0.4444)


def test_what_is_older_than_a_day_does_not_count(stand: Standing, admin: Signed) -> None:
    ends(stand, "old", BAD, BAD)
    for ago, kept in ((timedelta(hours=23, minutes=59), 2), (timedelta(hours=24, minutes=1), 0)):
        moment = (datetime.now(UTC) - ago).strftime("%Y-%m-%d %H:%M:%S.%f")
        with closing(sqlite3.connect(stand.server.settings.data_dir / "runnel.db")) as base, base:
            base.execute("UPDATE generations SET created_at = ?", (moment,))
        body = stats(stand, admin)
        assert body["total"]["failed"] == kept
        assert len(body["sessions"]) == (kept > 0)


def test_hidden_sessions_are_in_the_total_alone(stand: Standing, admin: Signed) -> None:
    ends(stand, "hidden", BAD)
    query(stand.server, "UPDATE sessions SET hidden = 1")
    body = stats(stand, admin)
    assert body["sessions"] == []
    assert body["total"]["failed"] == 1


def test_fifty_sessions_are_the_most(stand: Standing, admin: Signed) -> None:
    worst = ends(stand, "worst", BAD, BAD)
    for number in range(51):
        ends(stand, f"session-{number}", BAD)
    body = stats(stand, admin)
    assert len(body["sessions"]) == 50
    assert body["sessions"][0]["session_id"] == worst
    assert body["total"]["failed"] == 53


def test_each_user_has_the_bytes_that_were_sent_to_it(stand: Standing, admin: Signed) -> None:
    sizes = [len(stand.ask("/chat", GOOD).content), len(stand.client.get("/me").content)]
    bob = stand.server.user("bob")
    url = stand.server.url
    bobs = len(httpx.get(f"{url}/me", headers=bob.headers).content)
    guests = len(httpx.get(f"{url}/me").content)
    nobodys = len(httpx.get(f"{url}/healthz").content)
    body = stats(stand, admin)
    sent = {user["username"]: user["bytes_total"] for user in body["users"]}
    assert sent == {"ana": sum(sizes), "bob": bobs, "guest": guests}
    assert body["users"][0]["username"] == "ana"
    assert all(user["bytes_last_minute"] == user["bytes_total"] for user in body["users"])
    assert body["total"]["bytes_total"] == sum(sizes) + bobs + guests + nobodys
    shown = len(httpx.get(f"{url}{PATH}", headers=admin.headers).content)
    assert shown > 100
    names = [user["username"] for user in stats(stand, admin)["users"]]
    assert "root2" in names  # what it was sent before


def test_a_stream_counts_while_it_is_sent(stand: Standing, admin: Signed) -> None:
    body = {"prompt": stand.prompt(Answer(("x" * 5000, "y"), gate_after=1))}
    with stand.client.stream("POST", "/api/generate", json=body) as response:
        incoming = Incoming(response.iter_raw())
        incoming.until(b"xxx\n")
        [user] = stats(stand, admin)["users"]
        assert user["bytes_last_minute"] == user["bytes_total"] == len(incoming.body)
        stand.provider.release()
        whole = incoming.rest()
    users = {user["username"]: user for user in stats(stand, admin)["users"]}
    assert users["ana"]["bytes_total"] == len(whole)


def test_who_has_gone_is_told_without_a_name(stand: Standing, admin: Signed) -> None:
    bob = stand.server.user("bob")
    url = stand.server.url
    user_id = httpx.get(f"{url}/me", headers=bob.headers).json()["id"]
    httpx.delete(f"{url}/me", headers=bob.headers).raise_for_status()
    [user] = stats(stand, admin)["users"]
    assert (user["user_id"], user["username"]) == (user_id, None)
