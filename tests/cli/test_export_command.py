"""`runnel export` and `runnel import`: in pipes, in files, beside a server, with users at fault."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from commands import Here, begun, said_by

from processes import house_of, starting
from provider import Provider
from runnel.files.one_import import only_import

_BIG: Final = 4 * 1024 * 1024
EXPORT: Final = Path(__file__).with_name("export.jsonl")
#: A session of two questions and an answer, of which one is asked anew; as it was exported.
LINES: Final = EXPORT.read_bytes()


@pytest.fixture
def house(here: Here) -> Here:
    """Commands of a house in which ada has what is in LINES, and eve nothing."""
    assert here("users", "add", "ada").returncode == 0
    assert here("users", "add", "eve").returncode == 0
    ended = here("import", "ada", "-", given=LINES)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "Imported 1 session, 4 messages and 1 attachment.\n"
    return here


def test_what_comes_in_goes_out_again(house: Here) -> None:
    assert house("export", "ada", "--format", "jsonl").stdout == LINES.decode()
    by_name = house("export", "ADA", "--format", "jsonl", "--session", "a:talk")
    assert (by_name.returncode, by_name.stdout) == (0, LINES.decode())


def test_all_formats_are_written(house: Here) -> None:
    assert json.loads(house("export", "ada").stdout)["runnel_export"] == 1
    assert house("export", "ada", "--format", "markdown").stdout.startswith("# A title\n")
    assert house("export", "ada", "--format", "text").stdout.startswith("A title\n=======\n")


def test_a_file_is_for_its_owner_alone_and_there_once_it_is_whole(
    house: Here, tmp_path: Path
) -> None:
    file = tmp_path / "talk.jsonl"
    ended = house("export", "ada", "--format", "jsonl", "--output", str(file))
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == f"Exported to {file}.\n"
    assert file.read_bytes() == LINES
    assert file.stat().st_mode & 0o777 == 0o600
    ended = house("export", "ada", "--session", "none", "--output", str(file))
    assert (ended.returncode, ended.stderr) == (1, "runnel: There is no such session.\n")
    assert file.read_bytes() == LINES
    assert not [*tmp_path.glob("*.part")]


def test_what_is_there_already_is_named_and_left_out(house: Here, tmp_path: Path) -> None:
    file = tmp_path / "talk.jsonl"
    file.write_bytes(LINES)
    session_id = json.loads(LINES.splitlines()[1])["session_id"]
    for user in ("ada", "eve"):
        ended = house("import", user, str(file))
        assert ended.returncode == 1
        assert ended.stderr == f"runnel: line 2: session {session_id}: it exists already\n"
        assert ended.stdout.endswith(" 0 attachments. Left out: 1 session.\n")
    assert house("export", "ada", "--format", "jsonl").stdout == LINES.decode()
    assert json.loads(house("export", "eve").stdout)["sessions"] == []


def test_a_file_at_fault_says_where_and_brings_nothing_of_that_session(here: Here) -> None:
    assert here("users", "add", "eve").returncode == 0
    ended = here("import", "eve", "-", given=LINES.replace(b'"role":"user"', b'"role":"nobody"'))
    assert ended.returncode == 1
    assert ended.stderr == (
        "runnel: Imported 0 sessions, 0 messages and 0 attachments. Then:\n"
        "runnel: line 4: role: Input should be 'user', 'assistant', 'system' or 'tool'\n"
    )
    assert json.loads(here("export", "eve").stdout)["sessions"] == []
    ended = here("import", "eve", "-", given=b"{}")
    assert ended.returncode == 1
    assert "this is no export of Runnel's" in ended.stderr
    assert here("import", "eve", "-", given=LINES).returncode == 0


def test_a_file_that_is_not_what_its_record_says_is_refused(here: Here, tmp_path: Path) -> None:
    assert here("users", "add", "eve").returncode == 0
    forged = LINES.replace(b'"text/plain","bytes":21', b'"image/png","bytes":21')
    ended = here("import", "eve", "-", given=forged)
    assert ended.returncode == 1
    assert "its data is text/plain, and not image/png" in ended.stderr
    without = LINES.replace(b'"characters":19', b'"characters":null')
    assert without != LINES
    assert here("import", "eve", "-", given=without).returncode == 1
    assert not [each for each in (tmp_path / "data").rglob("*000020*") if each.is_file()]
    assert here("import", "eve", "-", given=LINES).returncode == 0
    assert [each for each in (tmp_path / "data").rglob("*000020*") if each.is_file()]


def test_imports_do_not_get_into_each_others_way(here: Here, tmp_path: Path) -> None:
    """Each would take what the other has begun of a session for what a crash has left."""
    assert here("users", "add", "ada").returncode == 0
    with only_import(tmp_path / "data"):
        ended = here("import", "ada", "-", given=LINES)
    assert ended.returncode == 1
    assert ended.stderr.startswith("runnel: Another import is running.")
    assert here("import", "ada", "-", given=LINES).returncode == 0


def test_what_cannot_be_called_so_is_bad_usage(house: Here, tmp_path: Path) -> None:
    for arguments in (
        ("import", "ada", str(tmp_path / "none")),
        ("import", "ada", str(tmp_path)),
        ("export", "ada", "--output", str(tmp_path / "none" / "none")),
        ("export", "ada", "--output", str(tmp_path)),
        ("export", "ada", "--session", "a b"),
        ("export", "ada", "--format", "pdf"),
        ("export",),
    ):
        assert house(*arguments).returncode == 2, arguments
    for arguments in (("import", "nobody", "-"), ("export", "nobody")):
        ended = house(*arguments, given=LINES)
        assert (ended.returncode, ended.stderr) == (1, "runnel: There is no user of that name.\n")


def test_both_work_beside_a_running_server(tmp_path: Path) -> None:
    with Provider() as provider, starting(house_of(provider, tmp_path)) as start:
        served = start()
        ended = said_by(tmp_path, "import", "admin", "-", given=LINES)
        assert (ended.returncode, ended.stderr) == (0, b"")
        answer = served.post("/chat", message="go on", session_id="a:talk").raise_for_status()
        lines = said_by(tmp_path, "export", "admin", "--format", "jsonl").stdout.splitlines()
    assert json.loads(lines[1])["active_message_id"] == answer.json()["message_id"]
    assert len(lines) == len(LINES.splitlines()) + 2


def test_a_pipe_that_closes_ends_the_export_without_a_word(here: Here, tmp_path: Path) -> None:
    assert here("users", "add", "ada").returncode == 0
    session, message = (json.loads(LINES.splitlines()[number]) for number in (1, 3))
    message |= {"content": "x" * _BIG, "attachments": []}
    session |= {"active_message_id": message["message_id"]}
    records = [{"runnel_export": 1}, session, message, {"type": "end"}]
    export = "\n".join(map(json.dumps, records)).encode()
    assert here("import", "ada", "-", given=export).returncode == 0
    with begun(tmp_path, "export", "ada", "--format", "text") as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(7) == b"A title"
        process.stdout.close()
        assert process.wait(50) == 1
        assert process.stderr.read() == b""


def test_what_a_killed_import_has_left_is_hidden_and_taken_up_again(
    here: Here, tmp_path: Path
) -> None:
    assert here("users", "add", "ada").returncode == 0
    assert here("import", "ada", "-", given=LINES).returncode == 0
    # As it stands until the last transaction.
    with closing(sqlite3.connect(tmp_path / "data" / "runnel.db")) as database, database:
        database.execute("UPDATE sessions SET hidden = 1, leaf_id = NULL, name = NULL")
    assert json.loads(here("export", "ada").stdout)["sessions"] == []
    ended = here("import", "ada", "-", given=LINES)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert here("export", "ada", "--format", "jsonl").stdout == LINES.decode()
