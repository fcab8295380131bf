"""Two instances behind a real nginx, as deploy/nginx.conf has it."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from instances import Instances, running
from provider import BEFORE_HEADERS, Answer, Provider
from serving import Signed
from sockets import opened
from waiting import soon, until

#: On a busy machine instances take long to start.
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as running_provider:
        yield running_provider


@pytest.fixture(scope="module")
def instances(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instances]:
    with running(tmp_path_factory.mktemp("two"), provider) as two:
        yield two


def test_nginx_finds_nothing_wrong_with_its_configuration(instances: Instances) -> None:
    assert "syntax is ok" in instances.nginx.check()


def test_both_are_asked_in_turn_and_both_are_well(instances: Instances) -> None:
    client = instances.client()
    for _ in range(4):
        assert client.get("/healthz").json() == {"status": "ok"}
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["status"] == "ok"
        assert client.get("/api/chat/sessions").status_code == 200
    asked = set(re.findall(r'"upstream":"([^",]+)"', instances.nginx.log.read_text()))
    assert asked == {instances.url(number).removeprefix("http://") for number in range(2)}


def test_the_first_token_is_there_before_the_last_is_said(
    instances: Instances, provider: Provider
) -> None:
    provider.hold()
    provider.answer("gated", Answer(("first", " last"), gate_after=1))
    question = {"prompt": "?", "model": "chat/gated"}
    client = instances.client()
    client.headers["Accept-Encoding"] = "gzip"
    with client.stream("POST", "/api/generate", json=question) as response:
        assert "content-encoding" not in response.headers
        lines = response.iter_lines()
        assert "data: first" in lines
        provider.at_gate.wait_at_least(1)
        provider.release()
        assert list(lines)[-2:] == ["data: [DONE]", ""]


async def test_a_websocket_gets_through_with_its_origin_and_its_address(
    instances: Instances, provider: Provider
) -> None:
    provider.answer("test", Answer(("Hello", " world")))
    admin = Signed("admin", "", instances.token)
    # What a proxy before nginx has added, behind what anybody may have said.
    headers = {"Origin": instances.url(), "X-Forwarded-For": "192.0.2.1, 192.0.2.77"}
    path = "/ws/chat/completions"
    async with opened(instances.nginx, path, admin, additional_headers=headers) as socket:
        await socket.send({"question": "?"})
        *_, end = await socket.answer()
    assert end["full_text"] == "Hello world"
    await soon(lambda: any("192.0.2.77" in instances.logged(number) for number in range(2)))
    assert not any("192.0.2.1 " in instances.logged(number) for number in range(2))


def test_no_ticket_reaches_nginx_files(instances: Instances, provider: Provider) -> None:
    provider.answer("test", Answer())
    client = instances.client()
    asked = client.post("/api/generate", json={"prompt": "?", "background": True}).json()
    with httpx.Client() as nobody:
        assert nobody.get(instances.url() + asked["events_url"]).status_code == 200
        # Refused by nginx itself, which would write the line into its error log.
        long = "x" * 40_000
        refused = nobody.get(f"{instances.url()}{asked['events_url']}&{long}")
        assert refused.status_code == 414
        nobody.get(f"{instances.url()}/ws?token={instances.token}")
    path = f"/api/generations/{asked['generation_id']}/events"
    until(lambda: path in instances.nginx.log.read_text())
    written = instances.nginx.log.read_text() + instances.nginx.errors.read_text()
    assert "ticket" not in written
    assert asked["ticket"] not in written
    assert instances.token not in written


def test_a_question_that_was_taken_is_not_sent_again_when_its_instance_dies(
    tmp_path: Path, provider: Provider
) -> None:
    provider.hold()
    provider.answer("gated", Answer(gate_after=BEFORE_HEADERS))
    asks = len(provider.asks)
    with running(tmp_path, provider, LEASE_SECONDS="600") as instances:
        client = instances.client()
        question = {"message": "?", "model": "chat/gated"}
        with ThreadPoolExecutor(1) as thread:
            asking = thread.submit(client.post, "/chat", json=question)
            provider.wait_for_request(10, number=asks + 1)
            [owner] = [number for number in range(2) if makes_one(instances, number)]
            instances.kill(owner)
            assert asking.result().status_code == 502
        # Whatever comes goes to the one that is left, and nobody notices.
        provider.release()
        for _ in range(6):
            assert client.post("/chat", json={"message": "!"}).status_code == 200
        questions = [ask.body["messages"][-1]["content"] for ask in provider.asks[asks:]]
        assert questions.count("?") == 1
        instances.restart(owner)
        assert {instances.every[number].status("/readyz") for number in range(2)} == {200}


def makes_one(instances: Instances, number: int) -> bool:
    page = httpx.get(f"{instances.url(number)}/metrics").text
    return "runnel_running_generations 1.0" in page
