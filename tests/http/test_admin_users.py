"""`/api/admin/users`: accounts by those who run the server, and by nobody else."""

from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import httpx
import pytest

from provider import Provider
from serving import Signed
from wire import NOBODYS_ID, House, bearer, problem, query, refused_field, streaming

#: What is revoked is told, and not only found.
SETTINGS: Final = {"revocation_check_seconds": 3600}
USERS: Final = "/api/admin/users"
SHOWN: Final = {"id", "username", "role", "created_at", "disabled_at"}
_numbers = count(1)


@pytest.fixture
def admin(house: House) -> Iterator[httpx.Client]:
    signed = house.server.user(f"admin-of-users{next(_numbers)}", "admin")
    with httpx.Client(base_url=house.server.url, headers=signed.headers, timeout=30) as client:
        yield client


def id_of(house: House, who: Signed) -> str:
    return house.http.get("/me", headers=who.headers).json()["id"]


def fresh() -> str:
    return f"new-{next(_numbers)}"


def test_an_account_is_made_with_a_password_shown_once(house: House, admin: httpx.Client) -> None:
    name = fresh()
    made = admin.post(USERS, json={"username": name})
    assert made.status_code == 201
    body = made.json()
    assert set(body) == SHOWN | {"password"}
    assert (body["username"], body["role"], body["disabled_at"]) == (name, "user", None)
    credentials = {"username": name, "password": body["password"]}
    assert house.http.post("/login", json=credentials).status_code == 200
    listed = admin.get(USERS, params={"q": name}).json()
    assert body["password"] not in str(listed)
    given = {"username": fresh(), "password": "a password of theirs", "role": "admin"}
    assert admin.post(USERS, json=given).json()["password"] is None
    token = house.http.post("/login", json={k: given[k] for k in ("username", "password")}).json()
    headers = bearer(token["access_token"])
    assert house.http.get(USERS, headers=headers).status_code == 200


def test_what_no_account_can_have_is_refused(admin: httpx.Client) -> None:
    taken = fresh()
    admin.post(USERS, json={"username": taken}).raise_for_status()
    problem(admin.post(USERS, json={"username": taken.upper()}), 409, "conflict", more={"errors"})
    for body, field in (
        ({}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "guest"}, "username"),
        ({"username": fresh(), "password": "short"}, "password"),
        ({"username": fresh(), "password": ""}, "password"),
        ({"username": fresh(), "role": "root"}, "role"),
        ({"username": fresh(), "email": "x"}, "email"),
    ):
        refused_field(admin.post(USERS, json=body), field)


