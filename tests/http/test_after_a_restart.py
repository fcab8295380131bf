"""What a server that was stopped, or killed, tells of its answers when it is there again."""

import shutil
import sqlite3
from contextlib import closing
from json import dumps
from pathlib import Path

import httpx
import pytest

from attaching import END, PIECES, TEXT, attach, following, frame_of, poll
from databases import only_on_sqlite
from provider import BEFORE_HEADERS, Answer, Provider
from serving import LiveServer, settings_for
from standing import Json
from waiting import until
from wire import models_of

FORMS = ("text", "events")


@pytest.fixture
def folder(migrated: Path, tmp_path: Path, provider: Provider) -> Path:
    """The data of a server that is started more than once."""
    shutil.copy(migrated, tmp_path / "runnel.db")
    models = {"aliases": {"chat/test": models_of(provider)["aliases"]["chat/test"]}}
    (tmp_path / "models.json").write_text(dumps(models))
    return tmp_path


def test_a_server_that_was_stopped_tells_what_it_told_before(
    folder: Path, provider: Provider
) -> None:
    provider.answer("test", Answer(PIECES), Answer(PIECES, gate_after=2))
    with LiveServer(settings_for(folder)) as first:
        headers = first.user("ana").headers
        with httpx.Client(base_url=first.url, headers=headers, timeout=30) as http:
            whole = http.post("/chat", json={"message": "?"}).json()["generation_id"]
            asked = http.post("/chat", json={"message": "?", "background": True})
            broken = asked.json()["generation_id"]
            with following(http, broken) as incoming:
                incoming.until(b"id: 1-2\n\n")
    with (
        LiveServer(settings_for(folder)) as second,
        httpx.Client(base_url=second.url, headers=headers, timeout=30) as http,
    ):
        assert attach(http, whole, END) == b""
        assert attach(http, broken, "1-3") == b""
        for generation_id, text, end in ((whole, TEXT, "1-6"), (broken, "Hello world", "1-3")):
            kept = shown(http, generation_id)
            assert (kept["text"], kept["position"]) == (text, end)
            before = f"1-{int(end[2:]) - 1}"
            events = poll(http, generation_id, "1-1")["events"]
            assert events[0] == {"position": before, "type": "reset", "text": text}
            assert [event["position"] for event in events] == [before, end]
            assert poll(http, generation_id, before)["events"] == events[1:]
        failed = poll(http, broken)["events"][-1]
        assert (failed["type"], failed["code"], failed["retryable"]) == (
            "failed", "interrupted", True
        )  # fmt: skip


def test_a_server_that_was_killed_tells_in_a_new_epoch_what_it_has_kept(
    folder: Path, provider: Provider
) -> None:
    gates = {"heard": 2, "unheard": BEFORE_HEADERS}
    provider.answer(
        "test", lambda ask: Answer(PIECES, gate_after=gates[ask["messages"][-1]["content"]])
    )
    left = folder / "left"
    left.mkdir()
    with LiveServer(settings_for(folder)) as first:
        headers = first.user("ana").headers
        with httpx.Client(base_url=first.url, headers=headers, timeout=30) as http:
            broken, unheard = (
                http.post("/chat", json={"message": message, "background": True}).json()
                for message in gates
            )
            broken, unheard = broken["generation_id"], unheard["generation_id"]
            provider.at_gate.wait_at_least(2)
            until(lambda: shown(http, broken)["position"] == "1-2")
        keep_what_a_kill_leaves(folder, left)
    with (
        LiveServer(settings_for(left)) as second,
        httpx.Client(base_url=second.url, headers=headers, timeout=30) as http,
    ):
        for generation_id, text in ((broken, "Hello world"), (unheard, "")):
            kept = shown(http, generation_id)
            assert (kept["status"], kept["text"], kept["position"]) == ("interrupted", text, "2-1")
            assert kept["error"]["code"] == "interrupted"
            for form in FORMS:
                reset = frame_of(form, "reset", {"text": text}, "2-0")
                end = frame_of(form, "failed", kept["error"], "2-1")
                for place in ("", "1-0", "1-1", "1-2", "1-3", "1-99", "2-2", "3-0"):
                    assert attach(http, generation_id, place, format=form) == reset + end
                assert attach(http, generation_id, "2-0", format=form) == end
                assert attach(http, generation_id, "2-1", format=form) == b""


def shown(http: httpx.Client, generation_id: str) -> Json:
    return http.get(f"/api/generations/{generation_id}").json()


def keep_what_a_kill_leaves(folder: Path, left: Path) -> None:
    """The data as it is on the disk at this moment; the server works on and knows nothing."""
    only_on_sqlite("a crash is a copy of its file")
    for name in ("models.json", "jwt_secret"):
        shutil.copy(folder / name, left / name)
    with (
        closing(sqlite3.connect(folder / "runnel.db")) as here,
        closing(sqlite3.connect(left / "runnel.db")) as there,
    ):
        here.backup(there)
