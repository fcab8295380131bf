"""A real Redis, from Debian's binary, for tests.

- `redis_url` (tests/conftest.py) is the address of the worker's instance with a key prefix of the
  test's own in `redis_prefix`: tests leave each other alone without emptying it.
- `own_redis` is an instance that a test may stop, start, freeze, empty or restore.

Without the binary tests are skipped; with CI=true they fail.
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Final

import pytest

#: With which clients sign in; it must stand in no log.
PASSWORD: Final = "canary-of-redis"
_START_SECONDS: Final = 30


class RedisServer:
    """An instance on a free port, in a folder of its own. All that it knows goes with it.

    It writes each command down before it confirms it, so that a restart loses nothing.
    """

    def __init__(self, binary: str) -> None:
        self._binary = binary
        self.folder = Path(tempfile.mkdtemp(prefix="runnel-redis-"))
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Returns once it takes connections and has read what it had."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._binary,
                    *("--port", str(self.port)),
                    *("--bind", "127.0.0.1"),
                    *("--requirepass", PASSWORD),
                    *("--dir", str(self.folder)),
                    *("--appendonly", "yes"),
                    *("--appendfsync", "no"),
                    *("--save", ""),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt from the keyboard is pytest's
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "Redis did not start"
            time.sleep(0.02)

    def stop(self, *, at_once: bool = False) -> None:
        """Ends it; `at_once` it is killed, and reads its file when it is started again."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(signal.SIGKILL if at_once else signal.SIGTERM)
        self._process.wait(_START_SECONDS)
        self._process = None

    def freeze(self) -> None:
        """Its connections stay, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def keep(self) -> Path:
        """A copy of what it has now, to be restored."""
        kept = Path(tempfile.mkdtemp(prefix="kept-", dir=self.folder))
        shutil.copytree(self.folder / "appendonlydir", kept / "appendonlydir")
        return kept

    def restore(self, kept: Path) -> None:
        """Stops it, puts back what it had then, and starts it."""
        self.stop(at_once=True)
        shutil.rmtree(self.folder / "appendonlydir")
        shutil.copytree(kept / "appendonlydir", self.folder / "appendonlydir")
        self.start()

    def call(self, *command: str) -> str:
        """Runs one command; what it answers, one line an element."""
        answer = self._cli(*command)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    def remove(self) -> None:
        self.stop(at_once=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        return self._cli("PING").stdout.strip() == "PONG"

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _cli(self, *command: str) -> subprocess.CompletedProcess[str]:
        cli = shutil.which("redis-cli") or "redis-cli"
        return subprocess.run(
            [cli, "-p", str(self.port), "--no-auth-warning", *command],
            env=os.environ | {"REDISCLI_AUTH": PASSWORD},
            capture_output=True,
            text=True,
            check=False,
            timeout=_START_SECONDS,
        )


def binary() -> str:
    """Where redis-server is. Without it the test is skipped; with CI=true it fails."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    missing = "Redis is not installed; on Debian: apt-get install redis-server"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


@cache
def shared() -> RedisServer:
    """The worker's instance."""
    instance = started()
    atexit.register(instance.remove)
    return instance


def started() -> RedisServer:
    """An instance of the caller's own, empty. It is theirs to `remove`."""
    instance = RedisServer(binary())
    instance.start()
    return instance


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]