def test_the_list_is_told_in_pages_and_searched(admin: httpx.Client) -> None:
    prefix = fresh() + "-page"
    names = [f"{prefix}{letter}" for letter in "edcba"]
    for name in names:
        admin.post(USERS, json={"username": name}).raise_for_status()
    found: list[str] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"q": prefix.upper(), "limit": 2}
        page = admin.get(USERS, params=params | ({"cursor": cursor} if cursor else {})).json()
        assert set(page) == {"users", "next_cursor"}
        assert len(page["users"]) <= 2
        assert all(set(user) == SHOWN | {"last_login_at"} for user in page["users"])
        found += [user["username"] for user in page["users"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == sorted(names)
    refused_field(admin.get(USERS, params={"cursor": "no name"}), "cursor")
    for limit in (0, 201, "x"):
        refused_field(admin.get(USERS, params={"limit": limit}), "limit")


def test_to_disable_ends_at_once_what_is_open(
    house: House, admin: httpx.Client, ada: Signed, gate: Provider
) -> None:
    del gate
    path = f"{USERS}/{id_of(house, ada)}"
    with streaming(house, ada.token) as stream:
        changed = admin.patch(path, json={"disabled": True})
        assert changed.json()["disabled_at"] is not None
        # The client's own timeout, END_SECONDS, is what would fail here.
        stream.to_the_end()
    problem(house.http.get("/me", headers=ada.headers), 401, "unauthorized")
    assert set(admin.patch(path, json={"disabled": False}).json()) == SHOWN
    credentials = {"username": ada.username, "password": ada.password}
    assert house.http.post("/login", json=credentials).status_code == 200


def test_another_password_ends_at_once_what_is_open(
    house: House, admin: httpx.Client, ada: Signed, gate: Provider
) -> None:
    del gate
    path = f"{USERS}/{id_of(house, ada)}/password"
    with streaming(house, ada.token) as stream:
        made_up = admin.post(path).json()["password"]
        assert "data: [DONE]" not in stream.to_the_end()
    problem(house.http.get("/me", headers=ada.headers), 401, "unauthorized")
    credentials = {"username": ada.username, "password": made_up}
    assert house.http.post("/login", json=credentials).status_code == 200
    refused_field(admin.post(path, json={"password": "short"}), "password")
    assert admin.post(path, json={"password": "a password of theirs"}).json() == {"password": None}


def test_a_role_is_given_and_taken(house: House, admin: httpx.Client, ada: Signed) -> None:
    path = f"{USERS}/{id_of(house, ada)}"
    assert admin.patch(path, json={"role": "admin"}).json()["role"] == "admin"
    assert house.http.get(USERS, headers=ada.headers).status_code == 200
    admin.patch(path, json={"role": "user"}).raise_for_status()
    problem(house.http.get(USERS, headers=ada.headers), 403, "forbidden")
    for wrong, field in (
        ({"role": "root"}, "role"),
        ({"disabled": "yes"}, "disabled"),
        ({"username": "x"}, "username"),
    ):
        refused_field(admin.patch(path, json=wrong), field)
    assert admin.patch(path, json={}).status_code == 422


def test_an_account_is_deleted_with_all_that_is_its_own(
    house: House, admin: httpx.Client, ada: Signed, gate: Provider
) -> None:
    del gate
    user_id = id_of(house, ada)
    with streaming(house, ada.token) as stream:
        assert admin.delete(f"{USERS}/{user_id}").status_code == 204
        stream.to_the_end()
    assert query(house.server, "SELECT id FROM sessions WHERE user_id = ?", user_id) == []
    problem(admin.delete(f"{USERS}/{user_id}"), 404, "not_found")


def test_nobody_locks_oneself_out(admin: httpx.Client) -> None:
    own = f"{USERS}/{admin.get('/me').json()['id']}"
    problem(admin.patch(own, json={"disabled": True}), 409, "conflict")
    problem(admin.patch(own, json={"role": "user"}), 409, "conflict")
    problem(admin.post(f"{own}/password"), 409, "conflict")
    problem(admin.delete(own), 409, "conflict")
    assert admin.get("/me").json()["role"] == "admin"


@pytest.mark.parametrize("user_id", [NOBODYS_ID, "nobody", "%00", "a%2Fb"])
def test_who_is_not_there_is_not_found(admin: httpx.Client, user_id: str) -> None:
    for answer in (
        admin.patch(f"{USERS}/{user_id}", json={"disabled": True}),
        admin.post(f"{USERS}/{user_id}/password"),
        admin.delete(f"{USERS}/{user_id}"),
    ):
        problem(answer, 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", USERS),
        ("POST", USERS),
        ("PATCH", f"{USERS}/{NOBODYS_ID}"),
        ("DELETE", f"{USERS}/{NOBODYS_ID}"),
        ("POST", f"{USERS}/{NOBODYS_ID}/password"),
        ("GET", "/api/admin/models"),
        ("GET", "/api/admin/usage"),
    ],
)
def test_all_of_it_is_for_admins(house: House, ada: Signed, method: str, path: str) -> None:
    problem(house.http.request(method, path, json={}), 401, "unauthorized")
    problem(house.http.request(method, path, json={}, headers=ada.headers), 403, "forbidden")
