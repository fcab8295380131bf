"""The command line, as a person meets it: what it prints, and its exit codes."""

import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from plain_logs import write_plainly
from runnel.edge.cli.main import main

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs `runnel` with arguments in a folder of its own, in the test's process for speed."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["runnel", *arguments])
            for name, value in environment.items():
                patched.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        said = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    yield run
    write_plainly()
    logging.getLogger().handlers.clear()


UVICORN = ("-m", "uvicorn", "runnel.asgi:app", "--port", "0")


@contextmanager
def starting(folder: Path, *arguments: str, **environment: str) -> Generator[subprocess.Popen[str]]:
    """A server as a process of its own, told to stop at the end."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def line_with(process: subprocess.Popen[str], word: str) -> str:
    """The first line of its output that has a word; its faults if there is none."""
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        if word in line:
            return line
    raise AssertionError(process.stderr.read())


def test_a_process_ends_with_the_commands_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runnel", "token", "nobody"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith("runnel: There is no user of that name.\n")


def test_an_account_is_added_listed_disabled_and_enabled(run: Run, tmp_path: Path) -> None:
    added = run("users", "add", "ana")
    assert added.returncode == 0, added.stderr
    assert "Added ana (user). Password: " in added.stdout
    run("users", "disable", "ana")
    assert "ana\tuser\tdisabled" in run("users", "list").stdout
    assert run("token", "ana").returncode == 1
    run("users", "enable", "ana")
    token = run("token", "ana")
    assert token.returncode == 0
    assert token.stdout.count(".") == 2
    assert (tmp_path / "data" / "jwt_secret").stat().st_mode & 0o777 == 0o600


def test_a_password_that_is_given_is_not_shown(run: Run) -> None:
    added = run("users", "add", "root", "--password", "long enough for all", "--admin")
    assert added.stdout == "Added root (admin).\n"
    changed = run("users", "password", "root", "--password", "another long one")
    assert changed.stdout == "Changed root's password.\n"
    assert "It is: " in run("users", "password", "root").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("token", "nobody"), "no user of that name"),
        (("users", "disable", "nobody"), "no user of that name"),
        (("users", "add", "me"), "me"),
        (("users", "add", "ana", "--password", "short"), "8 characters"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(
    run: Run, arguments: tuple[str, ...], said: str
) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("runnel: ")]
    assert said in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("serv",), ("users", "add"), ("serve", "--port", "x")])
def test_bad_usage_is_exit_code_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).returncode == 2


def test_a_bad_configuration_is_a_line_a_fault_and_exit_code_2(run: Run) -> None:
    done = run("serve", JWT_SECRET="short", REGISTRATION="maybe")
    assert done.returncode == 2
    assert sorted(line.partition(": ")[0] for line in done.stderr.splitlines()) == [
        "runnel",
        "runnel",
    ]
    assert "JWT_SECRET" in done.stderr
    assert "REGISTRATION" in done.stderr


def test_a_bad_models_file_stops_the_start(run: Run, tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text('{"aliases": {"a": {"provider": "openai"}}}')
    done = run("serve", "--port", "0", MODELS_FILE="models.json")
    assert done.returncode == 2
    assert "runnel: models.json: aliases.a.model: Field required" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_models_file_that_was_named_and_is_not_there_is_told(run: Run) -> None:
    """The server serves all the same: the file may come yet."""
    assert run("check", MODELS_FILE="").stderr == ""
    told = run("check", MODELS_FILE="conf/typo.json")
    assert told.returncode == 0
    assert told.stderr == "MODELS_FILE: conf/typo.json is not there\n"


def test_a_database_that_does_not_open_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    for url in ("sqlite:///taken/runnel.db", "sqlite:///taken"):
        done = run("migrate", DATABASE_URL=url)
        assert done.returncode == 2
        assert "cannot open" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("dotenv", "environment", "said"),
    [
        (b"A=\xe9", {}, ".env: cannot be read"),
        (b"A=\0", {}, ".env: cannot be read"),
        (b"", {"MODELS_FILE": "."}, "cannot be read"),
        (b"", {"DATA_DIR": ".env", "DATABASE_URL": "sqlite:///d.db"}, "cannot keep a secret"),
        (b"", {"ROOT_PATH": "/chat"}, "ROOT_PATH: /chat is how routes"),
        (b"", {"ROOT_PATH": "/ws"}, "ROOT_PATH: /ws is how routes"),
        (b"", {"HOST": "no.such.host.invalid"}, "HOST is an address of this machine"),
        (b"", {"HOST": "192.0.2.1"}, "HOST is an address of this machine"),
    ],
)
def test_what_keeps_the_server_from_starting_is_one_line(
    run: Run, tmp_path: Path, dotenv: bytes, environment: dict[str, str], said: str
) -> None:
    (tmp_path / ".env").write_bytes(dotenv)
    done = run("serve", "--port", "0", **environment)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_newer_database_is_said_to_be_one(run: Run, tmp_path: Path) -> None:
    run("migrate")
    with closing(sqlite3.connect(tmp_path / "data" / "runnel.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    done = run("migrate")
    assert done.returncode == 2
    assert "of another version of Runnel, 9999" in done.stderr


def test_several_workers_are_refused(run: Run) -> None:
    assert run("serve", "--workers", "2").returncode == 2


def test_queries_reach_no_log_under_another_asgi_server(tmp_path: Path) -> None:
    with starting(tmp_path, *UVICORN) as server:
        line_with(server, "Admin")
        assert server.stderr is not None
        said = ""
        for line in server.stderr:
            said += line
            if "running on http" in line:
                break
        url = said.rpartition("running on ")[2].split()[0]
        httpx.get(f"{url}/healthz?token=CANARY")
        server.terminate()
        _, rest = server.communicate(timeout=50)
    assert "path=/healthz" in rest
    assert "CANARY" not in said + rest


def test_the_server_starts_though_the_admin_it_names_is_none(tmp_path: Path) -> None:
    with starting(tmp_path, "-m", "runnel", "serve", "--port", "0") as first:
        assert "password" in line_with(first, "Admin")
    with starting(
        tmp_path, "-m", "runnel", "serve", "--port", "0", ADMIN_USERNAME="boss"
    ) as second:
        assert "$(python -m runnel token boss)" in line_with(second, "curl")


def test_other_asgi_servers_show_the_first_password_once(tmp_path: Path) -> None:
    with starting(tmp_path, *UVICORN) as first:
        assert "password" in line_with(first, "Admin")
    with starting(tmp_path, *UVICORN) as second:
        assert "(shown this once)" not in line_with(second, "Admin")


def test_other_asgi_servers_are_told_why_the_application_does_not_start(tmp_path: Path) -> None:
    with starting(tmp_path, *UVICORN, DEFAULT_MODEL="zz") as server:
        _, said = server.communicate(timeout=50)
    assert server.returncode != 0
    assert "DEFAULT_MODEL: there is no alias zz" in said


def test_production_refuses_a_weak_admin_password(run: Run) -> None:
    done = run(
        "serve",
        "--port",
        "0",
        ENVIRONMENT="production",
        JWT_SECRET="s" * 40,
        ADMIN_PASSWORD="admin",
    )
    assert done.returncode == 2
    assert "ADMIN_PASSWORD" in done.stderr


def test_migrating_says_so_and_can_be_done_again(run: Run) -> None:
    for _ in range(2):
        done = run("migrate")
        assert (done.returncode, done.stdout) == (0, "The database is up to date.\n")


def test_help_names_the_commands(run: Run) -> None:
    helped = run("--help").stdout
    assert all(name in helped for name in ("serve", "token", "users", "migrate"))
