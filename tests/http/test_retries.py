"""A provider that does not take a question is asked again, a little later, and nobody notices."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from provider import BEFORE_HEADERS, Answer, Provider
from provider_script import Voice
from reading import parsed_events, parsed_text, text_of
from standing import Json, Serve, Standing, standing
from waiting import POLL_SECONDS, POLLS
from wire import problem

GENERATE = "/api/generate"
CHAT = "/chat"
GOOD = Answer(("Hello", " world"), usage=(3, 2))
DOORS: dict[str, tuple[str, Json]] = {
    "json": (CHAT, {}),
    "text": (GENERATE, {}),
    "events": (GENERATE, {"format": "events"}),
}
NOT_TAKEN = {
    "429": Answer(status=429),
    "500": Answer(status=500),
    "503": Answer(status=503),
}
FACTS = {"generation_id", "text"}


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    folder = tmp_path_factory.mktemp("retries")
    with standing(migrated, folder, upstream_retries=2, upstream_retry_seconds=4) as there:
        yield there


class InTurn:
    """One answer after the other, and when each was asked for."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.asked_at: list[float] = []

    def __call__(self, ask: Json) -> Answer:
        del ask
        self.asked_at.append(time.monotonic())
        return self._answers[min(len(self.asked_at), len(self._answers)) - 1]

    @property
    def asks(self) -> int:
        return len(self.asked_at)


def post(stand: Standing, door: str, turns: InTurn) -> httpx.Response:
    path, body = DOORS[door]
    return stand.client.post(path, json={"message": stand.prompt(turns)} | body)


def retried(server_url: str) -> dict[str, float]:
    """How often a provider was asked again, by what it had said."""
    page = httpx.get(f"{server_url}/metrics").text
    return {
        sample.labels["code"]: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "runnel_upstream_retries_total"
    }


def until(holds: Callable[[], object]) -> None:
    for _ in range(POLLS):
        if holds():
            return
        time.sleep(POLL_SECONDS)
    raise AssertionError


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("fault", NOT_TAKEN)
def test_what_was_not_taken_is_asked_again_and_answered_as_if_nothing_had_been(
    stand: Standing, fault: str, door: str
) -> None:
    turns = InTurn(NOT_TAKEN[fault], GOOD)
    response = post(stand, door, turns)
    assert response.status_code == 200
    assert "retry-after" not in response.headers
    match door:
        case "json":
            body = response.json()
            assert (body["text"], body["finish_reason"]) == ("Hello world", "stop")
            assert body["usage"]["source"] == "provider"
        case "text":
            assert parsed_text(response.content) == "Hello world"
        case _:
            events = parsed_events(response.content)
            assert [event.name for event in events] == ["start", "token", "token", "end"]
            assert text_of(events) == "Hello world"
    assert turns.asks == 2
    kept = stand.generation(response.headers["X-Generation-Id"])
    assert (kept["status"], kept["error"]) == ("completed", None)


def test_it_is_tried_as_often_as_set_and_then_told(stand: Standing) -> None:
    turns = InTurn(NOT_TAKEN["503"], NOT_TAKEN["429"], GOOD)
    assert post(stand, "json", turns).json()["text"] == "Hello world"
    first, second, third = turns.asked_at
    assert second - first >= 0.125
    assert third - second >= 0.25
    turns = InTurn(NOT_TAKEN["500"], NOT_TAKEN["500"], NOT_TAKEN["503"], GOOD)
    refused = post(stand, "text", turns)
    assert "HTTP 503" in problem(refused, 502, "upstream_error", more=FACTS)["detail"]
    assert turns.asks == 3


def test_a_429_that_names_a_time_is_not_asked_before_it(stand: Standing) -> None:
    turns = InTurn(Answer(status=429, headers={"retry-after": "1"}), GOOD)
    assert post(stand, "json", turns).json()["text"] == "Hello world"
    first, second = turns.asked_at
    assert second - first >= 1


@pytest.mark.parametrize("door", DOORS)
def test_a_429_that_names_too_long_a_time_is_told_at_once(stand: Standing, door: str) -> None:
    turns = InTurn(Answer(status=429, headers={"retry-after": "30"}), GOOD)
    began = time.monotonic()
    refused = post(stand, door, turns)
    assert time.monotonic() - began < 15  # the client may act on it, and is not kept waiting
    problem(refused, 429, "upstream_rate_limited", more=FACTS)
    assert refused.headers["retry-after"] == "30"
    assert turns.asks == 1


