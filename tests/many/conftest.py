"""Three instances for a whole module."""

from collections.abc import Iterator
from typing import Any, cast

import pytest

from serving import forget_environment
from several import Several, several


@pytest.fixture(scope="module")
def three(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Several]:
    """A module's `SETTINGS` are the settings of its instances."""
    module: Any = cast("Any", request).module  # pytest says nothing of its type
    settings: dict[str, Any] = getattr(module, "SETTINGS", {})
    # Made before the fixture that does this for each test.
    with pytest.MonkeyPatch.context() as clean:
        forget_environment(clean)
        with several(tmp_path_factory.mktemp("three"), **settings) as there:
            yield there
