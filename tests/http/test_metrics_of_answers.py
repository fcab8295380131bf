"""The metrics page: how long answers took, what they cost, who reads them and how much is sent."""

import asyncio
import timeit
from collections.abc import Iterator
from json import dumps
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from provider import Answer, Provider
from reading import Incoming
from runnel.telemetry.metrics import Metrics
from serving import LiveServer, settings_for
from standing import Standing, standing
from waiting import soon, until

CHAT = "/chat"
GENERATE = "/api/generate"
PIECES = ("Hello", " world")
GATED = Answer(PIECES, gate_after=1)
JSON_PAGE = {"Accept": "application/json"}


@pytest.fixture
def stand(migrated: Path, tmp_path: Path) -> Iterator[Standing]:
    with standing(migrated, tmp_path, anonymous_access=True) as there:
        yield there


def samples(url: str) -> dict[str, float]:
    page = httpx.get(f"{url}/metrics").raise_for_status().text
    return {
        " ".join([sample.name.removeprefix("runnel_"), *sorted(sample.labels.values())]): (
            sample.value
        )
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_times_are_counted_by_alias(stand: Standing) -> None:
    whole = stand.ask(CHAT, Answer(PIECES, delay=0.05)).json()
    stand.ask(CHAT, Answer(status=500))
    seen = samples(stand.server.url)
    assert seen["first_token_seconds_count chat/test"] == 1  # the other said nothing
    assert seen["first_token_seconds_sum chat/test"] == whole["first_token_ms"] / 1000
    assert seen["latency_seconds_count chat/test"] == 2
    assert seen["latency_seconds_sum chat/test"] >= whole["latency_ms"] / 1000 >= 0.05
    assert seen["inter_token_seconds_count chat/test"] == 1
    assert seen["inter_token_seconds_sum chat/test"] >= 0.04
    assert seen["inter_token_seconds_bucket 0.025 chat/test"] == 0
    assert seen["latency_seconds_bucket 900.0 chat/test"] == 2


def test_tokens_and_cost_are_counted_by_alias(
    migrated: Path, tmp_path: Path, provider: Provider
) -> None:
    (tmp_path / "runnel.db").write_bytes(migrated.read_bytes())
    alias = {"provider": "openai", "model": "test", "base_url": provider.url}
    dear = alias | {"price": {"input": 1000, "output": 2000}}
    models = {"default": "free", "aliases": {"free": alias, "dear": dear}}
    (tmp_path / "models.json").write_text(dumps(models))
    provider.answer("test", Answer(usage=(30, 10)))
    with LiveServer(settings_for(tmp_path)) as server:
        headers = server.user("ada").headers
        for model in ("free", "dear", "dear"):
            body = {"message": "hi", "model": model}
            httpx.post(f"{server.url}{CHAT}", json=body, headers=headers).raise_for_status()
        seen = samples(server.url)
    assert {name: value for name, value in seen.items() if name.startswith(("tokens", "cost"))} == {
        "tokens_total free prompt": 30,
        "tokens_total completion free": 10,
        "tokens_total dear prompt": 60,
        "tokens_total completion dear": 20,
        "cost_total dear": pytest.approx(0.1),
    }


def connections(stand: Standing) -> dict[str, float]:
    name = "active_connections "
    seen = samples(stand.server.url)
    return {key.removeprefix(name): n for key, n in seen.items() if key.startswith(name)}


NONE = {"stream": 0, "poll": 0, "whole": 0, "websocket": 0}


async def test_open_connections_are_counted_by_kind(stand: Standing) -> None:
    assert connections(stand) == NONE
    body = {"message": stand.prompt(GATED)}
    async with stand.server.client(stand.user) as client:
        whole = asyncio.create_task(client.post(CHAT, json=body))
        await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
        await soon(lambda: connections(stand) == NONE | {"whole": 1})
        [(generation_id,)] = stand.rows("SELECT id FROM generations")
        url = f"/api/generations/{generation_id}/events"
        params = {"after": "1-1", "wait": "30"}
        poll = asyncio.create_task(client.get(url, headers=JSON_PAGE, params=params))
        async with client.stream("GET", url):
            await soon(lambda: connections(stand) == NONE | {"whole": 1, "poll": 1, "stream": 1})
        await soon(lambda: connections(stand) == NONE | {"whole": 1, "poll": 1})
        stand.provider.release()
        assert (await whole).status_code == (await poll).status_code == 200
    await soon(lambda: connections(stand) == NONE)


def test_a_reader_who_leaves_is_no_connection_any_more(stand: Standing) -> None:
    body = {"prompt": stand.prompt(GATED)}
    with stand.client.stream("POST", GENERATE, json=body) as response:
        incoming = Incoming(response.iter_raw())
        incoming.until(b"Hello")
        assert connections(stand) == NONE | {"stream": 1}
    until(lambda: connections(stand) == NONE)


def test_bytes_are_counted_by_the_class_of_user(stand: Standing) -> None:
    url = stand.server.url
    root = stand.server.user("root2", "admin")

    def sent() -> dict[str, float]:
        seen = samples(url)
        return {
            kind: seen[f"bytes_sent_total {kind}"] for kind in ("admin", "user", "guest", "nobody")
        }

    before = sent()
    whole = stand.ask(GENERATE, Answer(PIECES)).content
    admins = httpx.get(f"{url}/me", headers=root.headers).content
    guests = httpx.get(f"{url}/me").content
    refused = httpx.get(f"{url}/me", headers={"Authorization": "Bearer x"}).content
    after = sent()
    assert after["user"] - before["user"] == len(whole)
    assert after["admin"] - before["admin"] == len(admins)
    assert after["guest"] - before["guest"] == len(guests)
    assert after["nobody"] - before["nobody"] > len(refused)  # the page of the metrics too


def test_errors_are_counted_by_code(stand: Standing) -> None:
    stand.ask(CHAT, Answer(status=500))
    stand.client.get("/nothing")
    seen = samples(stand.server.url)
    assert seen["errors_total not_found"] == 1
    assert seen["errors_total upstream_error"] >= 1


def test_lines_that_are_lost_have_a_count_before_any_is(stand: Standing) -> None:
    seen = samples(stand.server.url)
    assert seen["run_log_lines_lost_total queue_full"] == 0
    assert seen["run_log_lines_lost_total not_written"] == 0


def test_a_gap_between_tokens_costs_microseconds() -> None:
    metrics = Metrics()
    number = 20_000
    best = min(timeit.repeat(lambda: metrics.waited("chat/test", 0.02), number=number, repeat=5))
    assert best / number < 20e-6  # about one where nothing else runs
