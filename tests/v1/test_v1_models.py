"""`GET /v1/models`."""

import pytest
from openai import NotFoundError, OpenAI

from surface import MODEL, Surface, aliases_of


def test_the_aliases_that_can_be_asked_are_listed(v1: Surface, client: OpenAI) -> None:
    aliases = set(aliases_of(v1.provider)["aliases"])
    assert {model.id for model in client.models.list()} == aliases - {"chat/keyless"}
    body = v1.http.get("/v1/models").json()
    assert body["object"] == "list"
    shown = {"id": MODEL, "object": "model", "created": 0, "owned_by": "openai"}
    assert shown in body["data"]


@pytest.mark.parametrize("path", ["chat/test", "chat%2Ftest", "chat%2ftest"])
def test_one_is_found_by_its_alias_escaped_or_not(v1: Surface, path: str) -> None:
    response = v1.http.get(f"/v1/models/{path}")
    assert response.status_code == 200
    assert response.json()["id"] == MODEL


def test_the_official_client_finds_it(client: OpenAI) -> None:
    model = client.models.retrieve(MODEL)
    assert (model.id, model.owned_by) == (MODEL, "openai")


@pytest.mark.parametrize("name", ["nobody", "chat/keyless", "chat"])
def test_what_cannot_be_asked_is_not_found(client: OpenAI, name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.models.retrieve(name)
    assert caught.value.code == "model_not_found"


def test_whoever_asks_is_signed_in(v1: Surface) -> None:
    for path in ("models", "models/chat/test"):
        headers = {"Authorization": "Bearer no"}
        response = v1.http.get(f"/v1/{path}", headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"
