"""Questions and answers of what is purged are taken out of the lines of all runs; the lines stay."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from structlog.testing import capture_logs

from provider import Answer, Provider
from runlog import interactions, run_folder
from runnel.telemetry import forgetting
from runnel.telemetry.forgetting import RunTexts
from runnel.telemetry.run_folder import RunFolder
from runnel.telemetry.runs import RunLog, encoded
from serving import LiveServer, settings_for
from standing import Json, standing
from wire import bearer, models_of

CHAT = "/chat"
MINE, OTHERS, USER = "session-mine", "session-others", "user-mine"


def line(session: str = MINE, user: str = USER, **members: str) -> bytes:
    whose = {"time": "now", "session_id": session, "user_id": user, "error": None}
    return encoded(whose | members)


def texts(question: str = 'a "canary", and \\"question\\":', answer: str = "canary\n") -> Json:
    return {"question": question, "answer": answer}


class Runs:
    """Folders of runs, beside the one that is being written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        own = RunFolder(folder / "own", b"{}\n", max_bytes=10**6, files=3)
        self.log = RunLog(own, waiting=100, texts=True, conceal=str, lost=lambda _: None)
        self.texts = RunTexts(folder, self.log)

    def write(self, run: str, *lines: bytes, logs: object = True, number: int = 0) -> Path:
        there = self.folder / run
        there.mkdir(exist_ok=True, parents=True)
        (there / "manifest.json").write_text(json.dumps({"settings": {"log_messages": logs}}))
        file = there / (f"interactions.{number}.jsonl" if number else "interactions.jsonl")
        file.write_bytes(b"".join(lines))
        return file

    async def forget(self, *ids: str) -> None:
        await self.texts.forget(ids)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    there = Runs(tmp_path / "runs")
    there.log.open()
    yield there
    there.log.close()


def read(file: Path) -> list[Json]:
    return [json.loads(each) for each in file.read_bytes().split(b"\n")[:-1]]


async def test_lines_of_a_session_lose_their_texts_and_nothing_else(runs: Runs) -> None:
    before = [line(**texts()), line(OTHERS, **texts()), line(), line(**texts(answer=""))]
    file = runs.write("earlier", *before)
    size = file.stat().st_size
    await runs.forget(MINE)
    bare, other = json.loads(line()), json.loads(before[1])
    assert read(file) == [bare, other, bare, bare]
    # Whoever writes behind them has to be right about where that is.
    assert file.stat().st_size == size
    assert file.read_bytes().count(b"canary") == 2


async def test_lines_of_a_user_are_those_of_all_sessions(runs: Runs) -> None:
    file = runs.write(
        "earlier", line(**texts()), line(OTHERS, **texts()), line("x", "y", **texts())
    )
    full = runs.write("earlier", line(**texts()), number=2)
    await runs.forget(USER)
    assert read(file) == [
        json.loads(line()),
        json.loads(line(OTHERS)),
        {**json.loads(line("x", "y")), **texts()},
    ]
    assert read(full) == [json.loads(line())]


async def test_what_a_client_wrote_of_another_session_is_not_taken_for_it(runs: Runs) -> None:
    file = runs.write("earlier", line(OTHERS, "eve", **texts(line(**texts()).decode())))
    before = file.read_bytes()
    await runs.forget(MINE, USER)
    assert file.read_bytes() == before


async def test_a_line_that_a_crash_cut_is_blanked_to_its_end(runs: Runs) -> None:
    whole = line(**texts())
    file = runs.write("earlier", line(OTHERS), whole[:-12])
    await runs.forget(MINE)
    assert b"canary" not in file.read_bytes()
    assert read(file) == [json.loads(line(OTHERS))]


async def test_what_a_crash_left_half_blanked_is_blanked_the_next_time(runs: Runs) -> None:
    whole = line(**texts())
    mark = whole.index(b',"question":') + len(b',"question":')
    half = whole[:mark] + b" " * 5 + whole[mark + 5 :]
    file = runs.write("earlier", half, line(OTHERS, **texts()))
    await runs.forget(MINE)
    assert read(file) == [json.loads(line()), json.loads(line(OTHERS, **texts()))]


async def test_runs_that_never_held_texts_are_not_read(runs: Runs) -> None:
    file = runs.write("earlier", line(**texts()), logs=False)
    before = file.read_bytes()
    await runs.forget(MINE)
    assert file.read_bytes() == before
    strange = runs.write("strange", line(**texts()), logs="perhaps")
    (strange.parent / "manifest.json").write_text("no manifest")
    await runs.forget(MINE)
    assert read(strange) == [json.loads(line())]


async def test_a_file_that_cannot_be_read_is_said_and_keeps_no_other_from_it(runs: Runs) -> None:
    first = runs.write("a", line(**texts()))
    bad = runs.write("b")
    last = runs.write("c", line(**texts()))
    bad.unlink()
    bad.symlink_to(bad)
    with pytest.raises(OSError, match="symbolic links"):
        await runs.forget(MINE)
    assert [read(file) for file in (first, last)] == [[json.loads(line())]] * 2
    bad.unlink()
    await runs.forget(MINE)


