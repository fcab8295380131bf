"""A server, its provider and a client, on either back end, for many tests."""

import json
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from databases import Backend
from postgres import migrated_url
from provider import Provider
from serving import LiveServer, forget_environment, settings_for
from wire import House, models_of


@contextmanager
def opened_house(
    folder: Path,
    migrated: Path,
    backend: Backend,
    settings: Mapping[str, Any],
    models_of: Callable[[Provider], dict[str, Any]] = models_of,
) -> Generator[House]:
    """`chat/test` answers at once, `chat/gated` when the gate opens, unless models are given."""
    changes = dict(settings)
    shutil.copy(migrated, folder / "runnel.db")
    if backend == "postgres":
        changes["database_url"] = migrated_url()
    with ExitStack() as stack:
        # Made before the fixture that does this for each test.
        clean = stack.enter_context(pytest.MonkeyPatch.context())
        forget_environment(clean)
        provider = stack.enter_context(Provider())
        (folder / "models.json").write_text(json.dumps(models_of(provider)))
        server = stack.enter_context(LiveServer(settings_for(folder, **changes)))
        http = stack.enter_context(httpx.Client(base_url=server.url, timeout=30))
        yield House(server, provider, http)
