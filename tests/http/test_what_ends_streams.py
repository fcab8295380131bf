"""Logout, disabling and revoking end open streams, and expiry alone does not."""

from datetime import UTC, datetime, timedelta

import pytest

from provider import Provider
from serving import Signed
from wire import (
    House,
    bearer,
    problem,
    query,
    streaming,
)


def test_logout_ends_the_streams_of_its_login_alone_and_no_answer(
    house: House, ada: Signed, gate: Provider
) -> None:
    leaving, staying = (house.login(ada)["access_token"] for _ in range(2))
    with streaming(house, leaving) as cut, streaming(house, staying) as kept:
        house.http.post("/logout", headers=bearer(leaving)).raise_for_status()
        # The client's own timeout, END_SECONDS, is what would fail here.
        assert "data: [DONE]" not in cut.to_the_end()
        gate.release()
        assert "data: [DONE]" in kept.to_the_end()
    house.settle()
    for stream in (cut, kept):
        path = f"/api/generations/{stream.generation_id}"
        answer = house.http.get(path, headers=bearer(staying)).json()
        assert (answer["status"], answer["text"]) == ("completed", "first second")


@pytest.mark.parametrize("ahead", [timedelta(hours=2), timedelta(days=40)], ids=["token", "login"])
def test_expiry_alone_cuts_no_open_stream(
    house: House,
    ada: Signed,
    gate: Provider,
    monkeypatch: pytest.MonkeyPatch,
    ahead: timedelta,
) -> None:
    token = house.login(ada)["access_token"]
    parts = house.server.server.parts
    logins = parts.accounts._logins
    with streaming(house, token) as stream:
        for owner in (logins, logins._tokens):
            monkeypatch.setattr(owner, "_clock", lambda: datetime.now(UTC) + ahead)
        problem(house.http.get("/me", headers=bearer(token)), 401, "unauthorized")
        house.server.call(parts.watch.look())
        gate.release()
        assert stream.to_the_end()[-2:] == ["data: [DONE]", ""]


@pytest.mark.usefixtures("gate")
def test_disabling_a_user_aborts_what_runs_closes_readers_and_lets_nothing_in(
    house: House, ada: Signed
) -> None:
    pair = house.login(ada)
    key = house.http.post("/api/keys", json={"name": "k"}, headers=ada.headers).json()["key"]
    with streaming(house, pair["access_token"]) as stream:
        house.server.call(house.server.server.administration.disable(ada.username))
        stream.to_the_end()
    house.settle()
    assert query(
        house.server,
        "SELECT g.status, m.content FROM generations g JOIN messages m ON m.id = g.message_id"
        " WHERE g.id = ?",
        stream.generation_id,
    ) == [("aborted", "first")]
    for token in (pair["access_token"], ada.token, key):
        problem(house.http.get("/me", headers=bearer(token)), 401, "unauthorized")
    for path, body in (
        ("/login", {"username": ada.username, "password": ada.password}),
        ("/refresh", {"refresh_token": pair["refresh_token"]}),
    ):
        problem(house.http.post(path, json=body), 401, "unauthorized")


@pytest.mark.usefixtures("gate")
def test_revoking_an_api_key_ends_its_streams(house: House, ada: Signed) -> None:
    made = house.http.post("/api/keys", json={"name": "k"}, headers=ada.headers).json()
    with streaming(house, made["key"]) as stream:
        house.http.delete(f"/api/keys/{made['id']}", headers=ada.headers).raise_for_status()
        assert "data: [DONE]" not in stream.to_the_end()
