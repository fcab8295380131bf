"""Tracing: spans of requests and answers, as a collector gets them over the wire."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from collector import Collector, collecting
from provider import Answer
from reading import Incoming
from runnel.errors import StartupError
from runnel.telemetry.tracing import Tracing
from serving import LiveServer, settings_for
from standing import Standing, standing
from waiting import until

CHAT = "/chat"
GENERATE = "/api/generate"
PIECES = tuple(f"{number} " for number in range(30))


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as there:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", there.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", ".*")
        yield there


@pytest.fixture
def stand(migrated: Path, tmp_path: Path, collector: Collector) -> Iterator[Standing]:
    del collector
    with standing(migrated, tmp_path, tracing=True) as there:
        yield there


def test_an_answer_has_one_span_below_that_of_its_request(
    stand: Standing, collector: Collector
) -> None:
    whole = stand.ask(CHAT, Answer(PIECES, usage=(7, 3), delay=0.01)).json()
    until(lambda: collector.named("generation") and collector.named("POST /chat"))
    [answer] = collector.named("generation")
    [request] = collector.named("POST /chat")
    assert collector.paths == {"/v1/traces"}
    assert answer.service == request.service == "runnel"
    assert (answer.parent_id, answer.trace_id) == (request.span_id, request.trace_id)
    assert answer.attributes == {
        "runnel.generation_id": whole["generation_id"],
        "runnel.alias": "chat/test",
        "runnel.provider": "openai",
        "runnel.model": "test",
        "runnel.status": "completed",
        "runnel.finish_reason": "stop",
        "runnel.first_token_ms": whole["first_token_ms"],
        "runnel.prompt_tokens": 7,
        "runnel.completion_tokens": 3,
    }
    assert (answer.ended - answer.began) // 1_000_000 == whole["latency_ms"]
    assert not answer.failed
    assert request.attributes["http.route"] == "/chat"
    assert request.attributes["http.status_code"] == 200
    assert request.began <= answer.ended <= request.ended


def test_no_frame_has_a_span(stand: Standing, collector: Collector) -> None:
    body = {"prompt": stand.prompt(Answer(PIECES))}
    with stand.client.stream("POST", GENERATE, json=body) as response:
        Incoming(response.iter_raw()).rest()
        generation_id = response.headers["X-Generation-Id"]
    stand.client.get(f"/api/generations/{generation_id}/events")
    until(lambda: len(collector.spans) >= 3)
    stand.client.get("/healthz")
    until(lambda: collector.named("GET /healthz"))
    assert sorted(span.name for span in collector.spans) == [
        "GET /api/generations/{generation_id}/events",
        "GET /healthz",
        "POST /api/generate",
        "generation",
    ]


def test_a_background_answer_ends_below_a_request_that_is_long_over(
    stand: Standing, collector: Collector
) -> None:
    accepted = stand.ask(CHAT, Answer(PIECES, gate_after=3), background=True).json()
    until(lambda: collector.named("POST /chat"))
    stand.client.post(accepted["abort_url"]).raise_for_status()
    until(lambda: collector.named("generation"))
    [answer] = collector.named("generation")
    [request] = collector.named("POST /chat")
    assert answer.parent_id == request.span_id
    assert answer.attributes["runnel.status"] == "aborted"
    assert answer.ended >= request.ended


def test_a_failed_answer_says_why(stand: Standing, collector: Collector) -> None:
    stand.ask(CHAT, Answer(status=500))
    until(lambda: collector.named("generation") and collector.named("POST /chat"))
    [answer] = collector.named("generation")
    assert answer.failed
    assert answer.attributes["runnel.error_code"] == "upstream_error"
    [request] = collector.named("POST /chat")
    assert request.failed
    assert request.attributes["http.status_code"] == 502


def test_a_callers_trace_goes_on(stand: Standing, collector: Collector) -> None:
    caller = f"00-{'ab' * 16}-{'cd' * 8}-01"
    stand.client.get("/healthz", headers={"traceparent": caller})
    until(lambda: collector.named("GET /healthz"))
    [request] = collector.named("GET /healthz")
    assert (request.trace_id, request.parent_id) == ("ab" * 16, "cd" * 8)


def test_no_ticket_and_no_token_is_in_a_span(stand: Standing, collector: Collector) -> None:
    accepted = stand.ask(CHAT, Answer(PIECES), background=True).json()
    stand.client.get(accepted["events_url"], headers={"Authorization": ""})
    stand.client.get(accepted["events_url"], headers={"Cookie": "canary-cookie"})
    token = stand.user.token
    for path in (f"/nothing/{token}", f"/nothing?token={token}", f"/{'canary-' * 200}"):
        assert stand.client.get(path).status_code == 404
    stand.ask(CHAT, Answer(("canary-words",)), client_message_id="canary-key")
    stand.client.get("/healthz")
    until(lambda: collector.named("GET /healthz"))
    until(lambda: len(collector.named("POST /chat")) == 2)
    for secret in (accepted["ticket"], token, "ticket=", "canary-cookie", "canary-words"):
        assert secret.encode() not in collector.raw
    assert b"canary-key" not in collector.raw
    assert b"canary-" * 100 not in collector.raw


def test_a_fault_of_the_server_is_a_span_without_its_words(
    stand: Standing, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object, **__: object) -> None:
        raise ZeroDivisionError("canary-in-an-exception")

    monkeypatch.setattr(stand.server.server.parts.chat, "generations", breaks)
    assert stand.client.get("/api/generations").status_code == 500
    until(lambda: collector.named("GET /api/generations"))
    [request] = collector.named("GET /api/generations")
    assert request.failed
    assert b"canary" not in collector.raw


async def test_what_a_request_raises_before_its_end_is_raised_and_not_told(
    collector: Collector,
) -> None:
    async def breaks(*_: object) -> None:
        raise ZeroDivisionError("canary-in-an-exception")

    async def nothing(*_: object) -> Any:
        raise AssertionError

    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/x",
        "headers": [],
        "query_string": b"",
    }
    tracing = Tracing("1", str)
    with pytest.raises(ZeroDivisionError):
        await tracing.around(breaks)(scope, nothing, nothing)
    await tracing.close()
    [request] = collector.spans
    assert request.failed
    assert b"canary" not in collector.raw


def test_the_last_spans_are_sent_at_the_end(
    migrated: Path, tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "my chat")
    with standing(migrated, tmp_path, tracing=True) as stand:
        stand.ask(CHAT, Answer(PIECES, gate_after=1), background=True)
        stand.provider.at_gate.wait_at_least(1)
        assert collector.spans == []
    [answer] = collector.named("generation")
    assert answer.attributes["runnel.status"] == "interrupted"
    assert answer.service == "my chat"


def test_a_collector_that_hangs_holds_no_end_up_for_long(
    migrated: Path, tmp_path: Path, collector: Collector
) -> None:
    collector.gate.clear()
    with capture_logs() as logged:
        with standing(migrated, tmp_path, tracing=True) as stand:
            stand.ask(CHAT, Answer(PIECES))
            began = time.monotonic()
        took = time.monotonic() - began
    assert took < 9
    assert "tracing.not_flushed" in [entry["event"] for entry in logged]


def test_without_the_extra_the_start_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "runnel.telemetry.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    for name in [name for name in sys.modules if name.startswith("opentelemetry.exporter.otlp.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with (
        pytest.raises(StartupError, match=r"pip install -e '\.\[tracing\]'"),
        LiveServer(settings_for(tmp_path, tracing=True)),
    ):
        pass


def test_a_variable_that_says_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1")
    with (
        pytest.raises(StartupError, match="OTEL_"),
        LiveServer(settings_for(tmp_path, tracing=True)),
    ):
        pass


OFF = """
import asyncio, sys
from pathlib import Path
from runnel.bootstrap.server import open_server
from runnel.edge.app import create_app
from runnel.settings import Settings

async def main() -> None:
    async with open_server(Settings(data_dir=Path("data"), startup_check="off")) as server:
        create_app(server.parts)

asyncio.run(main())
wanted = ("opentelemetry.exporter", "opentelemetry.instrumentation", "runnel.telemetry.tracing")
print([name for name in sys.modules if name.startswith(wanted)])
"""


def test_where_it_is_off_nothing_of_it_is_imported(tmp_path: Path) -> None:
    environment: dict[str, Any] = {"PATH": "/usr/bin"}
    done = subprocess.run(
        [sys.executable, "-c", OFF],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert done.stdout.splitlines()[-1] == "[]"
