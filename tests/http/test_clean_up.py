"""The clean-up of a running server: what goes by its age, with its files and its texts."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from provider import Answer
from serving import LiveServer, settings_for
from standing import Json, Standing, standing
from waiting import until
from wire import query, settle

CHAT: Final = "/chat"
ROUNDS: Final = {
    "clean_up_seconds": 0.1,
    "session_close_days": 2,
    "session_purge_days": 3,
    "hidden_session_days": 4,
    "attachment_unused_hours": 5,
}


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(migrated, tmp_path_factory.mktemp("clean-up"), **ROUNDS) as there:
        yield there


def aged(stand: Standing, table: str, column: str, row_id: str, **ago: float) -> None:
    moment = (datetime.now(UTC) - timedelta(**ago)).replace(tzinfo=None).isoformat(" ")
    update = f"UPDATE {table} SET {column} = ? WHERE id = ?"  # noqa: S608 - names of ours
    query(stand.server, update, moment, row_id)


def there(stand: Standing, table: str, row_id: str) -> bool:
    return bool(query(stand.server, f"SELECT id FROM {table} WHERE id = ?", row_id))  # noqa: S608 - same


def session(stand: Standing, session_id: str) -> Json:
    shown = stand.client.get(f"/api/chat/sessions/{session_id}")
    assert shown.status_code == 200, shown.text
    return shown.json()


def attachment(stand: Standing) -> str:
    given = stand.client.post("/api/attachments", files={"file": ("a.txt", b"canary of a file")})
    assert given.status_code == 201, given.text
    return given.json()["attachment_id"]


def files(stand: Standing) -> list[Path]:
    folder = stand.server.settings.data_dir / "attachments"
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_session_is_closed_and_later_gone_with_all_that_it_had(stand: Standing) -> None:
    old = stand.ask(CHAT, Answer(("old",)), session_id="old").json()["session_id"]
    new = stand.ask(CHAT, Answer(("new",)), session_id="new").json()["session_id"]
    given = attachment(stand)
    query(stand.server, "UPDATE attachments SET session_id = ? WHERE id = ?", old, given)
    usage = stand.client.get("/api/usage").json()
    aged(stand, "sessions", "last_activity", old, days=2.1)
    aged(stand, "sessions", "last_activity", new, days=1.9)
    until(lambda: session(stand, old)["status"] == "closed")
    refused = stand.client.post(CHAT, json={"message": "q", "session_id": old})
    assert (refused.status_code, refused.json()["code"]) == (409, "session_closed")
    assert files(stand)
    aged(stand, "sessions", "closed_at", old, days=3.1)
    until(lambda: not there(stand, "sessions", old))
    assert files(stand) == []
    assert session(stand, new)["status"] != "closed"
    assert stand.client.get("/api/usage").json() == usage
    assert query(stand.server, "SELECT count(*) FROM messages WHERE session_id = ?", old) == [(0,)]


def test_what_v1_was_asked_goes_and_its_usage_stays(stand: Standing) -> None:
    body = {
        "model": "chat/test",
        "messages": [{"role": "user", "content": stand.prompt(Answer(("hi",)))}],
    }
    for _ in range(2):
        assert stand.client.post("/v1/chat/completions", json=body).status_code == 200
    usage = stand.client.get("/api/usage").json()
    [(old,), (new,)] = query(stand.server, "SELECT id FROM sessions WHERE hidden = true")
    aged(stand, "sessions", "last_activity", old, days=4.1)
    aged(stand, "sessions", "last_activity", new, days=3.9)
    until(lambda: not there(stand, "sessions", old))
    assert there(stand, "sessions", new)
    assert stand.client.get("/api/usage").json() == usage


def test_an_attachment_that_nobody_has_used_goes(stand: Standing) -> None:
    old, new = attachment(stand), attachment(stand)
    aged(stand, "attachments", "created_at", old, hours=5.1)
    aged(stand, "attachments", "created_at", new, hours=4.9)
    until(lambda: not there(stand, "attachments", old))
    assert there(stand, "attachments", new)
    assert [path.name for path in files(stand)] == [new]


def test_a_session_that_is_being_answered_is_left_alone(stand: Standing) -> None:
    with stand.gate_closed():
        asked = stand.ask(CHAT, Answer(["one", " two"], gate_after=1), background=True).json()
        stand.provider.at_gate.wait_at_least(1)
        aged(stand, "sessions", "last_activity", asked["session_id"], days=9)
        other = stand.ask(CHAT, Answer(("other",))).json()["session_id"]
        aged(stand, "sessions", "last_activity", other, days=9)
        until(lambda: session(stand, other)["status"] == "closed")
        assert session(stand, asked["session_id"])["status"] != "closed"
        stand.provider.release()
        settle(stand.server)
        assert session(stand, asked["session_id"])["status"] == "active"
        aged(stand, "sessions", "last_activity", asked["session_id"], days=9)
        until(lambda: session(stand, asked["session_id"])["status"] == "closed")
    assert stand.generation(asked["generation_id"])["text"] == "one two"


def test_the_next_start_goes_on_with_a_purge_that_a_crash_broke_off(
    migrated: Path, tmp_path: Path
) -> None:
    with standing(migrated, tmp_path, log_messages=True) as stand:
        gone = stand.ask(CHAT, Answer(("a canary",))).json()["session_id"]
        given = attachment(stand)
        query(stand.server, "UPDATE attachments SET session_id = ? WHERE id = ?", gone, given)
        marks = "UPDATE sessions SET purged_at = closed_at, hidden = true WHERE id = ?"
        aged(stand, "sessions", "closed_at", gone, seconds=1)
        query(stand.server, marks, gone)
        assert len(files(stand)) == 1
    with LiveServer(settings_for(tmp_path)) as second:
        until(lambda: query(second, "SELECT * FROM sessions") == [])
        assert query(second, "SELECT * FROM messages") == []
        assert len(query(second, "SELECT * FROM kept_usage")) == 1
    assert files(stand) == []
    for file in (tmp_path / "runs").glob("*/interactions*"):
        assert b"canary" not in file.read_bytes()


def test_a_file_that_the_disk_does_not_let_go_of_is_tried_again(
    stand: Standing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, other = (stand.ask(CHAT, Answer((text,))).json()["session_id"] for text in "ab")
    given = attachment(stand)
    query(stand.server, "UPDATE attachments SET session_id = ? WHERE id = ?", gone, given)
    unlink = Path.unlink

    def stuck(self: Path, *, missing_ok: bool = False) -> None:
        if self.name == given:
            raise PermissionError(13, "Permission denied")
        unlink(self, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stuck)
        for session_id in (gone, other):
            aged(stand, "sessions", "closed_at", session_id, days=4)
        until(lambda: not there(stand, "sessions", other))
        assert there(stand, "sessions", gone)
        # For everybody it is gone already.
        assert stand.client.get(f"/api/chat/sessions/{gone}").status_code == 404
    until(lambda: not there(stand, "sessions", gone))
    assert given not in {path.name for path in files(stand)}
    assert "clean_up." in capsys.readouterr().out
