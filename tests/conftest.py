"""Fixtures that every room's tests share."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from provider import Provider
from runnel.bootstrap import migrate_database
from serving import LiveServer, forget_environment, settings_for
from wire import Serve


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that the migrations made, to be copied."""
    folder = tmp_path_factory.mktemp("migrated")
    asyncio.run(migrate_database(settings_for(folder)))
    return folder / "runnel.db"


@pytest.fixture(autouse=True)
def no_environment_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the developer's machine has set, and its .env, do not reach the tests."""
    forget_environment(monkeypatch)
    monkeypatch.chdir(tmp_path)


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
