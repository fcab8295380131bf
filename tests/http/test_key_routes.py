"""API keys over the wire: shown once, good until they are revoked, and nobody else's."""

import re

from serving import Signed
from wire import (
    NOBODYS_ID,
    House,
    bearer,
    but_id,
    problem,
)


def test_an_api_key_is_shown_once_and_works_until_it_is_revoked(
    house: House, ada: Signed, bob: Signed
) -> None:
    created = house.http.post("/api/keys", json={"name": "laptop"}, headers=ada.headers)
    assert created.status_code == 201
    made = created.json()
    key = made.pop("key")
    assert re.fullmatch(r"rnl_[A-Za-z0-9_-]{43}", key)
    assert set(made) == {"id", "name", "prefix", "created_at"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", made["created_at"])
    listed = house.http.get("/api/keys", headers=bearer(key))
    assert listed.json() == {"keys": [made], "next_cursor": None}
    assert house.http.get("/api/keys", headers=bob.headers).json()["keys"] == []
    assert house.ask(Signed("", "", key))["text"] == "Hello world"
    path = f"/api/keys/{made['id']}"
    foreign, unknown = (
        house.http.delete(p, headers=bob.headers) for p in (path, f"/api/keys/{NOBODYS_ID}")
    )
    assert but_id(problem(foreign, 404, "not_found")) == but_id(problem(unknown, 404, "not_found"))
    assert house.http.get("/me", headers=bearer(key)).status_code == 200
    assert house.http.delete(path, headers=ada.headers).status_code == 204
    problem(house.http.get("/me", headers=bearer(key)), 401, "unauthorized")
    problem(house.http.delete(path, headers=ada.headers), 404, "not_found")
    assert house.http.get("/api/keys", headers=ada.headers).json()["keys"] == []


def test_an_api_key_needs_no_body(house: House, ada: Signed) -> None:
    answer = house.http.post("/api/keys", headers=ada.headers)
    assert answer.status_code == 201
    assert answer.json()["name"] == ""


def test_an_api_key_is_not_logged_out(house: House, ada: Signed) -> None:
    key = house.http.post("/api/keys", json={"name": "k"}, headers=ada.headers).json()["key"]
    problem(house.http.post("/logout", headers=bearer(key)), 409, "conflict")
    assert house.http.get("/me", headers=bearer(key)).status_code == 200
