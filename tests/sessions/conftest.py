"""Servers on both back ends for the tests of sessions; each test brings users of its own."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from databases import BACKENDS, Backend
from houses import opened_house
from talking import Talker
from wire import House

_numbers = count(1)


@pytest.fixture(scope="module", params=BACKENDS)
def house(
    request: pytest.FixtureRequest, migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Of its settings a module says which it wants, as `SETTINGS`."""
    module: Any = cast("Any", request).module  # pytest says nothing of its type
    backend: Backend = request.param
    folder = tmp_path_factory.mktemp("house")
    with opened_house(folder, migrated, backend, getattr(module, "SETTINGS", {})) as opened:
        yield opened


@pytest.fixture
def ada(house: House) -> Talker:
    """A user whom no other test knows, signed in."""
    return Talker(house, house.server.user(f"ada{next(_numbers)}"))


@pytest.fixture
def bob(house: House) -> Talker:
    """Another one."""
    return Talker(house, house.server.user(f"bob{next(_numbers)}"))
