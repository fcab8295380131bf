"""Clients that go before there is anything to tell, and stops that do not wait for the database."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from provider import BEFORE_HEADERS, Answer
from standing import Standing, locked, standing
from waiting import until


@pytest.fixture
def stand(migrated: Path, tmp_path: Path) -> Iterator[Standing]:
    # Long enough that only what notices the client at once can be as quick as is asked here.
    with standing(migrated, tmp_path, headers_after_seconds=20, database_timeout_seconds=0.3) as it:
        yield it
        it.provider.release()


SILENT = Answer(["late"], gate_after=BEFORE_HEADERS)


@pytest.mark.parametrize(
    ("path", "body"),
    [("/api/generate", {}), ("/chat", {}), ("/chat", {"stream": True})],
    ids=["generate", "json", "stream"],
)
def test_who_leaves_while_the_headers_wait_holds_nothing(
    stand: Standing, path: str, body: dict[str, bool]
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        stand.client.post(path, json={"message": stand.prompt(SILENT)} | body, timeout=0.5)
    until(lambda: stand.held()["readers"] == 0)
    assert stand.held()["producers"] == 1  # and the answer goes on


def test_who_leaves_a_poll_holds_nothing(stand: Standing) -> None:
    asked = stand.ask("/chat", SILENT, background=True).json()
    events = f"/api/generations/{asked['generation_id']}/events?after=1-0&wait=30"
    with pytest.raises(httpx.ReadTimeout):
        stand.client.get(events, headers={"Accept": "application/json"}, timeout=0.5)
    until(lambda: stand.held()["readers"] == 0)


def test_an_abort_stops_the_model_even_while_the_database_is_away(stand: Standing) -> None:
    asked = stand.ask("/chat", SILENT, background=True).json()
    stand.provider.at_gate.wait_at_least(1)
    with locked(stand):
        began = time.monotonic()
        refused = stand.client.post(asked["abort_url"])
        stand.provider.client_left.wait_at_least(1)
        assert time.monotonic() - began < 5
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    again = stand.client.post(asked["abort_url"])
    assert (again.status_code, again.json()["status"]) == (200, "aborted")


def test_a_disabled_user_whose_body_came_late_is_not_answered(stand: Standing) -> None:
    # Who asks is found before the body is read.
    body = b'{"message": "hello"}'
    late = stand.server.user("late")

    def slowly() -> Iterator[bytes]:
        yield body[:5]
        stand.server.call(stand.server.server.administration.disable(late.username))
        yield body[5:]

    headers = late.headers | {"Content-Type": "application/json"}
    answer = httpx.post(f"{stand.server.url}/chat", content=slowly(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert stand.provider.asks == []
