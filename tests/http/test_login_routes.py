"""The password form and the login give tokens that hold as long as they say, or until logout."""

from typing import Any

import pytest

from serving import Signed
from wire import (
    House,
    bearer,
    claims_of,
    problem,
)


@pytest.mark.parametrize("basic", [None, "Basic Og=="], ids=["alone", "as Swagger UI sends it"])
def test_the_password_form_gives_a_token(house: House, ada: Signed, basic: str | None) -> None:
    headers = {"Authorization": basic} if basic else {}
    form = {"grant_type": "password", "username": ada.username, "password": ada.password}
    answer = house.http.post("/token", data=form, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "bearer"
    assert house.http.get("/me", headers=bearer(answer.json()["access_token"])).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        {"data": {"username": "ada"}},
        {"data": {"username": "ada", "password": "p", "grant_type": "code"}},
        {"json": {"username": "ada", "password": "p"}},
        {
            "content": b"\xff\xfe%zz",
            "headers": {"Content-Type": "application/x-www-form-urlencoded"},
        },
        {"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"content": b"--x", "headers": {"Content-Type": "multipart/form-data"}},
    ],
    ids=["no password", "another grant", "json", "bytes", "cut multipart", "no boundary"],
)
def test_a_password_form_that_is_none_is_refused(house: House, sent: dict[str, Any]) -> None:
    answer = house.http.post("/token", **sent)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_token_is_good_for_as_long_as_it_says(house: House, ada: Signed) -> None:
    pair = house.login(ada)
    claims = claims_of(pair["access_token"])
    assert pair["expires_in"] == 3600 == claims["exp"] - claims["iat"]
    assert claims_of(pair["refresh_token"])["exp"] - claims["iat"] == 30 * 86_400


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_logout_ends_both_tokens_at_once(house: House, ada: Signed, which: str) -> None:
    pair = house.login(ada)
    answer = house.http.post("/logout", headers=bearer(pair["access_token"]))
    assert (answer.status_code, answer.content) == (204, b"")
    if which == "access_token":
        answer = house.http.get("/me", headers=bearer(pair[which]))
    else:
        answer = house.http.post("/refresh", json={"refresh_token": pair[which]})
    problem(answer, 401, "unauthorized")
    assert house.http.get("/me", headers=ada.headers).status_code == 200


def test_a_form_that_cannot_be_read_is_an_invalid_request(house: House) -> None:
    answer = house.http.post(
        "/token", content=b"x", headers={"Content-Type": "multipart/form-data"}
    )
    problem(answer, 422, "invalid_request")
