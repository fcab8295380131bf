"""A real Postgres, from Debian's binaries, for tests; and databases in it that the migrations made.

How to use it:

- `database_url` (tests/conftest.py) is a fixture over both back ends: the address of a database of
  the test's own, migrated and empty. `Chat(database_url)` and `Database(database_url, ...)` take
  it as it is; `databases` makes more of them, or unmigrated ones.
- `serve(database_url=...)` starts a server on it. A module that says `DATABASE = "postgres"` has
  its `house` on Postgres.
- `query(server, sql, *values)` of wire.py reads and writes either, with `?` for values.
- RUNNEL_TEST_DATABASE=postgres (`make test-postgres`) runs every server of the suite on Postgres.
- `own_postgres` is an instance that a test may stop and start.

One instance serves a pytest worker: it is started by whoever needs it first, without any sync to
disk. Without the binaries tests are skipped; with CI=true they fail.
"""

import asyncio
import atexit
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import asyncpg
import pytest

#: Of the user with whom tests sign in; it must stand in no log.
PASSWORD: Final = "canary-of-postgres"
USER: Final = "runnel"
TEMPLATE: Final = "migrated"
_START_SECONDS: Final = 30
# Commits are written before they are confirmed: a test may crash it, but not the machine.
_OPTIONS: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "log_min_messages": "fatal",
}
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?")
_EMPTY: Final = """
SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid();
DELETE FROM users;
DELETE FROM search_pending;
"""
_spare: list[str] = []
_connect: Final = cast("Any", asyncpg).connect  # which says nothing of its types
_T = TypeVar("_T")


class Postgres:
    """An instance on a free port, in a folder of its own. All that it knows goes with it."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        # Not pytest's folder: the other user may not look into it, and a socket's path is short.
        self.folder = Path(tempfile.mkdtemp(prefix="runnel-pg-"))
        self.port = _free_port()
        self._user = _other_user()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        if self._user:
            shutil.chown(self.folder, self._user)
        self._init()

    def _init(self) -> None:
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._call(
            "initdb",
            f"--pgdata={self.folder / 'data'}",
            f"--username={USER}",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            f"--pwfile={secret}",
            "--no-sync",
        )

    def start(self) -> None:
        """Returns once it takes connections."""
        options = _OPTIONS | {"unix_socket_directories": str(self.folder)}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._binaries / "postgres"),
                    f"-D{self.folder / 'data'}",
                    f"-p{self.port}",
                    *(f"-c{name}={value}" for name, value in options.items()),
                ],
                user=self._user,
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # an interrupt from the keyboard is pytest's
            )
        deadline = time.monotonic() + _START_SECONDS
        ready = [str(self._binaries / "pg_isready"), "-q", "-h127.0.0.1", f"-p{self.port}"]
        while subprocess.run(ready, check=False).returncode != 0:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "Postgres did not start"
            time.sleep(0.02)

    def stop(self, *, at_once: bool = False) -> None:
        """Ends what is connected; `at_once` it crashes, and recovers when it is started again."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
        self._process.wait(_START_SECONDS)
        self._process = None

    def remove(self) -> None:
        self.stop(at_once=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create(self, *, template: str = "template0") -> str:
        """A new database's address."""
        name = f"test{next(self._numbers)}"
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, url: str) -> None:
        self.sql(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Runs statements as the superuser, over the socket; what they print."""
        arguments = ["-XqAtv", "ON_ERROR_STOP=1", f"-h{self.folder}", f"-U{USER}"]
        return self._call("psql", *arguments, f"-p{self.port}", f"-d{database}", f"-c{statement}")

    def _call(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            user=self._user,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def binaries() -> Path:
    """Where Postgres is installed. Without it the test is skipped; with CI=true it fails."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(debian, key=lambda found: float(found.parts[-3]), default=None)
    if newest is not None:
        return newest.parent
    missing = "Postgres is not installed; on Debian: apt-get install postgresql"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


@cache
def shared() -> Postgres:
    """The worker's instance, with the migrated template in it."""
    instance = started()
    atexit.register(instance.remove)
    instance.sql(f'CREATE DATABASE "{TEMPLATE}" TEMPLATE template0')
    _migrate(instance.url(TEMPLATE))
    return instance


def started() -> Postgres:
    """An instance of the caller's own, empty. It is theirs to `remove`."""
    instance = Postgres(binaries())
    instance.start()
    return instance


def migrated_url() -> str:
    """The address of a new database in the worker's instance, migrated and empty."""
    return _spare.pop() if _spare else shared().create(template=TEMPLATE)


def give_back(url: str) -> None:
    """To be called when a migrated database's test is over: another test gets it, emptied."""
    # Nearly everything hangs by its user; to make a database takes ten times as long.
    shared().sql(_EMPTY, url.rpartition("/")[2])
    _spare.append(url)


def _migrate(url: str) -> None:
    from runnel.store.engine import Database  # noqa: PLC0415 - wire.py needs none of it
    from runnel.store.migrate import migrate  # noqa: PLC0415 - same

    async def make() -> None:
        database = Database(url, pool_size=1, timeout_seconds=30)
        await migrate(database)
        await database.close()

    apart(make())


def migrated_copy(instance: Postgres) -> str:
    """A new database in an instance of the caller's own, migrated and empty."""
    url = instance.create()
    _migrate(url)
    return url


def apart(work: Coroutine[Any, Any, _T]) -> _T:
    """Runs a coroutine in a loop of its own, also where the test's loop is running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def select(url: str, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Runs one statement of SQLite's form, with `?` for values, over a connection of its own.

    Moments may be texts, as SQLite keeps them.
    """
    numbers = count(1)
    parts = sql.split("?")
    numbered = parts[0] + "".join(f"${next(numbers)}{part}" for part in parts[1:])

    given = [_moment(each) if _MOMENT.fullmatch(str(each)) else each for each in values]

    async def run() -> list[tuple[Any, ...]]:
        connection = await _connect(url.replace("+asyncpg", ""))
        try:
            return [tuple(row) for row in await connection.fetch(numbered, *given)]
        finally:
            await connection.close()

    return apart(run())


def _moment(text: object) -> datetime:
    return datetime.fromisoformat(str(text)).replace(tzinfo=UTC)


@contextmanager
def locked(url: str) -> Generator[None]:
    """Inside, whoever writes waits in vain; who reads does not."""
    names = ", ".join(f'"{name}"' for name in tables(url))
    asking = Asking(url)
    asking.say(f"BEGIN; LOCK TABLE {names} IN EXCLUSIVE MODE;")
    try:
        yield
    finally:
        asking.close()


class Asking:
    """A connection that stays open, as of another program."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            ["psql", "-Xqtv", "ON_ERROR_STOP=1", url.replace("+asyncpg", "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def say(self, sql: str) -> None:
        """Returns once it has been executed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{sql}\n\\echo done\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def close(self) -> None:
        self._process.communicate()


def tables(url: str) -> list[str]:
    listed = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    return [name for (name,) in select(url, listed)]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _other_user() -> str | None:
    """As whom it runs: it refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise AssertionError("nobody but root is here, and Postgres refuses to run as root")
