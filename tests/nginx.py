"""A real nginx, from Debian's binary, with deploy/nginx.conf: only where things are is put in.

Without the binary tests are skipped; with CI=true they fail.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import pytest

from fault_relay import held_port

CONFIGURATION: Final = Path(__file__).parents[1] / "deploy" / "nginx.conf"
_START_SECONDS: Final = 30


class Nginx:
    """Stands before ports of this machine from enter to exit. `log` is its access log."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self._binary = binary()
        self._place = held_port()
        self.folder = folder
        self.log = folder / "access.log"
        self.errors = folder / "error.log"
        self.url = f"http://127.0.0.1:{self._place.getsockname()[1]}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "nginx.conf").write_text(self._configuration(ports))

    def check(self) -> str:
        """What `nginx -t` says of the file; it has to be content."""
        tested = subprocess.run(
            [*self._command(), "-t"], capture_output=True, text=True, check=False
        )
        assert tested.returncode == 0, tested.stderr
        return tested.stderr

    def __enter__(self) -> Self:
        with self.errors.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._listens():
            assert self._process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, "nginx did not start"
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_START_SECONDS)
        self._place.close()

    def _listens(self) -> bool:
        # Of itself: the servers behind it may not have started yet.
        try:
            with socket.create_connection(self._place.getsockname(), timeout=_START_SECONDS):
                return True
        except OSError:
            return False

    def _command(self) -> list[str]:
        # As root it would look for a user of its own, who may not look into a test's folder.
        directives = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
        file = str(self.folder / "nginx.conf")
        early = str(self.errors)  # its own, of before it has read the file, may not be ours
        return [self._binary, "-c", file, "-p", str(self.folder), "-e", early, "-g", directives]

    def _configuration(self, ports: Sequence[int]) -> str:
        [rest] = re.findall(r"server app1:8000( .*);", CONFIGURATION.read_text())
        servers = [f"server 127.0.0.1:{port}{rest};" for port in ports]
        changes: dict[str, Any] = {
            r"worker_processes auto;": "worker_processes 1;",
            r"worker_rlimit_nofile .*;": "",
            r"worker_connections \d+;": "worker_connections 1024;",
            r"listen 8080;": f"listen 127.0.0.1:{self.url.rpartition(':')[2]};",
            r"server app1:8000 .*;": "\n".join(servers),
            r"server app2:8000 .*;": "",
            r"/tmp/": f"{self.folder}/",  # noqa: S108 - the container's own
            r"/dev/stdout": str(self.log),
            r"/dev/stderr": str(self.errors),
        }
        text = CONFIGURATION.read_text()
        for pattern, replacement in changes.items():
            assert re.search(pattern, text), f"deploy/nginx.conf has no {pattern} any more"
            text = re.sub(pattern, lambda _, new=replacement: new, text)
        return text


def binary() -> str:
    """Where nginx is. Without it the test is skipped; with CI=true it fails."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is not None:
        return found
    missing = "nginx is not installed; on Debian: apt-get install nginx"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)
