"""A server whose aliases ask a stand-in, for a whole module, and the clients of its /v1."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from openai import OpenAI

from provider import Answer, Provider
from serving import LiveServer, Signed, forget_environment, settings_for
from surface import Surface, aliases_of

_numbers = count(1)


@pytest.fixture(scope="module")
def house(
    request: pytest.FixtureRequest, migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LiveServer, Provider]]:
    """A module's `SETTINGS` are the settings of its server."""
    folder = tmp_path_factory.mktemp("v1")
    shutil.copy(migrated, folder / "runnel.db")
    module: Any = cast("Any", request).module  # pytest says nothing of its type
    changes: dict[str, Any] = getattr(module, "SETTINGS", {})
    with ExitStack() as stack:
        # Made before the fixture that does this for each test.
        forget_environment(stack.enter_context(pytest.MonkeyPatch.context()))
        provider = stack.enter_context(Provider())
        (folder / "models.json").write_text(json.dumps(aliases_of(provider)))
        yield stack.enter_context(LiveServer(settings_for(folder, **changes))), provider


@pytest.fixture
def v1(house: tuple[LiveServer, Provider]) -> Iterator[Surface]:
    """The surface as a user sees it whom no other test knows."""
    server, provider = house
    ada: Signed = server.user(f"ada{next(_numbers)}")
    provider.hold()
    provider.answer("test", Answer())
    with Surface(server, provider, ada) as surface:
        yield surface
        provider.release()
        surface.settle()


@pytest.fixture
def client(v1: Surface) -> OpenAI:
    """The official client, which asks once and no more."""
    return v1.client
