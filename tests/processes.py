"""`runnel serve` as a process of its own, to be signalled, killed and started again."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from json import dumps
from pathlib import Path
from typing import Any, Final

import httpx

import postgres
from databases import all_on_postgres, postgres_of
from provider import Provider
from standing import Json

COMMAND: Final = (sys.executable, "-m", "runnel")


class Served:
    """A server that runs, and a client of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        banner: list[str] = []
        while not banner or not banner[-1].startswith("curl"):
            line = process.stdout.readline()
            assert line, "".join(banner)
            banner.append(line)
        self.url = re.findall(r"listens on (http://\S+)", "".join(banner))[0]
        token = re.findall(r"Bearer (\S+)\"", banner[-1])[0]
        headers = {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.client.post(path, json={"message": "?"} | body)

    def generation(self, generation_id: str) -> Json:
        return self.client.get(f"/api/generations/{generation_id}").json()

    def signal(self, number: signal.Signals) -> float:
        self.process.send_signal(number)
        return time.monotonic()


Starting = Callable[..., Served]


def house_of(provider: Provider, folder: Path) -> Path:
    """A folder to serve from, with `chat/test` as the only alias."""
    alias = {"provider": "openai", "model": "test", "base_url": provider.url}
    (folder / "models.json").write_text(dumps({"aliases": {"chat/test": alias}}))
    return folder


def environment(folder: Path, **changes: str) -> dict[str, str]:
    where = {"DATABASE_URL": postgres_of(folder)} if all_on_postgres() else {}
    # Whatever code this process runs, its servers run too.
    code = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {
        **code,
        "DATA_DIR": str(folder / "data"),
        "MODELS_FILE": str(folder / "models.json"),
        "PORT": "0",
        "CHECKPOINT_SECONDS": "0.05",
        **where,
        **changes,
    }


@contextmanager
def starting(folder: Path) -> Generator[Starting]:
    """Starts servers on the same data; what still runs at the end is killed."""
    with ExitStack() as stack:

        def start(**changes: str) -> Served:
            process = stack.enter_context(
                subprocess.Popen(
                    [*COMMAND, "serve"],
                    env=environment(folder, **changes),
                    cwd=folder,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            )
            stack.callback(process.kill)
            served = Served(process)
            stack.enter_context(served.client)
            return served

        yield start


def run(folder: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(folder, **changes),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def rows_of(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """What stands in the database of a server, which may have ended."""
    if all_on_postgres():
        return postgres.select(postgres_of(folder), query)
    with closing(sqlite3.connect(folder / "data" / "runnel.db")) as connection:
        return connection.execute(query).fetchall()
