"""`GET /api/admin/usage` and `/models`: what everybody's answers took, and which aliases are well."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest

from provider import Answer, Provider
from serving import LiveServer
from standing import Json
from wire import Serve, refused_field

USAGE: Final = "/api/admin/usage"
MODELS: Final = "/api/admin/models"
SECRET: Final = "sk-a-secret-of-a-provider"


@pytest.fixture
def server(serve: Serve, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> LiveServer:
    monkeypatch.setenv("SOME_KEY", SECRET)
    alias = {"provider": "openai", "model": "test", "base_url": provider.url}
    price = {"input": 1000, "output": 2000}
    aliases = {
        "chat/good": {**alias, "price": price, "api_key_env": "SOME_KEY"},
        "chat/bad": {**alias, "model": "bad", "fallbacks": ["chat/good"]},
        "chat/keyless": {"provider": "openai", "model": "gpt", "api_key_env": "NOBODY_HAS_IT"},
    }
    provider.answer("test", Answer(usage=(30, 10)))
    provider.answer("bad", Answer(["half"], cut_after=1))
    return serve(models={"default": "chat/good", "aliases": aliases}, startup_check="off")


@pytest.fixture
def admin(server: LiveServer) -> Iterator[httpx.Client]:
    headers = server.user("chief", "admin").headers
    with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
        yield client


def ask(server: LiveServer, name: str, model: str) -> None:
    with httpx.Client(base_url=server.url, headers=server.user(name).headers) as client:
        client.post("/chat", json={"message": "hi", "model": model})


def used(client: httpx.Client, **params: Any) -> Json:
    answer = client.get(USAGE, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_hours_and_days_tell_of_everybody(server: LiveServer, admin: httpx.Client) -> None:
    for name, model in (("ana", "chat/good"), ("bea", "chat/good"), ("bea", "chat/bad")):
        ask(server, f"{name}-{model[-3:]}", model)
    for by, number in (("hour", 24), ("day", 30)):
        body = used(admin, by=by)
        assert set(body) == {"by", "usage", "next_cursor", "total"}
        assert (body["by"], body["next_cursor"], len(body["usage"])) == (by, None, number)
        assert body["usage"] == sorted(body["usage"], key=lambda spell: spell["begins"])
        total = body["total"]
        assert (total["generations"], total["failed"]) == (3, 1)
        assert total["total_tokens"] == total["prompt_tokens"] + total["completion_tokens"] >= 80
        assert total["cost"] == pytest.approx(0.1)
        # It may have become the next hour meanwhile.
        [*_, spell] = [spell for spell in body["usage"] if spell["failed"]]
        assert spell["errors"] == {"upstream_incomplete": 1}
        assert spell["latency_ms"] >= spell["first_token_ms"] >= 0
        empty = body["usage"][0]
        assert (empty["generations"], empty["cost"], empty["latency_ms"]) == (0, None, None)
    assert used(admin, model="chat/good")["total"]["generations"] == 2
    assert used(admin, model="nobody\0")["total"]["generations"] == 0


def test_a_range_is_of_days_or_of_times(admin: httpx.Client) -> None:
    days = used(admin, **{"from": "2026-02-27", "to": "2026-03-01"})["usage"]
    assert [spell["begins"][:10] for spell in days] == ["2026-02-27", "2026-02-28", "2026-03-01"]
    hours = used(admin, **{"from": "2026-02-27", "to": "2026-02-28"}, by="hour")["usage"]
    assert len(hours) == 48
    times = {"from": "2026-02-27T10:30:00Z", "to": "2026-02-27T12:00:00Z"}
    assert [spell["begins"] for spell in used(admin, **times, by="hour")["usage"]] == [
        f"2026-02-27T{hour}:00:00Z" for hour in (10, 11, 12)
    ]
    today = datetime.now(UTC).date()
    since = {"from": str(today - timedelta(days=365))}
    assert len(used(admin, **since)["usage"]) == 366


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": "1"}, "from"),
        ({"from": "2026-02-30"}, "from"),
        ({"to": "0001-01-01"}, "to"),
        ({"to": "9999-12-31"}, "to"),
        ({"from": "2026-03-01T10:00:00"}, "from"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "from"),
        ({"from": "2024-03-01", "to": "2026-03-01"}, "from"),
        ({"from": "2026-01-01", "to": "2026-02-01", "by": "hour"}, "from"),
        ({"by": "minute"}, "by"),
    ],
)
def test_what_is_no_range_is_refused(
    admin: httpx.Client, params: dict[str, str], field: str
) -> None:
    refused_field(admin.get(USAGE, params=params), field)


def test_aliases_say_how_they_are_and_no_secret(server: LiveServer, admin: httpx.Client) -> None:
    ask(server, "ana", "chat/good")
    ask(server, "bea", "chat/bad")
    answer = admin.get(MODELS)
    assert SECRET not in answer.text
    body = answer.json()
    assert (body["default"], body["next_cursor"]) == ("chat/good", None)
    good, bad, keyless = body["models"]
    assert {name: good[name] for name in ("alias", "available", "why_not", "fallbacks")} == {
        "alias": "chat/good",
        "available": True,
        "why_not": None,
        "fallbacks": [],
    }
    counted = good["last_24_hours"]
    assert (counted["generations"], counted["failed"], counted["errors"]) == (1, 0, {})
    assert counted["first_token_ms_p50"] == counted["first_token_ms_p95"] >= 0
    assert bad["fallbacks"] == ["chat/good"]
    assert bad["last_24_hours"]["errors"] == {"upstream_incomplete": 1}
    assert keyless["available"] is False
    assert "NOBODY_HAS_IT" in keyless["why_not"]
    assert keyless["last_24_hours"] == {
        "generations": 0,
        "failed": 0,
        "errors": {},
        "first_token_ms_p50": None,
        "first_token_ms_p95": None,
    }
