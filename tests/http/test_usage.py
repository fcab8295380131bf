"""`GET /api/usage`: what one's own answers took, by day and model, and nobody else's."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest

from provider import Answer, Provider
from serving import LiveServer
from standing import Json
from waiting import until
from wire import Serve, problem, query, refused_field

PATH = "/api/usage"
NOTHING = {
    "generations": 0,
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "total_tokens": 0,
    "cost": None,
}
_numbers = count(1)


@pytest.fixture
def server(serve: Serve, provider: Provider) -> LiveServer:
    alias = {"provider": "openai", "model": "test", "base_url": provider.url}
    priced = alias | {"price": {"input": 1000, "output": 2000}}
    provider.answer("test", Answer(usage=(30, 10)))
    return serve(models={"default": "chat/free", "aliases": {"chat/free": alias, "dear": priced}})


@pytest.fixture
def ada(server: LiveServer) -> Iterator[httpx.Client]:
    signed = server.user(f"ada{next(_numbers)}")
    with httpx.Client(base_url=server.url, headers=signed.headers, timeout=30) as client:
        yield client


def ask(client: httpx.Client, **body: Any) -> str:
    answer = client.post("/chat", json={"message": "hi"} | body)
    return answer.json()["generation_id"]


def asked_at(server: LiveServer, generation_id: str, moment: datetime) -> None:
    kept = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    if server.settings.database_url.startswith("postgresql"):
        kept += "+00"
    query(
        server,
        f"UPDATE generations SET created_at = '{kept}' WHERE id = '{generation_id}'",  # noqa: S608 - the test's own
    )


def used(client: httpx.Client, **params: str) -> Json:
    answer = client.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"usage", "next_cursor", "total"}
    assert body["next_cursor"] is None
    return body


def days(body: Json) -> list[tuple[str, str, int]]:
    return [(row["date"], row["model"], row["generations"]) for row in body["usage"]]


def test_who_has_asked_nothing_has_used_nothing(ada: httpx.Client) -> None:
    assert used(ada) == {"usage": [], "next_cursor": None, "total": NOTHING}


def test_a_day_has_a_row_for_each_model(ada: httpx.Client) -> None:
    for model in ("chat/free", "dear", "dear"):
        ask(ada, model=model)
    today = datetime.now(UTC).date().isoformat()
    body = used(ada)
    common = {"date": today, "provider": "openai"}
    assert body["usage"] == [
        common
        | {
            "model": "chat/free",
            "generations": 1,
            "prompt_tokens": 30,
            "completion_tokens": 10,
            "total_tokens": 40,
            "cost": None,
        },
        common
        | {
            "model": "dear",
            "generations": 2,
            "prompt_tokens": 60,
            "completion_tokens": 20,
            "total_tokens": 80,
            "cost": pytest.approx(0.1),
        },
    ]
    assert body["total"] == {
        "generations": 3,
        "prompt_tokens": 90,
        "completion_tokens": 30,
        "total_tokens": 120,
        "cost": pytest.approx(0.1),
    }


def test_every_end_counts_and_what_still_runs_does_not(
    server: LiveServer, provider: Provider, ada: httpx.Client
) -> None:
    provider.answer("test", Answer(status=500), Answer(gate_after=1), Answer(gate_after=1))
    ask(ada)
    first, _ = (ask(ada, background=True) for _ in range(2))
    provider.at_gate.wait_at_least(2)
    ada.post(f"/api/generations/{first}/abort").raise_for_status()
    assert used(ada)["total"]["generations"] == 2
    provider.release()
    until(lambda: used(ada)["total"]["generations"] == 3)
    assert len(query(server, "SELECT id FROM generations")) == 3


def test_nobody_sees_what_another_has_used(server: LiveServer, ada: httpx.Client) -> None:
    ask(ada)
    bob = server.user(f"bob{next(_numbers)}")
    assert ada.get(PATH, headers=bob.headers).json()["usage"] == []
    problem(httpx.get(f"{server.url}{PATH}"), 401, "unauthorized")


def test_days_are_those_of_utc_and_both_ends_count(server: LiveServer, ada: httpx.Client) -> None:
    moments = (
        "2024-02-28T23:59:59.999999+00:00",
        "2024-02-29T00:00:00+00:00",
        "2024-02-29T23:59:59.999999+00:00",
        "2024-03-01T00:00:00+00:00",
        "2024-03-01T23:30:00-02:00",  # the day after, in UTC
    )
    for moment in moments:
        asked_at(server, ask(ada), datetime.fromisoformat(moment))
    assert days(used(ada, **{"from": "2024-02-29", "to": "2024-03-01"})) == [
        ("2024-03-01", "chat/free", 1),
        ("2024-02-29", "chat/free", 2),
    ]
    whole = used(ada, **{"from": "2024-02-28", "to": "2024-03-02"})
    assert [row[0] for row in days(whole)] == [
        "2024-03-02",
        "2024-03-01",
        "2024-02-29",
        "2024-02-28",
    ]
    assert whole["total"]["generations"] == 5


def test_without_dates_these_are_the_last_thirty_days(
    server: LiveServer, ada: httpx.Client
) -> None:
    noon = datetime.now(UTC).replace(hour=12)
    for ago in (0, 29, 30):
        asked_at(server, ask(ada), noon - timedelta(days=ago))

    def day(ago: int) -> str:
        return (noon - timedelta(days=ago)).date().isoformat()

    assert [row[0] for row in days(used(ada))] == [day(0), day(29)]
    assert [row[0] for row in days(used(ada, to=day(1)))] == [day(29), day(30)]
    assert [row[0] for row in days(used(ada, **{"from": day(30)}))] == [day(0), day(29), day(30)]


def test_a_year_is_the_most(ada: httpx.Client) -> None:
    first = date(2024, 1, 1)
    used(ada, **{"from": first.isoformat(), "to": (first + timedelta(days=365)).isoformat()})
    params = {"from": first.isoformat(), "to": (first + timedelta(days=366)).isoformat()}
    assert "366" in refused_field(ada.get(PATH, params=params), "from")


@pytest.mark.parametrize("name", ["from", "to"])
@pytest.mark.parametrize(
    "value",
    ["", "today", "2024-02-30", "2024-2-1", "20240201", "1700000000", "2024-02-01T00:00:00Z"],
)
def test_what_is_no_date_is_refused(ada: httpx.Client, name: str, value: str) -> None:
    refused_field(ada.get(PATH, params={name: value}), name)


def test_a_beginning_after_the_end_is_refused(ada: httpx.Client) -> None:
    params = {"from": "2024-02-02", "to": "2024-02-01"}
    assert "later" in refused_field(ada.get(PATH, params=params), "from")


def test_the_first_and_the_last_day_of_all_are_days_too(ada: httpx.Client) -> None:
    assert used(ada, to="0001-01-03")["usage"] == []
    assert used(ada, **{"from": "9999-12-01", "to": "9999-12-31"})["usage"] == []


def test_answers_of_hidden_sessions_count(server: LiveServer, ada: httpx.Client) -> None:
    ask(ada)
    query(server, "UPDATE sessions SET hidden = true")
    assert used(ada)["total"]["generations"] == 1


def test_a_message_says_what_it_cost(ada: httpx.Client) -> None:
    answer = ada.post("/chat", json={"message": "hi", "model": "dear"}).json()
    messages = ada.get(f"/api/chat/sessions/{answer['session_id']}/messages").json()["messages"]
    assert messages[-1]["metadata"]["usage"] == answer["usage"]
    assert answer["usage"]["cost"] == pytest.approx(0.05)
