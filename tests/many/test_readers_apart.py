"""An answer that needs a reader has one if anybody follows it, at whatever instance."""

import time
from collections.abc import Iterator

import pytest

from instances import Instances, running
from provider import Answer, Provider

pytestmark = pytest.mark.timeout(180)
GRACE = 1.0


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as running_provider:
        yield running_provider


@pytest.fixture(scope="module")
def two(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instances]:
    folder = tmp_path_factory.mktemp("readers")
    with running(folder, provider, DISCONNECT_GRACE_SECONDS=str(GRACE)) as instances:
        yield instances


def test_it_is_aborted_when_nobody_follows_it_anywhere(two: Instances, provider: Provider) -> None:
    provider.hold()
    provider.answer("gated", Answer(("first", " last"), gate_after=1))
    question = {"prompt": "?", "model": "chat/gated", "on_disconnect": "abort"}
    other = two.client(1)
    with two.client(0).stream("POST", "/api/generate", json=question) as asking:
        generation_id = asking.headers["X-Generation-Id"]
        next(line for line in asking.iter_lines() if "first" in line)
        path = f"/api/generations/{generation_id}"
        follower = other.stream("GET", f"{path}/events")
        lines = follower.__enter__().iter_lines()
        next(line for line in lines if "first" in line)
    # Who asked has left; there is only the one at the other instance.
    until = time.monotonic() + 3 * GRACE
    while time.monotonic() < until:
        assert other.get(path).json()["status"] == "running"
        time.sleep(0.1)
    follower.__exit__(None, None, None)
    left = time.monotonic()
    while (found := other.get(path).json())["status"] == "running":
        assert time.monotonic() - left < 15
        time.sleep(0.05)
    assert (found["status"], found["text"]) == ("aborted", "first")
    assert time.monotonic() - left >= GRACE / 2
