"""What a command loads: what nobody uses would cost a second and 30 MB with each start."""

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from commands import ListingProvider, alias_of, write_models

from processes import Served, environment

#: On a busy machine a server takes long to start.
pytestmark = pytest.mark.timeout(180)

OPENAI: Final = {"langchain_openai", "openai", "tiktoken"}
AWS: Final = {"boto3", "botocore", "langchain_aws"}
#: What only some attachments need, some settings, and a database that is behind.
SELDOM: Final = {"PIL", "puremagic", "pypdf", "runnel.streamlog.redis", "runnel.control.redis_bus"}
#: What a database that is SQLite, and up to date, does without.
FOR_OTHERS: Final = {"alembic", "asyncpg", "sqlalchemy.dialects.postgresql"}
WEB: Final = {"fastapi", "sqlalchemy", "starlette", "uvicorn"}

FEW: Final = 20
MANY: Final = 100_000

_COMMAND: Final = """
import sys
from runnel.edge.cli.main import main
sys.argv = ["runnel", *{arguments}]
try:
    main()
finally:
    print("loaded:", *sys.modules)
"""
_SERVE: Final = """
import json, signal, sys
from runnel.edge.cli.main import main
signal.signal(signal.SIGUSR1, lambda *_: print(json.dumps([*sys.modules]), flush=True))
sys.argv = ["runnel", "serve"]
main()
"""


def loaded_by(folder: Path, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND.format(arguments=arguments)],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    return set(done.stdout.rpartition("loaded:")[2].split())


class Telling(Served):
    """A server that tells what it has loaded."""

    def loaded(self) -> set[str]:
        self.signal(signal.SIGUSR1)
        assert self.process.stdout is not None
        while not (line := self.process.stdout.readline()).startswith("["):
            assert line
        return set(json.loads(line))


@contextmanager
def serving(folder: Path) -> Generator[Telling]:
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        env=environment(folder),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            served = Telling(process)
            with served.client:
                yield served
        finally:
            process.kill()


@pytest.fixture
def openai_alias(tmp_path: Path, provider: ListingProvider) -> None:
    write_models(tmp_path, chat__test=alias_of(provider))


def test_the_help_loads_nothing_of_it(tmp_path: Path) -> None:
    loaded = loaded_by(tmp_path, "--help")
    assert (
        loaded & ({"langchain_core", "pydantic", "structlog"} | OPENAI | AWS | SELDOM | WEB)
        == set()
    )


@pytest.mark.usefixtures("openai_alias")
def test_the_list_of_models_loads_no_model(tmp_path: Path) -> None:
    loaded = loaded_by(tmp_path, "models")
    assert loaded & ({"langchain_core", "prometheus_client"} | OPENAI | AWS | SELDOM | WEB) == set()


@pytest.mark.usefixtures("openai_alias")
def test_a_server_loads_what_its_aliases_use_before_it_is_asked(tmp_path: Path) -> None:
    with serving(tmp_path) as served:  # the first makes the database
        assert served.client.get("/healthz").status_code == 200
    with serving(tmp_path) as served:
        loaded = served.loaded()
        assert loaded >= OPENAI
        assert loaded & (AWS | SELDOM | FOR_OTHERS) == set()
        answer = served.post("/chat", model="chat/test")
        assert answer.status_code == 200, answer.text
        later = served.loaded() - loaded
    # The first question waits for nothing large.
    assert {name.partition(".")[0] for name in later} <= {"langchain_core"}
    assert len(later) < FEW


def test_a_server_has_settled_before_it_serves(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        page = served.client.get("/metrics").text
    numbers = dict(
        line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("runnel_gc")
    )
    assert float(numbers["runnel_gc_frozen_objects"]) > MANY
    assert float(numbers["runnel_gc_seconds"]) >= float(numbers["runnel_gc_longest_seconds"])


def test_a_server_of_the_demo_loads_no_providers_client(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        assert served.loaded() & (OPENAI | AWS | SELDOM) == set()
