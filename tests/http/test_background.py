"""Answers asked for in the background: addresses at once, an answer that needs nobody."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from provider import BEFORE_HEADERS, Answer, Provider
from reading import Incoming, parsed_events, parsed_text, text_of, without_comments
from serving import LiveServer
from standing import Json, Serve, Standing, standing
from waiting import until
from wire import problem, refused_field

GENERATE = "/api/generate"
CHAT = "/chat"
PIECES = ("Hello", " world")
MEMBERS = {
    "generation_id",
    "session_id",
    "message_id",
    "user_message_id",
    "status",
    "events_url",
    "abort_url",
    "ticket",
}
DOORS: list[tuple[str, Json]] = [
    (CHAT, {}),
    (CHAT, {"stream": False}),
    (CHAT, {"stream": True}),
    (CHAT, {"params": {"stream": True}}),
    (CHAT, {"on_disconnect": "continue"}),
    (GENERATE, {}),
    (GENERATE, {"stream": True}),
    (GENERATE, {"format": "events"}),
]


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(migrated, tmp_path_factory.mktemp("background")) as there:
        yield there


@pytest.fixture(autouse=True)
def closed_gate(stand: Standing) -> Iterator[None]:
    with stand.gate_closed():
        yield


@pytest.fixture(scope="module")
def bare(stand: Standing) -> Iterator[httpx.Client]:
    """A client that sends no credentials, as EventSource cannot."""
    with httpx.Client(base_url=stand.server.url, timeout=30) as client:
        yield client


def accepted(response: httpx.Response) -> Json:
    """The body of a 202, which has the contract's members."""
    assert response.status_code == 202, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == MEMBERS
    assert body["generation_id"] == response.headers["X-Generation-Id"]
    assert body["session_id"] == response.headers["X-Session-Id"]
    assert body["message_id"] == response.headers["X-Message-Id"]
    assert body["user_message_id"] == response.headers["X-User-Message-Id"]
    return body


def ended(stand: Standing, generation_id: str) -> Json:
    until(lambda: stand.generation(generation_id)["status"] not in {"queued", "running"})
    return stand.generation(generation_id)


@pytest.mark.parametrize(("path", "body"), DOORS)
def test_it_is_accepted_at_once_however_silent_the_provider(
    stand: Standing, path: str, body: Json
) -> None:
    shown = accepted(
        stand.ask(path, Answer(PIECES, gate_after=BEFORE_HEADERS), background=True, **body)
    )
    address = f"/api/generations/{shown['generation_id']}"
    form = body.get("format", "text")
    assert shown["status"] == "queued"
    assert shown["events_url"] == f"{address}/events?ticket={shown['ticket']}&format={form}"
    assert shown["abort_url"] == f"{address}/abort"
    assert stand.generation(shown["generation_id"])["status"] in {"queued", "running"}
    stand.provider.release()
    assert ended(stand, shown["generation_id"])["text"] == "Hello world"


def test_nobody_has_to_read_it(stand: Standing) -> None:
    shown = accepted(stand.ask(CHAT, Answer(PIECES, gate_after=1), background=True))
    stand.provider.at_gate.wait_at_least(1)
    assert len(stand.server.server.parts.chat._followers) == 0
    stand.provider.release()
    kept = ended(stand, shown["generation_id"])
    assert (kept["status"], kept["text"], kept["finish_reason"]) == (
        "completed",
        "Hello world",
        "stop",
    )
    assert kept["usage"]["source"] == "provider"


def test_its_address_is_all_that_a_page_needs_to_read_along(
    stand: Standing, bare: httpx.Client
) -> None:
    answer = Answer(PIECES, gate_after=1)
    as_text = accepted(stand.ask(CHAT, answer, background=True))
    as_events = accepted(stand.ask(GENERATE, answer, background=True, format="events"))
    with (
        bare.stream("GET", as_text["events_url"]) as text,
        bare.stream("GET", as_events["events_url"]) as events,
    ):
        readers = [Incoming(response.iter_raw()) for response in (text, events)]
        for reader in readers:
            reader.until(b"Hello")
        stand.provider.release()
        of_text, of_events = (without_comments(reader.rest()) for reader in readers)
    assert parsed_text(of_text) == "Hello world"
    names = [event.name for event in parsed_events(of_events)]
    assert names == ["start", "token", "token", "end"]
    # Its reconnects, with the position that EventSource adds, need nothing else either.
    again = bare.get(as_events["events_url"], headers={"Last-Event-ID": "1-1"})
    assert text_of(parsed_events(again.content)) == " world"
    over = bare.get(as_events["events_url"], headers={"Last-Event-ID": "1-3"})
    assert over.status_code == 204
    polled = bare.get(as_text["events_url"], headers={"Accept": "application/json"}).json()
    assert (polled["position"], polled["done"]) == ("1-3", True)


