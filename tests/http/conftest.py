"""A server, its provider and a client for a whole module: each test brings users of its own."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from houses import opened_house
from provider import Answer, Provider
from serving import Signed
from wire import House, settle

_numbers = count(1)


@pytest.fixture(scope="module")
def house(
    request: pytest.FixtureRequest, migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """`chat/test` answers at once, `chat/gated` when the gate opens.

    A module's `SETTINGS` are the settings of its server; with `DATABASE = "postgres"` it is on that.
    """
    module: Any = cast("Any", request).module  # pytest says nothing of its type
    folder = tmp_path_factory.mktemp("house")
    backend: Any = getattr(module, "DATABASE", "sqlite")
    with opened_house(folder, migrated, backend, getattr(module, "SETTINGS", {})) as house:
        yield house


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
