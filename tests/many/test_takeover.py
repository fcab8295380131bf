"""An answer whose instance is gone is gone on with by another: begun anew, continued, or ended."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from instances import Instances, running
from provider import Answer, Provider

pytestmark = pytest.mark.timeout(180)
PIECES = tuple(f"word{number} " for number in range(40))
TEXT = "".join(PIECES)
LEASE: dict[str, Any] = {
    "LEASE_SECONDS": "0.5",
    "HEARTBEAT_SECONDS": "1",
    "SHUTDOWN_GRACE_SECONDS": "0.2",
}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running_provider:
        yield running_provider


def begun(instances: Instances, number: int, provider: Provider) -> str:
    """An answer that is made by an instance, and stands at the gate in its middle."""
    provider.hold()
    answer = Answer(PIECES, gate_after=20)
    provider.answer("gated", answer, Answer(PIECES))
    question = {"prompt": "?", "model": "chat/gated", "background": True}
    asked = instances.client(number).post("/api/generate", json=question)
    assert asked.status_code == 202, asked.text
    provider.at_gate.wait_at_least(1)
    return asked.json()["generation_id"]


def ended(client: httpx.Client, generation_id: str, seconds: float = 15) -> dict[str, object]:
    until = time.monotonic() + seconds
    while True:
        found = client.get(f"/api/generations/{generation_id}").json()
        if found["status"] not in ("queued", "running"):
            return found
        assert time.monotonic() < until, found
        time.sleep(0.05)


@pytest.mark.parametrize("how", ["kill", "stop", "terminate"])
def test_an_answer_goes_on_elsewhere(provider: Provider, tmp_path: Path, how: str) -> None:
    with running(tmp_path, provider, count=2, **LEASE) as two:
        generation_id = begun(two, 0, provider)
        other = two.client(1)
        with other.stream("GET", f"/api/generations/{generation_id}/events") as response:
            lines = response.iter_lines()
            while "word19" not in next(lines):
                pass
            getattr(two, how)(0)
            rest = list(lines)
        found = ended(other, generation_id)
        assert (found["status"], found["text"]) == ("completed", TEXT)
        assert rest[-2:] == ["data: [DONE]", ""] or "[DONE]" in "".join(rest[-3:]), rest
        assert any("event: reset" in line for line in rest)
        if how == "stop":
            two.cont(0)
            provider.release()
            assert two.client(0).get(f"/api/generations/{generation_id}").json() == found
