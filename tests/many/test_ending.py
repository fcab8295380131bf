"""SIGTERM to one of several: nobody new is taken, and who is still connected is sent to another one."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from instances import Instances, running
from provider import Answer, Provider
from reading import Incoming
from waiting import until
from wire import problem

#: On a busy machine instances take long to start.
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def instances(tmp_path: Path, provider: Provider) -> Iterator[Instances]:
    with running(tmp_path, provider) as two:
        yield two


def test_an_instance_that_ends_is_left_at_once_and_nobody_behind_nginx_notices(
    instances: Instances, provider: Provider
) -> None:
    provider.hold()
    provider.answer("gated", Answer(("first", " last"), gate_after=1))
    # Connections that are kept, before they are needed.
    kept = [instances.client(0) for _ in range(6)]
    health, readiness, asking, reading, following, polling = kept
    for each in kept:
        assert each.get("/healthz").status_code == 200
    question = {"prompt": "?", "model": "chat/gated"}
    with instances.client(0).stream("POST", "/api/generate", json=question) as response:
        incoming = Incoming(response.iter_bytes())
        incoming.until(b"data: first\n\n")
        instances.terminate(0)
        until(lambda: refuses(instances, 0))
        assert health.get("/healthz").status_code == 200
        ready = readiness.get("/readyz")
        assert (ready.status_code, ready.json()["components"]["chat"]) == (503, "unavailable")
        for refused in (
            asking.post("/chat", json={"message": "?"}),
            reading.get("/api/chat/sessions"),
        ):
            problem(refused, 503, "shutting_down")
            assert refused.headers["Connection"] == "close"
            assert int(refused.headers["Retry-After"]) >= 1
        # A browser's EventSource would not come back after a 503.
        path = f"/api/generations/{response.headers['X-Generation-Id']}/events"
        polled = polling.get(path, headers={"Accept": "application/json"})
        problem(polled, 503, "shutting_down")
        followed = following.get(path)
        assert followed.status_code == 200
        assert followed.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert followed.headers["Connection"] == "close"
        assert re.fullmatch(r"retry: \d+\n\n", followed.text)
        front = instances.client()
        for _ in range(10):
            assert front.post("/chat", json={"message": "?"}).status_code == 200
        provider.release()
        assert incoming.rest().endswith(b"data: [DONE]\n\n")
    assert instances.wait(0) == 0
    assert front.post("/chat", json={"message": "?"}).status_code == 200
    instances.restart(0)
    assert instances.client(0).post("/chat", json={"message": "?"}).status_code == 200


def refuses(instances: Instances, number: int) -> bool:
    try:
        httpx.get(f"{instances.url(number)}/healthz")
    except httpx.ConnectError:
        return True
    return False
