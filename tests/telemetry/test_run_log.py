"""The run log of a real server: a line for every answer that ended, whatever became of it."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from provider import Answer, Provider
from runlog import interactions, manifest_of, run_folder
from serving import LiveServer, settings_for
from standing import Json, standing
from waiting import until

CHAT = "/chat"
PIECES = ("Hello", " world")
MEMBERS = {
    "time",
    "generation_id",
    "session_id",
    "user_id",
    "message_id",
    "alias",
    "provider",
    "model",
    "status",
    "finish_reason",
    "latency_ms",
    "first_token_ms",
    "usage",
    "error",
}


def lost(server: LiveServer, reason: str) -> float:
    page = httpx.get(f"{server.url}/metrics").text
    name = f'runnel_run_log_lines_lost_total{{reason="{reason}"}} '
    [line] = [line for line in page.splitlines() if line.startswith(name)]
    return float(line.removeprefix(name))


def test_every_end_has_a_line_that_says_how_it_was(migrated: Path, tmp_path: Path) -> None:
    with standing(migrated, tmp_path) as stand:
        whole = stand.ask(CHAT, Answer(PIECES, usage=(7, 3))).json()
        failed = stand.ask(CHAT, Answer(status=500)).json()
        accepted = stand.ask(CHAT, Answer(PIECES, gate_after=1), background=True).json()
        stand.provider.at_gate.wait_at_least(1)
        stand.client.post(accepted["abort_url"]).raise_for_status()
        lines = interactions(stand.server, 3)
        user_id = stand.client.get("/me").json()["id"]
    assert [line["status"] for line in lines] == ["completed", "failed", "aborted"]
    assert all(set(line) == MEMBERS for line in lines)
    first, second, third = lines
    for name in ("generation_id", "session_id", "message_id", "finish_reason"):
        assert first[name] == whole[name]
    assert first["user_id"] == user_id
    assert (first["alias"], first["provider"], first["model"]) == ("chat/test", "openai", "test")
    assert first["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "total_tokens": 10,
        "source": "provider",
    }
    assert first["latency_ms"] >= first["first_token_ms"] >= 0
    assert first["time"].endswith("Z")
    assert first["error"] is None
    assert second["generation_id"] == failed["generation_id"]
    assert second["error"]["code"] == "upstream_error"
    assert second["error"]["message"]
    assert second["first_token_ms"] is None
    assert (third["usage"]["source"], third["error"]) == ("estimated", None)


def test_the_cost_is_in_the_usage_where_there_is_a_price(serve: Any, provider: Provider) -> None:
    alias = {"provider": "openai", "model": "test", "base_url": provider.url}
    priced = alias | {"price": {"input": 1000, "output": 2000}}
    server = serve(models={"aliases": {"chat/test": priced}})
    provider.answer("test", Answer(PIECES, usage=(3, 2)))
    ask(server)
    [line] = interactions(server, 1)
    assert line["usage"]["cost"] == 0.007


def ask(server: LiveServer, message: str = "hi", user: str = "ada") -> Json:
    headers = server.user(user).headers
    with httpx.Client(base_url=server.url, headers=headers, timeout=30) as http:
        return http.post(CHAT, json={"message": message}).raise_for_status().json()


@pytest.mark.parametrize("log_messages", [False, True])
def test_texts_are_in_the_lines_only_if_that_is_wanted(
    migrated: Path, tmp_path: Path, *, log_messages: bool
) -> None:
    with standing(migrated, tmp_path, log_messages=log_messages) as stand:
        stand.ask(CHAT, Answer(("a canary", " \U0001f426\n\u2028two")))
        [line] = interactions(stand.server, 1)
    if log_messages:
        assert line["question"].startswith("question ")
        assert line["answer"] == "a canary \U0001f426\n\u2028two"
    else:
        assert set(line) == MEMBERS
        assert "canary" not in json.dumps(line)


def test_keys_that_people_write_are_in_no_line(migrated: Path, tmp_path: Path) -> None:
    password = "the admin's own password"
    with standing(migrated, tmp_path, log_messages=True, admin_password=password) as stand:
        said = f"my key is rnl_abcdefgh12345678, and {password}"
        stand.ask(CHAT, Answer((said, f'"Bearer {stand.user.token}"')))
        [line] = interactions(stand.server, 1)
        files = [path.read_text() for path in run_folder(stand.server).iterdir()]
    assert line["answer"] == 'my key is [secret], and [secret]"Bearer [secret]"'
    for text in files:
        assert password not in text
        assert stand.user.token not in text


def test_the_manifest_says_what_runs_and_holds_no_secret(
    migrated: Path, tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk_canary-of-groq")
    shutil.copy(migrated, tmp_path / "runnel.db")
    settings = settings_for(
        tmp_path,
        openai_api_key="sk-canary-openai",
        openai_base_url=provider.url.replace("://", "://me:canary-in-an-url@"),
        admin_password="canary of the admin",
        jwt_secret="canary-jwt-secret-that-is-long-enough",
        metrics_token="canary-of-metrics",
        system_prompt="never say sk-canary-openai",
        temperature=0.5,
    )
    with LiveServer(settings) as server:
        said = manifest_of(server)
        assert run_folder(server).name == said["run_id"]
    assert "canary" not in json.dumps(said)
    assert set(said) == {
        *("run_id", "started_at", "runnel", "git_sha", "python", "dependencies", "settings"),
    }
    shown = said["settings"]
    assert (shown["temperature"], shown["runs_dir"]) == (0.5, str(tmp_path / "runs"))
    assert shown["openai_base_url"].startswith("http://[secret]@127.0.0.1:")
    assert shown["system_prompt"] == "never say [secret]"
    assert said["dependencies"]["fastapi"]
    assert said["dependencies"]["langchain-openai"]


def test_runs_sort_by_time(migrated: Path, tmp_path: Path) -> None:
    shutil.copy(migrated, tmp_path / "runnel.db")
    began: list[str] = []
    for _ in range(2):
        with LiveServer(settings_for(tmp_path)):
            runs = tmp_path / "runs"
            until(lambda runs=runs: len(list(runs.glob("*/manifest.json"))) > len(began))
            [new] = {folder.name for folder in runs.iterdir()} - set(began)
            began.append(new)
    assert began == sorted(began)


def test_what_a_crash_left_is_told_by_the_next_run(migrated: Path, tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    (tmp_path / "first").mkdir()
    with standing(migrated, tmp_path / "first") as stand:
        accepted = stand.ask(CHAT, Answer(PIECES, gate_after=1), background=True).json()
        stand.provider.at_gate.wait_at_least(1)
        until(lambda: stand.rows("SELECT count(*) FROM checkpoints") == [(1,)])
        data = stand.server.settings.data_dir
        shutil.copy(data / "models.json", left / "models.json")
        with (
            closing(sqlite3.connect(data / "runnel.db")) as here,
            closing(sqlite3.connect(left / "runnel.db")) as there,
        ):
            here.backup(there)
        with LiveServer(settings_for(left, log_messages=True)) as second:
            [line] = interactions(second, 1)
            page = httpx.get(f"{second.url}/metrics").text
    assert line["generation_id"] == accepted["generation_id"]
    assert (line["status"], line["error"]["code"]) == ("interrupted", "interrupted")
    assert (line["question"], line["answer"]) == ("question 1", "Hello")
    assert line["usage"]["source"] == "estimated"
    tokens = line["usage"]["completion_tokens"]
    assert f'runnel_tokens_total{{kind="completion",model="chat/test"}} {tokens}.0' in page


def test_a_stop_writes_what_it_interrupts(migrated: Path, tmp_path: Path) -> None:
    with standing(migrated, tmp_path) as stand:
        stand.ask(CHAT, Answer(PIECES, gate_after=1), background=True)
        stand.provider.at_gate.wait_at_least(1)
        folder = run_folder(stand.server)
    [line] = (folder / "interactions.jsonl").read_text().splitlines()
    assert json.loads(line)["status"] == "interrupted"


def test_files_turn_over_and_only_so_many_stay(migrated: Path, tmp_path: Path) -> None:
    with standing(migrated, tmp_path, run_log_max_bytes=1200, run_log_files=2) as stand:
        for _ in range(8):
            stand.ask(CHAT, Answer(PIECES))
        newest = stand.ask(CHAT, Answer(PIECES)).json()["generation_id"]
        folder = run_folder(stand.server)
        until(lambda: newest in (folder / "interactions.jsonl").read_text())
    names = {path.name for path in folder.iterdir()}
    assert names == {"manifest.json", "interactions.jsonl", "interactions.1.jsonl"}
    for path in folder.glob("*.jsonl"):
        assert path.stat().st_size <= 1200
        assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_full_disk_stops_no_answer_and_is_said_once(migrated: Path, tmp_path: Path) -> None:
    with capture_logs() as logged, standing(migrated, tmp_path) as stand:
        file = run_folder(stand.server) / "interactions.jsonl"
        file.unlink()
        file.symlink_to("/dev/full")
        for _ in range(3):
            assert stand.ask(CHAT, Answer(PIECES)).json()["text"] == "Hello world"
        until(lambda: lost(stand.server, "not_written") == 3)
        file.unlink()
        kept = stand.ask(CHAT, Answer(PIECES)).json()["generation_id"]
        [line] = interactions(stand.server, 1)
        assert line["generation_id"] == kept
        assert lost(stand.server, "not_written") == 3
    told = [entry for entry in logged if entry["event"].startswith("run_log.")]
    assert [entry["event"] for entry in told] == ["run_log.not_written", "run_log.written_again"]
    assert "space" in told[0]["why"]


def test_a_folder_that_vanishes_is_made_anew(migrated: Path, tmp_path: Path) -> None:
    with standing(migrated, tmp_path) as stand:
        stand.ask(CHAT, Answer(PIECES))
        interactions(stand.server, 1)
        shutil.rmtree(tmp_path / "runs")
        second = stand.ask(CHAT, Answer(PIECES)).json()["generation_id"]
        [line] = interactions(stand.server, 1)
        assert line["generation_id"] == second
        assert manifest_of(stand.server)["run_id"] == run_folder(stand.server).name


def test_a_folder_that_cannot_be_made_stops_neither_the_start_nor_an_answer(
    migrated: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file, where a folder should be")
    with capture_logs() as logged, standing(migrated, tmp_path, runs_dir=tmp_path / "taken") as s:
        assert s.ask(CHAT, Answer(PIECES)).json()["text"] == "Hello world"
        until(lambda: lost(s.server, "not_written") == 1)
    assert [entry["event"] for entry in logged].count("run_log.not_written") == 1


def test_a_disk_that_hangs_costs_lines_and_no_answer(migrated: Path, tmp_path: Path) -> None:
    with standing(migrated, tmp_path, run_log_queue_lines=2) as stand:
        file = run_folder(stand.server) / "interactions.jsonl"
        file.unlink()
        os.mkfifo(file)  # whoever opens it to write hangs until there is a reader
        for _ in range(6):
            assert stand.ask(CHAT, Answer(PIECES)).status_code == 200
        # One is being written, or two if they came together, and two wait.
        assert 2 <= lost(stand.server, "queue_full") <= 3
        with file.open("rb") as reader:
            told = [json.loads(reader.readline()) for _ in range(3)]
        assert {line["status"] for line in told} == {"completed"}
        file.unlink()
