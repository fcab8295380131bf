"""A question sent again when the server has changed meanwhile: restarted, draining, full, emptied."""

import asyncio
import sqlite3
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from json import dumps
from pathlib import Path
from shutil import copy

import httpx
import pytest

from databases import only_on_sqlite
from provider import Answer, Provider
from reading import Incoming, parsed, parsed_events, without_comments
from serving import LiveServer, Signed, settings_for
from standing import Json, Standing, standing
from waiting import POLL_SECONDS, POLLS
from wire import problem, query

GENERATE = "/api/generate"
CHAT = "/chat"
BODY: Json = {"message": "?", "client_message_id": "k", "session_id": "one"}
PIECES = ("Hello", " world")
FACTS = {"generation_id", "text"}


@pytest.fixture
def folder(migrated: Path, tmp_path: Path, provider: Provider) -> Path:
    """What a server needs to start, and to start again."""
    home = tmp_path / "home"
    home.mkdir()
    copy(migrated, home / "runnel.db")
    alias = {"provider": "openai", "model": "test", "base_url": provider.url}
    (home / "models.json").write_text(dumps({"aliases": {"chat/test": alias}}))
    provider.answer("test", Answer(PIECES, usage=(7, 3)))
    return home


@contextmanager
def started(folder: Path, ana: Signed | None = None) -> Generator[tuple[LiveServer, httpx.Client]]:
    """A server on the folder, and a client; without a user one is made."""
    with LiveServer(settings_for(folder)) as server:
        who = ana or server.user("ana")
        with httpx.Client(base_url=server.url, headers=who.headers, timeout=30) as client:
            yield server, client


def killed(folder: Path, into: Path) -> Path:
    """The folder as a crash at this moment would leave it."""
    only_on_sqlite("a crash is a copy of its file")
    into.mkdir()
    for name in ("models.json", "jwt_secret"):
        copy(folder / name, into / name)
    with (
        closing(sqlite3.connect(folder / "runnel.db")) as source,
        closing(sqlite3.connect(into / "runnel.db")) as target,
    ):
        source.backup(target)
    return into


def test_after_a_restart_the_stored_answer_is_joined(folder: Path, provider: Provider) -> None:
    with started(folder) as (_, client):
        ana = Signed("ana", "", client.headers["authorization"].split()[1])
        first = client.post(CHAT, json=BODY)
    with started(folder, ana) as (_, client):
        again = client.post(CHAT, json=BODY)
        assert again.json() == first.json()
        events = client.post(GENERATE, json=BODY | {"format": "events"})
        assert events.headers["x-generation-id"] == first.headers["x-generation-id"]
        reset, end = parsed_events(without_comments(events.content))
        assert (reset.name, reset.id, reset.data) == ("reset", "1-2", {"text": "Hello world"})
        assert (end.name, end.id, end.data["usage"]["total_tokens"]) == ("end", "1-3", 10)
        # Whoever read all of the text needs only the end; whoever read that, nothing.
        end_only = client.post(GENERATE, json=BODY, headers={"Last-Event-ID": "1-2"})
        (done,) = parsed(end_only.content)
        assert (done.data, done.id) == ("[DONE]", "1-3")
        ended = client.post(GENERATE, json=BODY, headers={"Last-Event-ID": "1-3"})
        assert (ended.status_code, ended.content) == (204, b"")
        problem(client.post(CHAT, json=BODY | {"message": "!"}), 409, "idempotency_conflict")
    assert len(provider.asks) == 1


@pytest.mark.parametrize("said", [1, 0])
def test_after_a_crash_the_interrupted_answer_is_told_and_not_asked_again(
    folder: Path, tmp_path: Path, provider: Provider, said: int
) -> None:
    provider.answer("test", Answer(PIECES, gate_after=said), Answer())
    with started(folder) as (server, client):
        ana = Signed("ana", "", client.headers["authorization"].split()[1])
        accepted = client.post(CHAT, json=BODY | {"background": True}).json()
        provider.at_gate.wait_at_least(1)
        checkpointed(server, said)
        left = killed(folder, tmp_path / "left")
        provider.release()
    with started(left, ana) as (_, client):
        body = problem(client.post(CHAT, json=BODY), 503, "interrupted", more=FACTS)
        assert body["text"] == "Hello" * said
        assert body["generation_id"] == accepted["generation_id"]
        stream = client.post(GENERATE, json=BODY | {"format": "events"})
        if said:
            reset, failed = parsed_events(stream.content)
            assert (reset.id, reset.data) == ("2-0", {"text": "Hello"})
            assert (failed.id, failed.data["code"]) == ("2-1", "interrupted")
            # A reader that was in the midst of it has to be told all anew.
            headers = {"Last-Event-ID": "1-1"}
            resumed = client.post(GENERATE, json=BODY | {"format": "events"}, headers=headers)
            assert parsed_events(resumed.content) == [reset, failed]
        else:
            problem(stream, 503, "interrupted", more=FACTS)
        assert int(stream.headers.get("retry-after", "1")) >= 1
        assert len(provider.asks) == 1
        # The session is free for the next question, which takes a key of its own.
        assert client.post(CHAT, json=BODY | {"client_message_id": "l"}).status_code == 200


