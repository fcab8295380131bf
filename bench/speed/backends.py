"""A Postgres and a Redis for Runnel to stand on, of the bench's own and without any disk's sync."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.speed.processes import TOOLS_CORE, free_port, running, wait_for

import postgres

_DEBIAN: Final = Path("/usr/lib/postgresql")


def missing() -> str:
    """What is not installed, for who reads the report; empty if all is there."""
    if not shutil.which("initdb") and not any(_DEBIAN.glob("*/bin/initdb")):
        return "Postgres is not installed"
    return "" if shutil.which("redis-server") else "redis-server is not installed"


@contextmanager
def database() -> Generator[str]:
    """The address of a new Postgres database. It runs on the tools' core, as the bench does."""
    instance = postgres.started()
    try:
        yield instance.create()
    finally:
        instance.remove()


@contextmanager
def redis() -> Generator[str]:
    """The address of a new Redis, on the tools' core."""
    port = free_port()
    options = {"port": str(port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
    command = ["redis-server", *(part for k, v in options.items() for part in (f"--{k}", v))]
    with (
        TemporaryDirectory(prefix="runnel-bench-") as folder,
        running(command, TOOLS_CORE, Path(folder)) as process,
    ):
        wait_for(port, process)
        yield f"redis://127.0.0.1:{port}/0"
