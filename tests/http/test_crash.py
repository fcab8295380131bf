"""Servers that are killed, stopped, started twice, or lose their database: nobody waits in vain."""

import asyncio
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from json import dumps
from pathlib import Path

import pytest

from processes import Starting, house_of, rows_of, run, starting
from provider import Answer, Provider
from reading import Incoming, parsed, parsed_events, simplest_text, text_of, without_comments
from standing import Standing, locked, standing
from waiting import until

#: On a busy machine a server takes long to start.
pytestmark = pytest.mark.timeout(180)

GENERATE = "/api/generate"
#: A stop takes no longer than this beyond the grace; five seconds is what uvicorn would wait.
QUICKLY = 4.8


@pytest.fixture
def folder(tmp_path: Path, provider: Provider) -> Path:
    return house_of(provider, tmp_path)


@pytest.fixture
def start(folder: Path) -> Iterator[Starting]:
    with starting(folder) as start:
        yield start


def test_a_killed_server_finds_its_answers_interrupted_with_what_was_checkpointed(
    start: Starting, provider: Provider
) -> None:
    pieces = [f"{number} " for number in range(10)]
    provider.answer("test", Answer(pieces, gate_after=5), Answer(gate_after=0), Answer(["new"]))
    first = start()
    body = {"prompt": "long", "session_id": "crashing", "format": "events"}
    unheard = {"prompt": "?", "session_id": "unheard"}
    with first.client.stream("POST", GENERATE, json=body) as response:
        Incoming(response.iter_raw()).until(b'"4 "')
        generation_id = response.headers["X-Generation-Id"]
        until(lambda: first.generation(generation_id)["position"] == "1-5")
        running = first.generation(generation_id)
        assert (running["status"], running["text"]) == ("running", "0 1 2 3 4 ")
        # Another one, which has said nothing yet.
        asking = subprocess.Popen(
            [
                *("curl", "-sN", f"{first.url}{GENERATE}", "-d", dumps(unheard)),
                *("-H", f"Authorization: {first.client.headers['authorization']}"),
                *("-H", "Content-Type: application/json"),
            ],
            stdout=subprocess.DEVNULL,
        )
        provider.at_gate.wait_at_least(2)
        first.signal(signal.SIGKILL)
        first.process.wait()
        asking.wait()
    second = start()
    kept = second.generation(generation_id)
    assert kept["status"] == "interrupted"
    assert kept["text"] == "0 1 2 3 4 "
    assert kept["position"] == "2-1"  # an epoch of its own: `2-0` reset, `2-1` the end
    assert (kept["error"]["code"], kept["error"]["retryable"]) == ("interrupted", True)
    assert kept["usage"]["source"] == "estimated"
    assert kept["usage"]["prompt_tokens"] > 0
    answered = second.post("/chat", message="and now?", session_id="crashing")
    assert answered.json()["text"] == "new"
    assert [message["content"] for message in provider.asks[-1].body["messages"]] == [
        "long",
        "0 1 2 3 4 ",
        "and now?",
    ]
    assert second.post("/chat", session_id="unheard").status_code == 200


def test_what_was_said_just_before_a_kill_is_found(
    start: Starting, provider: Provider, folder: Path
) -> None:
    for said in ("first", "second"):
        provider.answer("test", Answer([f"answer to the {said}"]))
        server = start()
        assert server.post("/chat", message=f"the {said} question").status_code == 200
        server.signal(signal.SIGKILL)
        server.process.wait()
    last = start()
    found = last.client.get("/api/chat/sessions", params={"q": "second"}).json()["sessions"]
    assert [match["snippet"] for session in found for match in session["matches"]] == [
        "the <mark>second</mark> question",
        "answer to the <mark>second</mark>",
        "the <mark>second</mark> question",
    ]
    # And what nobody searches for, it is indexed all the same.
    assert last.post("/chat", message="the third question").status_code == 200
    until(lambda: not rows_of(folder, "SELECT id FROM search_pending"))
    last.signal(signal.SIGTERM)
    assert last.process.wait() == 0


def states(folder: Path) -> list[str]:
    return [row[0] for row in rows_of(folder, "SELECT DISTINCT status FROM generations")]


def test_a_second_server_on_the_same_data_ends_at_once_and_the_first_works_on(
    start: Starting, folder: Path
) -> None:
    first = start()
    second = run(folder, "serve")
    assert second.returncode == 2
    assert second.stdout == ""
    [line] = second.stderr.splitlines()
    assert "another server is running on" in line
    listed = run(folder, "users", "list")
    assert listed.returncode == 0
    assert "admin" in listed.stdout
    assert first.client.get("/readyz").status_code == 200  # and its connection stays open
    signalled = first.signal(signal.SIGTERM)
    assert first.process.wait() == 0
    assert time.monotonic() - signalled < QUICKLY


