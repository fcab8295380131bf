"""A server, its provider and a client for a whole module: each test brings users of its own."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from postgres import migrated_url
from provider import Answer, Provider
from serving import LiveServer, Signed, forget_environment, settings_for
from wire import House, models_of, settle

_numbers = count(1)


@pytest.fixture(scope="module")
def house(
    request: pytest.FixtureRequest, migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """`chat/test` answers at once, `chat/gated` when the gate opens.

    A module's `SETTINGS` are the settings of its server; with `DATABASE = "postgres"` it is on that.
    """
    folder = tmp_path_factory.mktemp("house")
    shutil.copy(migrated, folder / "runnel.db")
    module: Any = cast("Any", request).module  # pytest says nothing of its type
    changes: dict[str, Any] = dict(getattr(module, "SETTINGS", {}))
    if getattr(module, "DATABASE", "sqlite") == "postgres":
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


@pytest.fixture
def ada(house: House) -> Signed:
    """A user whom no other test knows, signed in."""
    return house.server.user(f"ada{next(_numbers)}")


@pytest.fixture
def bob(house: House) -> Signed:
    """Another one."""
    return house.server.user(f"bob{next(_numbers)}")


@pytest.fixture
def gate(house: House) -> Iterator[Provider]:
    """`chat/gated` says "first", and " second" once the provider is told to `release`."""
    house.provider.answer("gated", Answer(pieces=("first", " second"), gate_after=1))
    yield house.provider
    house.provider.release()
    settle(house.server)
    house.provider.hold()
