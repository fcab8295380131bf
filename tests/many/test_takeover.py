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
HALF = "".join(PIECES[:20])
HASTY: dict[str, Any] = {
    "LEASE_SECONDS": "0.5",
    "HEARTBEAT_SECONDS": "1",
    "SHUTDOWN_GRACE_SECONDS": "0.2",
    "CHECKPOINT_SECONDS": "0.1",
}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running_provider:
        yield running_provider


def begun(
    instances: Instances, provider: Provider, *then: Answer, model: str = "chat/gated", **more: Any
) -> str:
    """An answer that the first instance makes, and that stands at the gate in its middle."""
    provider.hold()
    provider.answer("gated", Answer(PIECES, gate_after=20), *then)
    question = {"prompt": "why?", "model": model, "background": True, **more}
    asked = instances.client(0).post("/api/generate", json=question)
    assert asked.status_code == 202, asked.text
    provider.at_gate.wait_at_least(1)
    generation_id = asked.json()["generation_id"]
    events = f"/api/generations/{generation_id}/events"
    with instances.client(1).stream("GET", events) as response:
        next(line for line in response.iter_lines() if "word19" in line)
    return generation_id


def ended(client: httpx.Client, generation_id: str, seconds: float = 15) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while True:
        found = client.get(f"/api/generations/{generation_id}").json()
        if found["status"] not in ("queued", "running"):
            return found
        assert time.monotonic() < until, found
        time.sleep(0.05)


def epochs(client: httpx.Client, generation_id: str) -> list[list[str]]:
    """What each epoch that is still there tells."""
    page = client.get(
        f"/api/generations/{generation_id}/events", headers={"Accept": "application/json"}
    ).json()
    assert page["done"]
    return [[event["type"], event.get("text", "")] for event in page["events"]]


@pytest.mark.parametrize("how", ["kill", "stop", "terminate"])
def test_an_answer_goes_on_elsewhere(provider: Provider, tmp_path: Path, how: str) -> None:
    with running(tmp_path, provider, count=2, **HASTY) as two:
        generation_id = begun(two, provider, Answer(PIECES))
        other = two.client(1)
        with other.stream("GET", f"/api/generations/{generation_id}/events") as response:
            lines = response.iter_lines()
            next(line for line in lines if "word19" in line)
            getattr(two, how)(0)
            rest = list(lines)
        found = ended(other, generation_id)
        assert (found["status"], found["text"]) == ("completed", TEXT)
        assert "data: [DONE]" in rest
        assert [line for line in rest if line == "event: reset"] == ["event: reset"]
        # What the lost one was asked for is counted too.
        assert found["usage"]["source"] == "estimated"
        assert found["usage"]["prompt_tokens"] > 10
        first, second = [ask.body["messages"] for ask in provider.asks]
        assert first == second
        if how == "stop":
            two.cont(0)
            provider.release()
            assert two.client(0).get(f"/api/generations/{generation_id}").json() == found


def test_continued_the_model_is_shown_what_it_said(provider: Provider, tmp_path: Path) -> None:
    with running(tmp_path, provider, count=2, TAKEOVER="continue", **HASTY) as two:
        rest = Answer(PIECES[20:])
        generation_id = begun(
            two, provider, rest, model="chat/prefilled", params={"temperature": 0.5}
        )
        two.kill(0)
        other = two.client(1)
        found = ended(other, generation_id)
        assert (found["status"], found["text"]) == ("completed", TEXT)
        assert provider.asks[1].body["messages"][-1] == {"role": "assistant", "content": HALF}
        assert provider.asks[1].body["temperature"] == 0.5
        assert epochs(other, generation_id)[0] == ["reset", HALF]


def test_a_model_that_does_not_go_on_begins_anew(provider: Provider, tmp_path: Path) -> None:
    with running(tmp_path, provider, count=2, TAKEOVER="continue", **HASTY) as two:
        generation_id = begun(two, provider, Answer(PIECES))  # whose alias says nothing of it
        two.kill(0)
        found = ended(two.client(1), generation_id)
        assert (found["status"], found["text"]) == ("completed", TEXT)
        assert provider.asks[1].body["messages"][-1]["role"] == "user"


def test_it_is_ended_with_its_text_where_that_is_wanted(provider: Provider, tmp_path: Path) -> None:
    with running(tmp_path, provider, count=2, TAKEOVER="fail", **HASTY) as two:
        generation_id = begun(two, provider)
        two.kill(0)
        other = two.client(1)
        found = ended(other, generation_id)
        assert (found["status"], found["text"]) == ("interrupted", HALF)
        assert found["error"]["code"] == "interrupted"
        assert [kind for kind, _ in epochs(other, generation_id)] == ["reset", "failed"]
        assert len(provider.asks) == 1


def test_what_was_to_be_aborted_is_aborted(provider: Provider, tmp_path: Path) -> None:
    with running(tmp_path, provider, count=2, ABORT_WAIT_SECONDS="0.1", **HASTY) as two:
        generation_id = begun(two, provider)
        two.stop(0)
        other = two.client(1)
        asked = other.post(f"/api/generations/{generation_id}/abort")
        assert asked.status_code == 202
        assert asked.json()["status"] == "abort_requested"
        found = ended(other, generation_id)
        assert (found["status"], found["text"]) == ("aborted", HALF)
        assert len(provider.asks) == 1
        two.cont(0)


def test_an_answer_that_keeps_no_session_is_ended(provider: Provider, tmp_path: Path) -> None:
    with running(tmp_path, provider, count=2, **HASTY) as two:
        provider.hold()
        provider.answer("gated", Answer(PIECES, gate_after=20))
        body = {
            "model": "chat/gated",
            "stream": True,
            "messages": [{"role": "user", "content": "why?"}],
        }
        with two.client(0).stream("POST", "/v1/chat/completions", json=body) as response:
            next(line for line in response.iter_lines() if "word19" in line)
            two.kill(0)
        other = two.client(1)
        [made] = other.get("/api/generations").json()["generations"]
        assert ended(other, made["generation_id"])["status"] == "interrupted"
        assert len(provider.asks) == 1
