"""How long a server takes to be there, and `runnel models` to answer."""

import socket
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.speed.processes import (
    SERVER_CORE,
    environment,
    free_port,
    pinned,
    python,
    running,
)

_WAIT_SECONDS: Final = 60


def start_seconds() -> float:
    """From `runnel serve` to its first answer to `/healthz`, over a database that is there."""
    with TemporaryDirectory(prefix="runnel-bench-") as name:
        folder = Path(name)
        _start(folder)
        return _start(folder)


def _start(folder: Path) -> float:
    port = free_port()
    settings = {"DATA_DIR": str(folder / "data"), "PORT": str(port)}
    began = time.monotonic()
    with running(python("runnel", "serve"), SERVER_CORE, folder, **settings):
        while not _healthy(port):
            assert time.monotonic() - began < _WAIT_SECONDS, "it does not start"
            time.sleep(0.005)
        return time.monotonic() - began


def _healthy(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: runnel\r\nConnection: close\r\n\r\n")
            return sock.recv(1024).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def models_seconds() -> float:
    """Of `runnel models`, the second time."""
    with TemporaryDirectory(prefix="runnel-bench-") as name:
        took = 0.0
        for _ in range(2):
            began = time.monotonic()
            subprocess.run(  # noqa: S603 - our own
                pinned(python("runnel", "models"), SERVER_CORE),
                cwd=name,
                env=environment(DATA_DIR=f"{name}/data"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            took = time.monotonic() - began
        return took