async def test_what_is_no_file_of_lines_is_left_alone(runs: Runs) -> None:
    os.mkfifo(runs.write("a").parent / "interactions.1.jsonl")
    (runs.folder / "a file").write_text("no run")
    await runs.forget(MINE)


async def test_without_any_run_there_is_nothing_to_forget(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "nowhere")
    (tmp_path / "nowhere").write_text("a file, where a folder should be")
    runs.log.open()
    await runs.forget(MINE)
    runs.log.close()


async def test_files_that_turn_over_meanwhile_are_all_read(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = runs.write("own", line(**texts()))
    older = runs.write("own", line(**texts()), number=1)
    blank = forgetting._blank_file
    opened: list[bytes] = []

    def turning_over(file: Any, ids: frozenset[bytes]) -> None:
        if not opened:
            older.replace(older.with_name("interactions.2.jsonl"))
            newest.replace(older)
            newest.write_bytes(line(OTHERS))
        opened.append(b"")
        blank(file, ids)

    monkeypatch.setattr(forgetting, "_blank_file", turning_over)
    await runs.forget(MINE)
    assert opened
    for file in newest.parent.glob("*.jsonl"):
        assert b"canary" not in file.read_bytes()


def purge(server: LiveServer, user_id: str, session_id: str) -> None:
    server.call(server.server.parts.purging.purge_session(user_id, session_id))


def test_a_purge_takes_texts_out_of_the_run_that_is_written(migrated: Path, tmp_path: Path) -> None:
    with standing(migrated, tmp_path, log_messages=True) as stand:
        user_id = stand.client.get("/me").json()["id"]
        gone = stand.ask(CHAT, Answer(("a canary",))).json()
        kept = stand.ask(CHAT, Answer(("another",))).json()
        interactions(stand.server, 2)
        purge(stand.server, user_id, gone["session_id"])
        stand.ask(CHAT, Answer(("a third",)))
        first, second, third = interactions(stand.server, 3)
    assert first["generation_id"] == gone["generation_id"]
    assert first["usage"]["total_tokens"] > 0
    assert not {"question", "answer"} & set(first)
    assert (second["generation_id"], second["answer"]) == (kept["generation_id"], "another")
    assert third["answer"] == "a third"


def test_lines_that_wait_to_be_written_have_no_texts_either(migrated: Path, tmp_path: Path) -> None:
    with standing(migrated, tmp_path, log_messages=True) as stand:
        file = run_folder(stand.server) / "interactions.jsonl"
        file.unlink()
        os.mkfifo(file)  # whoever opens it to write hangs until there is a reader
        for _ in range(4):
            stand.ask(CHAT, Answer(("a canary",)), session_id="s")
        [(gone,)] = stand.rows("SELECT id FROM sessions")
        stand.ask(CHAT, Answer(("another",)))
        runs = cast("RunTexts", stand.server.server.parts.purging._texts)._runs
        written = runs.forget([gone])
        assert not written.done()
        stand.ask(CHAT, Answer(("a late canary",)), session_id="s")
        with file.open("rb") as reader:
            told = [json.loads(reader.readline()) for _ in range(6)]
        written.result(5)
        # One may have been in the writer's hands.
        assert [line.get("answer") for line in told[1:]] == [None, None, None, "another", None]
        file.unlink()


def test_a_disk_that_hangs_does_not_hold_up_a_purge_for_ever(
    migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "_WRITTEN_SECONDS", 0.1)
    with capture_logs() as logged, standing(migrated, tmp_path, log_messages=True) as stand:
        file = run_folder(stand.server) / "interactions.jsonl"
        file.unlink()
        os.mkfifo(file)
        asked = stand.ask(CHAT, Answer(("canary",))).json()
        user_id = stand.client.get("/me").json()["id"]
        purge(stand.server, user_id, asked["session_id"])
        assert stand.client.delete("/me").status_code == 503
        # The row stays, so that the clean-up tries again.
        assert stand.rows("SELECT count(*) FROM messages") == [(0,)]
        assert stand.rows("SELECT purged_at IS NULL FROM sessions") == [(0,)]
        file.open("rb").close()
        file.unlink()
        assert stand.client.delete("/me").status_code == 204
    left = [entry for entry in logged if entry["event"] == "purge.texts_left"]
    assert [entry["log_level"] for entry in left] == ["error", "error"]


def test_a_deleted_user_is_forgotten_in_earlier_runs_too(
    migrated: Path, tmp_path: Path, provider: Provider
) -> None:
    with standing(migrated, tmp_path, log_messages=True) as stand:
        stand.ask(CHAT, Answer(("a canary",)))
        interactions(stand.server, 1)
        user = stand.user
    (tmp_path / "models.json").write_text(json.dumps(models_of(provider)))
    with LiveServer(settings_for(tmp_path)) as second:
        body = {"username": user.username, "password": user.password}
        with httpx.Client(base_url=second.url, timeout=30) as client:
            token = client.post("/login", json=body).json()["access_token"]
            assert client.delete("/me", headers=bearer(token)).status_code == 204
    files = list((tmp_path / "runs").glob("*/interactions*"))
    assert len(files) == 2
    for file in files:
        assert b"canary" not in file.read_bytes()
        assert b"question" not in file.read_bytes()