def checkpointed(server: LiveServer, pieces: int) -> None:
    """Waits until so many tokens are in the database."""
    counted = "SELECT count(*) FROM checkpoints"
    running = "SELECT count(*) FROM generations WHERE epoch = 1"
    for _ in range(POLLS):
        if query(server, running) == [(1,)] and query(server, counted) == [(pieces,)]:
            return
        time.sleep(POLL_SECONDS)
    raise AssertionError


@pytest.fixture
def stand(migrated: Path, tmp_path: Path) -> Iterator[Standing]:
    folder = tmp_path / "standing"
    folder.mkdir()
    with standing(migrated, folder, shutdown_grace_seconds=30) as there:
        yield there


async def test_while_the_server_drains_a_known_key_joins_and_nothing_new_begins(
    stand: Standing,
) -> None:
    body: Json = BODY | {"message": stand.prompt(Answer(PIECES, gate_after=1))}
    ended: Json = {"message": stand.prompt(Answer(PIECES)), "client_message_id": "ended"}
    before = stand.client.post(CHAT, json=ended).json()
    with stand.client.stream("POST", GENERATE, json=body) as response:
        first = Incoming(response.iter_raw())
        first.until(b"Hello")
        draining = asyncio.create_task(
            asyncio.to_thread(stand.server.call, stand.server.server.drain())
        )
        async with stand.server.client(stand.user) as client:
            for _ in range(POLLS):
                if (await client.get("/readyz")).status_code == 503:
                    break
                await asyncio.sleep(POLL_SECONDS)
            for unknown in ({"message": "?"}, body | {"client_message_id": "new"}):
                problem(await client.post(CHAT, json=unknown), 503, "shutting_down")
            assert (await client.post(CHAT, json=ended)).json() == before
            joined = asyncio.create_task(client.post(CHAT, json=body))
            background = await client.post(CHAT, json=body | {"background": True})
            assert background.json()["status"] == "running"
            assert background.json()["generation_id"] == response.headers["X-Generation-Id"]
            stand.provider.release()
            assert (await joined).json()["text"] == "Hello world"
        first.rest()
        await draining


def test_a_full_server_refuses_new_questions_and_joins_known_ones(
    stand: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    body: Json = BODY | {"message": stand.prompt(Answer(PIECES))}
    first = stand.client.post(CHAT, json=body).json()
    stand.provider.hold()
    running = {"message": stand.prompt(Answer(PIECES, gate_after=1)), "background": True}
    accepted = stand.client.post(CHAT, json=running).json()
    stand.provider.at_gate.wait_at_least(1)
    monkeypatch.setattr(stand.log, "_total_bytes", 1)
    new = BODY | {"client_message_id": "new", "session_id": "two"}
    problem(stand.client.post(CHAT, json=new), 503, "overloaded")
    assert stand.client.post(CHAT, json=body).json() == first
    monkeypatch.undo()
    # Refused, it took no key: the same question is taken now.
    stand.provider.release()
    new["message"] = stand.prompt(Answer(["taken"]))
    assert stand.client.post(CHAT, json=new).json()["text"] == "taken"
    stand.client.get(accepted["events_url"])  # to its end


def test_a_key_goes_with_its_session(stand: Standing) -> None:
    body: Json = BODY | {"message": stand.prompt(Answer(PIECES))}
    first = stand.client.post(CHAT, json=body).json()
    with closing(sqlite3.connect(stand.server.settings.data_dir / "runnel.db")) as database:
        database.execute("PRAGMA foreign_keys = ON")
        with database:
            database.execute("DELETE FROM sessions WHERE id = ?", (first["session_id"],))
    gone = stand.client.get(f"/api/generations/{first['generation_id']}")
    problem(gone, 404, "not_found")
    again = stand.client.post(CHAT, json=body).json()
    assert again["generation_id"] != first["generation_id"]
    assert (again["text"], len(stand.provider.asks)) == ("Hello world", 2)


def test_a_key_goes_with_its_user(stand: Standing) -> None:
    def ask(who: Signed) -> httpx.Response:
        return stand.client.post(CHAT, json=body, headers=who.headers)

    body: Json = BODY | {"message": stand.prompt(Answer(PIECES))}
    bea = stand.server.user("bea")
    first = ask(bea).json()
    assert stand.client.delete("/me", headers=bea.headers).status_code == 204
    problem(ask(bea), 401, "unauthorized")
    # Another of that name is another user.
    again = ask(stand.server.user("bea")).json()
    assert again["generation_id"] != first["generation_id"]