def test_its_ticket_reads_this_answer_alone(stand: Standing, bare: httpx.Client) -> None:
    shown = accepted(stand.ask(CHAT, Answer(PIECES, gate_after=1), background=True))
    other = accepted(stand.ask(CHAT, Answer(PIECES), background=True))
    query = f"?ticket={shown['ticket']}"
    for method, path in (
        ("GET", f"/api/generations/{other['generation_id']}/events{query}"),
        ("GET", f"/api/generations/{shown['generation_id']}{query}"),
        ("GET", f"/api/generations{query}"),
        ("POST", shown["abort_url"]),
        ("POST", shown["abort_url"] + query),
        ("POST", CHAT + query),
        ("GET", f"/me{query}"),
    ):
        problem(bare.request(method, path), 401, "unauthorized")
    bearer = {"Authorization": f"Bearer {shown['ticket']}"}
    problem(bare.post(shown["abort_url"], headers=bearer), 401, "unauthorized")
    assert stand.generation(shown["generation_id"])["status"] == "running"


def test_its_other_address_aborts_it(stand: Standing, bare: httpx.Client) -> None:
    shown = accepted(stand.ask(CHAT, Answer(PIECES, gate_after=1), background=True))
    with bare.stream("GET", shown["events_url"]) as response:
        reader = Incoming(response.iter_raw())
        reader.until(b"Hello")
        aborted = stand.client.post(shown["abort_url"])
        assert (aborted.status_code, aborted.json()["status"]) == (200, "aborted")
        assert aborted.json()["text"] == "Hello"
        assert b"event: aborted\n" in reader.rest()


def test_what_fails_later_is_told_at_its_address(stand: Standing, bare: httpx.Client) -> None:
    shown = accepted(stand.ask(CHAT, Answer(status=500), background=True, format="events"))
    kept = ended(stand, shown["generation_id"])
    assert (kept["status"], kept["error"]["code"]) == ("failed", "upstream_error")
    response = bare.get(shown["events_url"])
    assert response.status_code == 200
    assert [event.name for event in parsed_events(response.content)] == ["start", "failed"]


@pytest.mark.parametrize("path", [CHAT, GENERATE])
def test_what_is_refused_is_refused_here_too(stand: Standing, path: str) -> None:
    body = {"message": "?", "background": True}
    aborting = stand.client.post(path, json=body | {"on_disconnect": "abort"})
    assert "`on_disconnect`" in refused_field(aborting, "body")
    refused_field(stand.client.post(path, json=body | {"background": "maybe"}), "background")
    unknown = stand.client.post(path, json=body | {"model": "nobody"})
    problem(unknown, 422, "unknown_model", more={"errors"})
    assert stand.client.post(path, json=body | {"message": "x" * 5001}).status_code == 413


@pytest.mark.parametrize("taken_off", [True, False])
def test_its_addresses_carry_the_prefix_that_clients_see(
    serve: Serve, provider: Provider, *, taken_off: bool
) -> None:
    server = rooted(serve, provider)
    ana = server.user("ana")
    prefix = "" if taken_off else "/prefix"
    provider.answer("test", Answer(PIECES, gate_after=1))
    with httpx.Client(base_url=server.url) as client:
        body = {"message": "?", "background": True}
        shown = accepted(client.post(f"{prefix}{CHAT}", json=body, headers=ana.headers))
        address = f"/prefix/api/generations/{shown['generation_id']}"
        assert shown["events_url"].startswith(f"{address}/events?")
        assert shown["abort_url"] == f"{address}/abort"
        seen = {name: shown[name] for name in ("events_url", "abort_url")}
        if taken_off:  # as the proxy in front does
            seen = {name: url.removeprefix("/prefix") for name, url in seen.items()}
        provider.at_gate.wait_at_least(1)
        assert client.post(seen["abort_url"], headers=ana.headers).json()["status"] == "aborted"
        assert b"event: aborted\n" in client.get(seen["events_url"]).content


def rooted(serve: Serve, provider: Provider) -> LiveServer:
    alias = {"provider": "openai", "model": "test", "base_url": provider.url}
    return serve(models={"aliases": {"chat/test": alias}}, root_path="/prefix")
