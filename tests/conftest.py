"""Fixtures that every room's tests share."""

import asyncio
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import postgres
import redis_server
from databases import BACKENDS, Backend, MakeDatabase, done_with, making_databases, sqlite_url
from plain_logs import write_plainly
from postgres import Postgres
from provider import Provider
from redis_server import RedisServer
from runnel.bootstrap.database import migrate_database
from serving import LiveServer, forget_environment, settings_for
from wire import Serve

write_plainly()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that the migrations made, to be copied."""
    folder = tmp_path_factory.mktemp("migrated")
    file = folder / "runnel.db"
    asyncio.run(migrate_database(settings_for(folder, database_url=sqlite_url(file))))
    return file


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """The test runs on each; see postgres.py."""
    return request.param


@pytest.fixture
def databases(backend: Backend, migrated: Path, tmp_path: Path) -> Iterator[MakeDatabase]:
    """Makes databases, `empty=True` for one without any table; their addresses."""
    with making_databases(backend, tmp_path, migrated) as make:
        yield make


@pytest.fixture
def database_url(databases: MakeDatabase) -> str:
    """The address of a database of the test's own, migrated and empty, on each back end."""
    return databases()


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """An instance that the module's tests may stop and start; it runs when a test begins."""
    instance = postgres.started()
    yield instance
    instance.remove()


@pytest.fixture
def redis_url() -> str:
    """The address of the worker's Redis."""
    return redis_server.shared().url


@pytest.fixture
def redis_prefix() -> str:
    """What the keys of a test begin with, in a Redis that it shares with others."""
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    """An instance that the module's tests may stop, freeze and empty; it runs when a test begins."""
    instance = redis_server.started()
    yield instance
    instance.remove()


@pytest.fixture(autouse=True)
def no_environment_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """What the developer's machine has set, and its .env, do not reach the tests."""
    forget_environment(monkeypatch)
    monkeypatch.chdir(tmp_path)
    yield
    done_with(tmp_path)


@pytest.fixture
def serve(migrated: Path, tmp_path: Path) -> Iterator[Serve]:
    """Starts servers with settings of the test's; `models` is what models.json holds."""
    with ExitStack() as stack:

        def start(*, models: dict[str, Any] | None = None, **changes: Any) -> LiveServer:
            folder = tmp_path / f"server{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            shutil.copy(migrated, folder / "runnel.db")
            if models is not None:
                (folder / "models.json").write_text(json.dumps(models))
            return stack.enter_context(LiveServer(settings_for(folder, **changes)))

        yield start


@pytest.fixture
def provider() -> Iterator[Provider]:
    """The stand-in for a model's provider."""
    with Provider() as running:
        yield running


@pytest.fixture
def server(serve: Serve, provider: Provider) -> LiveServer:
    """A server whose alias `chat/test` asks the stand-in."""
    return serve(models=models_of(provider))


def models_of(provider: Provider) -> dict[str, Any]:
    alias = {"provider": "openai", "model": "test", "base_url": provider.url}
    return {"aliases": {"chat/test": alias}}
