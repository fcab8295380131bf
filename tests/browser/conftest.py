"""A page of another origin in a real Chromium, the server it asks, and a network that breaks."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from chromium import Chromium, Tab
from pages import NODE_MODULES, Pages

from cutting import Cutting
from standing import Standing, standing


def _unavailable(reason: str) -> NoReturn:
    """What CI has to have, a developer's machine may lack."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    executable = shutil.which("chromium")
    if executable is None:
        _unavailable("Chromium is missing; on Debian: apt-get install chromium")
    with Chromium(executable) as running:
        yield running


@pytest.fixture(scope="session")
def npm_packages() -> Path:
    """Where the npm readers are installed."""
    if not (NODE_MODULES / ".installed").exists():
        _unavailable("the npm packages of tests/js are missing; `make test` installs them")
    return NODE_MODULES


@pytest.fixture(scope="session")
def node() -> str:
    executable = shutil.which("node")
    if executable is None:
        _unavailable("Node is missing; on Debian: apt-get install nodejs npm")
    return executable


@pytest.fixture(scope="session")
def pages() -> Iterator[Pages]:
    with Pages() as running:
        yield running


@pytest.fixture(scope="module")
def stand(
    migrated: Path, tmp_path_factory: pytest.TempPathFactory, pages: Pages
) -> Iterator[Standing]:
    """A server that lets the page's origin in."""
    folder = tmp_path_factory.mktemp("browser")
    with standing(migrated, folder, cors_origins=(pages.origin,)) as there:
        yield there


@pytest.fixture
def proxy(stand: Standing) -> Iterator[Cutting]:
    with Cutting(stand.server.url) as between:
        yield between


@pytest.fixture
def tab(chromium: Chromium, pages: Pages) -> Iterator[Tab]:
    with chromium.tab(f"{pages.origin}/index.html") as page:
        yield page
