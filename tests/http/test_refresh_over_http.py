"""A refresh token is good for one new pair, and one used again later ends its family, over the wire."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from serving import LiveServer, Signed
from wire import (
    House,
    bearer,
    claims_of,
    problem,
    query,
)


async def test_of_two_refreshes_at_once_one_gets_a_pair_and_one_a_conflict(
    house: House, ada: Signed
) -> None:
    token = house.login(ada)["refresh_token"]
    async with house.server.client() as client:
        for _ in range(20):
            answers = await asyncio.gather(
                *(client.post("/refresh", json={"refresh_token": token}) for _ in range(2))
            )
            won, lost = sorted(answers, key=lambda answer: answer.status_code)
            problem(lost, 409, "conflict")
            assert won.status_code == 200
            assert set(won.json()) == {"access_token", "token_type", "expires_in", "refresh_token"}
            me = await client.get("/me", headers=bearer(won.json()["access_token"]))
            assert me.status_code == 200
            token = won.json()["refresh_token"]


def used_long_ago(server: LiveServer, refresh_token: str) -> None:
    moment = datetime.now(UTC) - timedelta(seconds=11)
    query(
        server,
        "UPDATE refresh_tokens SET used_at = ? WHERE id = ? AND used_at IS NOT NULL",
        moment.strftime("%Y-%m-%d %H:%M:%S.%f"),
        claims_of(refresh_token)["jti"],
    )


def test_a_refresh_token_used_again_later_ends_its_family_and_no_other(
    house: House, ada: Signed
) -> None:
    first, another = house.login(ada), house.login(ada)
    second = house.http.post("/refresh", json={"refresh_token": first["refresh_token"]}).json()
    assert house.http.get("/me", headers=bearer(second["access_token"])).status_code == 200
    used_long_ago(house.server, first["refresh_token"])
    for token in (first["refresh_token"], second["refresh_token"]):
        problem(house.http.post("/refresh", json={"refresh_token": token}), 401, "unauthorized")
    for token in (first["access_token"], second["access_token"]):
        problem(house.http.get("/me", headers=bearer(token)), 401, "unauthorized")
    assert house.http.get("/me", headers=bearer(another["access_token"])).status_code == 200


@pytest.mark.parametrize("kind", ["access_token", "garbage", ""])
def test_only_a_refresh_token_is_refreshed(house: House, ada: Signed, kind: str) -> None:
    token = house.login(ada).get(kind, kind)
    problem(house.http.post("/refresh", json={"refresh_token": token}), 401, "unauthorized")