def test_a_taken_port_ends_with_one_line(folder: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        ended = run(folder, "serve", PORT=port)
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert f"port {port}" in line


def test_sigterm_interrupts_what_still_runs_after_the_grace(
    start: Starting, provider: Provider, folder: Path
) -> None:
    provider.answer("test", Answer(["one", " two"], gate_after=1))
    served = start(SHUTDOWN_GRACE_SECONDS="0.5")
    as_text = {"prompt": "?"}
    as_events = {"prompt": "?", "format": "events"}
    with (
        served.client.stream("POST", GENERATE, json=as_text) as text,
        served.client.stream("POST", GENERATE, json=as_events) as events,
    ):
        readers = [Incoming(response.iter_raw()) for response in (text, events)]
        for reader in readers:
            reader.until(b"one")
        signalled = served.signal(signal.SIGTERM)
        of_text, of_events = (without_comments(reader.rest()) for reader in readers)
        # Not until the process has ended: on a busy machine that takes long.
        told = time.monotonic()
    assert served.process.wait() == 0
    assert 0.5 <= told - signalled < 0.5 + QUICKLY
    token, named, done = parsed(of_text)
    assert (token.data, named.event, done.data) == ("one", "failed", "[DONE]")
    assert '"code":"interrupted"' in named.data
    assert '"retryable":true' in named.data
    *before, failed = parsed_events(of_events)
    assert text_of(before) == "one"
    assert failed.name == "failed"
    assert (failed.data["code"], failed.data["retryable"]) == ("interrupted", True)
    assert states(folder) == ["interrupted"]


def test_sigterm_lets_an_answer_end_within_the_grace_and_takes_no_more(
    start: Starting, provider: Provider, folder: Path
) -> None:
    provider.answer("test", Answer(["one", " two"], gate_after=1))
    served = start(SHUTDOWN_GRACE_SECONDS="30")
    with served.client.stream("POST", GENERATE, json={"prompt": "?"}) as response:
        incoming = Incoming(response.iter_raw())
        incoming.until(b"one")
        served.signal(signal.SIGTERM)
        until(lambda: served.client.get("/readyz").status_code == 503)
        for path in ("/chat", GENERATE):
            refused = served.post(path)
            assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
            assert int(refused.headers["Retry-After"]) >= 1
        assert served.client.get("/healthz").status_code == 200
        released = time.monotonic()
        provider.release()
        assert simplest_text(without_comments(incoming.rest())) == "one two"
    assert served.process.wait() == 0
    assert time.monotonic() - released < QUICKLY
    assert states(folder) == ["completed"]


@pytest.fixture
def stand(migrated: Path, tmp_path: Path) -> Iterator[Standing]:
    with standing(migrated, tmp_path, database_timeout_seconds=0.1) as there:
        yield there


def test_while_the_database_is_locked_tokens_flow_and_no_end_is_told(stand: Standing) -> None:
    stand.provider.hold()
    prompt = stand.prompt(Answer(["one", " two", " three"], gate_after=1))
    body = {"prompt": prompt, "format": "events"}
    with stand.client.stream("POST", GENERATE, json=body) as response:
        incoming = Incoming(response.iter_raw())
        incoming.until(b'"one"')
        with locked(stand):
            stand.provider.release()
            incoming.until(b'" three"')
            refused = stand.ask("/chat", Answer())
            assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
            assert int(refused.headers["Retry-After"]) >= 1
            # The model has ended and said so; the row has not, so nobody is told.
            kept = stand.generation(response.headers["X-Generation-Id"])
            assert kept["status"] == "running"
            assert b"event: end" not in incoming.body
        events = parsed_events(without_comments(incoming.rest()))
    assert text_of(events) == "one two three"
    assert events[-1].name == "end"
    assert stand.generation(response.headers["X-Generation-Id"])["status"] == "completed"


def test_readers_are_let_go_when_the_database_stays_away(migrated: Path, tmp_path: Path) -> None:
    with standing(
        migrated, tmp_path, database_timeout_seconds=0.1, store_retry_seconds=0.2
    ) as stand:
        stand.provider.hold()
        prompt = stand.prompt(Answer(["one", " two"], gate_after=1))
        with stand.client.stream("POST", GENERATE, json={"prompt": prompt}) as response:
            incoming = Incoming(response.iter_raw())
            incoming.until(b"one")
            with locked(stand):
                stand.provider.release()
                received = without_comments(incoming.rest())
        assert received.endswith(b"data: one\n\ndata:  two\n\n")  # closed without an end
        generation_id = response.headers["X-Generation-Id"]
        until(lambda: stand.generation(generation_id)["status"] == "completed")
        assert stand.generation(generation_id)["text"] == "one two"


async def test_a_json_client_is_told_when_the_database_stays_away(
    migrated: Path, tmp_path: Path
) -> None:
    with standing(
        migrated, tmp_path, database_timeout_seconds=0.1, store_retry_seconds=0.2
    ) as stand:
        stand.provider.hold()
        prompt = stand.prompt(Answer(["one", " two"], gate_after=1))
        async with stand.server.client(stand.user) as client:
            asking = asyncio.create_task(client.post("/chat", json={"message": prompt}))
            await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
            with locked(stand):
                stand.provider.release()
                answer = await asking
    assert (answer.status_code, answer.json()["code"]) == (503, "stream_unavailable")
    assert answer.json()["generation_id"] == answer.headers["X-Generation-Id"]
