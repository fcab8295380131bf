"""An account over the wire, from its registration over a new password to its deletion."""

import httpx
import pytest

from provider import Answer, Provider
from serving import Signed
from wire import (
    NOBODYS_ID,
    House,
    Serve,
    bearer,
    cells,
    claims_of,
    models_of,
    problem,
    streaming,
)


def test_registration_is_closed_unless_it_is_opened(house: House) -> None:
    body = {"username": "newcomer", "password": "a password of mine"}
    problem(house.http.post("/register", json=body), 403, "forbidden")
    problem(house.http.post("/login", json=body), 401, "unauthorized")


def test_who_registers_where_that_is_open_can_log_in(serve: Serve) -> None:
    server = serve(registration="open")
    with httpx.Client(base_url=server.url) as http:
        body = {"username": "newcomer", "password": "a password of mine"}
        made = http.post("/register", json=body)
        assert made.status_code == 201
        assert made.json() == {"id": made.json()["id"], "username": "newcomer", "role": "user"}
        token = http.post("/login", json=body).json()["access_token"]
        assert http.get("/me", headers=bearer(token)).json()["username"] == "newcomer"
        again = http.post("/register", json=body | {"username": "NewComer"})
        problem(again, 409, "conflict", more={"errors"})
        for field, changed in (
            ("username", {"username": "me"}),
            ("username", {"username": "guest"}),
            ("username", {"username": ""}),
            ("username", {"username": "a b"}),
            ("username", {"username": NOBODYS_ID}),
            ("username", {"username": "x" * 65}),
            ("password", {"username": "other", "password": "short"}),
            ("password", {"username": "other", "password": "x" * 1025}),
        ):
            refused = http.post("/register", json=body | changed)
            errors = problem(refused, 422, "invalid_request", more={"errors"})["errors"]
            assert [error["field"] for error in errors] == [field]


def test_changing_the_password_ends_every_login_and_no_key(house: House, ada: Signed) -> None:
    pairs = [house.login(ada) for _ in range(2)]
    key = house.http.post("/api/keys", json={"name": "k"}, headers=ada.headers).json()["key"]
    new = "another password of mine"
    answer = house.http.post(
        "/me/password",
        json={"current_password": ada.password, "new_password": new},
        headers=bearer(pairs[0]["access_token"]),
    )
    assert (answer.status_code, answer.content) == (204, b"")
    for pair in pairs:
        for token in (pair["access_token"], ada.token):
            problem(house.http.get("/me", headers=bearer(token)), 401, "unauthorized")
        body = {"refresh_token": pair["refresh_token"]}
        problem(house.http.post("/refresh", json=body), 401, "unauthorized")
    assert house.http.get("/me", headers=bearer(key)).status_code == 200
    body = {"username": ada.username, "password": ada.password}
    problem(house.http.post("/login", json=body), 401, "unauthorized")
    assert house.http.post("/login", json=body | {"password": new}).status_code == 200


def test_a_password_is_not_changed_without_the_old_one_nor_to_a_weak_one(
    house: House, ada: Signed
) -> None:
    for current, new, status, code, field in (
        ("wrong", "another password", 403, "forbidden", "current_password"),
        (ada.password, "short", 422, "invalid_request", "new_password"),
        (ada.password, "password", 422, "invalid_request", "new_password"),
    ):
        body = {"current_password": current, "new_password": new}
        answer = house.http.post("/me/password", json=body, headers=ada.headers)
        errors = problem(answer, status, code, more={"errors"})["errors"]
        assert [error["field"] for error in errors] == [field]
    assert house.login(ada)


def test_who_is_enabled_again_has_the_keys_but_not_the_logins(house: House, ada: Signed) -> None:
    key = house.http.post("/api/keys", json={"name": "k"}, headers=ada.headers).json()["key"]
    administration = house.server.server.administration
    house.server.call(administration.disable(ada.username))
    house.server.call(administration.enable(ada.username))
    problem(house.http.get("/me", headers=ada.headers), 401, "unauthorized")
    assert house.http.get("/me", headers=bearer(key)).status_code == 200
    assert house.login(ada)


@pytest.mark.usefixtures("gate")
def test_deleting_the_own_account_aborts_what_runs_and_leaves_nothing(
    house: House, ada: Signed
) -> None:
    user_id = house.http.get("/me", headers=ada.headers).json()["id"]
    house.http.post("/api/keys", json={"name": "k"}, headers=ada.headers).raise_for_status()
    finished = house.ask(ada, "remember me", session_id="named-by-ada")
    with streaming(house, ada.token, session_id="running-of-ada") as stream:
        traces = {user_id, ada.username, "remember me", "named-by-ada", "running-of-ada"}
        traces |= {finished[id_] for id_ in ("session_id", "generation_id", "message_id")}
        traces |= {stream.generation_id, claims_of(ada.token)["login"]}
        found = {cell for _, cell in cells(house.server) if cell in traces}
        assert found == traces
        answer = house.http.delete("/me", headers=ada.headers)
        assert (answer.status_code, answer.content) == (204, b"")
        assert not [cell for cell in cells(house.server) if cell[1] in traces]
        stream.to_the_end()
    house.settle()
    assert not [cell for cell in cells(house.server) if cell[1] in traces]
    problem(house.http.get("/me", headers=ada.headers), 401, "unauthorized")
    body = {"username": ada.username, "password": ada.password}
    problem(house.http.post("/login", json=body), 401, "unauthorized")
    assert house.server.user(ada.username).token  # the name is free again


def test_the_last_admin_stays_and_so_does_what_it_has(serve: Serve, provider: Provider) -> None:
    provider.answer("gated", Answer(pieces=("first", " second"), gate_after=1))
    server = serve(models=models_of(provider))
    token = server.call(server.server.administration.issue_token("admin"))
    with httpx.Client(base_url=server.url, headers=bearer(token), timeout=30) as http:
        body = {"prompt": "hi", "model": "chat/gated", "format": "events"}
        with http.stream("POST", "/api/generate", json=body) as stream:
            lines = stream.iter_lines()
            while next(lines) != "event: token":
                pass
            problem(http.delete("/me"), 409, "conflict")
            provider.release()
            assert "event: end" in list(lines)  # and not aborted
        assert http.get("/me").json()["role"] == "admin"