def test_the_time_that_a_429_names_may_be_a_date(stand: Standing) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    turns = InTurn(Answer(status=429, headers={"retry-after": date}), GOOD)
    refused = post(stand, "json", turns)
    problem(refused, 429, "upstream_rate_limited", more=FACTS)
    assert 3500 < int(refused.headers["retry-after"]) <= 3600
    assert turns.asks == 1
    # What is no time at all does not keep the question from being asked again.
    turns = InTurn(Answer(status=429, headers={"retry-after": "soon"}), GOOD)
    assert post(stand, "json", turns).json()["text"] == "Hello world"


FINAL: dict[str, tuple[Answer, str, str]] = {
    "400": (Answer(status=400), "upstream_error", ""),
    "401": (Answer(status=401), "upstream_error", ""),
    "404": (Answer(status=404), "upstream_error", ""),
    "hang-up before the headers": (Answer(cut_after=BEFORE_HEADERS), "upstream_error", ""),
    "cut before the first token": (Answer(cut_after=0), "upstream_incomplete", ""),
    "cut in mid-answer": (Answer(cut_after=1), "upstream_incomplete", "Hello"),
    "no finish reason": (Answer(finish_reason=None), "upstream_incomplete", "Hello world"),
    "error in mid-answer": (
        Answer(["Hello", b'data: {"error":{"message":"overloaded","code":503}}\n\n']),
        "upstream_error",
        "Hello",
    ),
}


@pytest.mark.parametrize("fault", FINAL)
def test_what_is_no_use_or_may_have_been_billed_is_not_asked_again(
    stand: Standing, fault: str
) -> None:
    answer, code, text = FINAL[fault]
    turns = InTurn(answer, GOOD)
    failed = post(stand, "json", turns)
    assert problem(failed, 502, code, more=FACTS)["text"] == text
    assert turns.asks == 1


def test_an_abort_does_not_wait_for_the_next_try(stand: Standing) -> None:
    turns = InTurn(Answer(status=429, headers={"retry-after": "3"}), GOOD)
    body = {"message": stand.prompt(turns), "background": True, "session_id": "aborted-in-a-pause"}
    before = retried(stand.server.url)
    accepted = stand.client.post(CHAT, json=body).json()
    until(lambda: retried(stand.server.url) != before)  # in the pause, then, of 3 s and more
    aborted = stand.client.post(accepted["abort_url"])
    assert (aborted.status_code, aborted.json()["status"]) == (200, "aborted")
    assert stand.ask(CHAT, GOOD, session_id="aborted-in-a-pause").status_code == 200
    assert turns.asks == 1


def test_tries_are_counted_by_what_the_provider_said(stand: Standing) -> None:
    before = retried(stand.server.url)
    post(stand, "json", InTurn(NOT_TAKEN["429"], NOT_TAKEN["503"], GOOD))
    post(stand, "json", InTurn(Answer(status=400)))
    after = retried(stand.server.url)
    assert {code: count - before.get(code, 0) for code, count in after.items()} == {
        "upstream_rate_limited": 1,
        "upstream_error": 1,
    }


def test_a_port_that_refuses_is_tried_and_then_told(serve: Serve, provider: Provider) -> None:
    alias = {"provider": "openai", "model": "test", "base_url": provider.refused_url()}
    server = serve(models={"aliases": {"chat/test": alias}}, upstream_retries=2)
    ana = server.user("ana")
    refused = httpx.post(f"{server.url}{CHAT}", json={"message": "?"}, headers=ana.headers)
    assert "cannot be reached" in problem(refused, 502, "upstream_error", more=FACTS)["detail"]
    assert retried(server.url) == {"upstream_error": 2}


def test_a_port_that_refuses_and_is_back_is_asked_again(serve: Serve) -> None:
    with closing(socket.socket()) as port:
        port.bind(("127.0.0.1", 0))  # and does not listen: it refuses
        url = f"http://127.0.0.1:{port.getsockname()[1]}/v1"
        alias = {"provider": "openai", "model": "test", "base_url": url}
        server = serve(models={"aliases": {"chat/test": alias}}, upstream_retries=10)
        ana = server.user("ana")
        ask = partial(httpx.post, f"{server.url}{CHAT}", json={"message": "?"}, timeout=30)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, headers=ana.headers)
            until(lambda: asked.done() or retried(server.url))
            port.listen()
            if not asked.done():
                answer(port)
    assert asked.result().json()["text"] == "Hello world"


def answer(port: socket.socket) -> None:
    """Says GOOD to the first who comes."""
    port.settimeout(20)
    connection, _ = port.accept()
    with closing(connection):
        asked = b""
        while b'"stream":true' not in asked.replace(b" ", b""):
            asked += connection.recv(65_536)
        voice = Voice(GOOD, {"model": "test", "stream": True})
        for part in (voice.beginning(), *map(voice.piece, GOOD.pieces), voice.ending()):
            connection.sendall(b"".join(part))
