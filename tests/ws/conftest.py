"""A server and a stand-in provider for a whole module, and nothing left behind by any test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from serving import forget_environment
from standing import Standing, standing
from waiting import until


@pytest.fixture(scope="module")
def stand(
    request: pytest.FixtureRequest, migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Standing]:
    """A module's `SETTINGS` are the settings of its server."""
    module: Any = cast("Any", request).module  # pytest says nothing of its type
    changes: dict[str, Any] = getattr(module, "SETTINGS", {})
    # Made before the fixture that does this for each test.
    with pytest.MonkeyPatch.context() as clean:
        forget_environment(clean)
        with standing(migrated, tmp_path_factory.mktemp("sockets"), **changes) as there:
            yield there


@pytest.fixture
def tidy(stand: Standing) -> Iterator[Standing]:
    """Afterwards no socket is open, nobody follows, and nothing is being made."""
    yield stand
    stand.provider.release()
    until(lambda: not any(stand.held().values()))
    until(lambda: not stand.followers)
    until(lambda: not len(stand.server.server.parts.sockets))
    stand.provider.hold()
