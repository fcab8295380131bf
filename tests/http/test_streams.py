"""The frames, headers and JSON of an answer, as the contract shows them, over a real connection."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provider import BEFORE_HEADERS, Answer
from reading import Incoming, parsed_events, simplest_text, text_of, without_comments
from standing import Standing, standing

GENERATE = "/api/generate"
CHAT = "/chat"
RETRY = re.compile(rb"retry: [0-9]{4}\n\n")
STREAMS: list[tuple[str, dict[str, Any]]] = [
    (GENERATE, {}),
    (GENERATE, {"stream": True}),
    (CHAT, {"stream": True}),
    (CHAT, {"params": {"stream": True}}),
]
FAILED_FRAME = (
    b'event: failed\ndata: {"code":"upstream_error","message":'
    b'"The provider of chat/test failed (HTTP 500).","retryable":true}\n'
)


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(migrated, tmp_path_factory.mktemp("streams")) as there:
        yield there


@pytest.fixture(scope="module")
def hasty(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """Sends headers and heartbeats after a moment."""
    folder = tmp_path_factory.mktemp("hasty")
    with standing(migrated, folder, headers_after_seconds=0.05, heartbeat_seconds=0.05) as there:
        yield there


def after_retry(body: bytes) -> bytes:
    """What follows the `retry:` frame, whose number is free."""
    match = RETRY.match(body)
    assert match is not None, body[:40]
    return body[match.end() :]


def test_curl_receives_the_first_token_before_the_model_has_finished(stand: Standing) -> None:
    stand.provider.hold()
    prompt = stand.prompt(Answer(["Hello", " world"], gate_after=1))
    command = [
        *("curl", "--silent", "--show-error", "-N", f"{stand.server.url}{GENERATE}"),
        *("-H", f"Authorization: Bearer {stand.user.token}"),
        *("-H", "Content-Type: application/json", "-d", json.dumps({"prompt": prompt})),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
        assert curl.stdout is not None
        seen = b"".join(curl.stdout.readline() for _ in range(3))
        assert after_retry(seen) == b"data: Hello\n"
        stand.provider.at_gate.wait_at_least(1)  # the model is still at work
        stand.provider.release()
        rest = curl.stdout.read()
    assert curl.returncode == 0
    assert rest == b"\ndata:  world\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize(("path", "body"), STREAMS)
def test_the_text_dialect_is_the_contracts_byte_for_byte(
    stand: Standing, path: str, body: dict[str, Any]
) -> None:
    answer = Answer(["Hello", " world", "", "\n", "a\nb"])
    response = stand.ask(path, answer, **body)
    assert response.status_code == 200
    assert after_retry(response.content) == (
        b"data: Hello\n\ndata:  world\n\ndata: \ndata: \n\ndata: a\ndata: b\n\ndata: [DONE]\n\n"
    )


@pytest.mark.parametrize(("path", "body"), STREAMS)
def test_the_events_dialect_is_the_contracts_byte_for_byte(
    stand: Standing, path: str, body: dict[str, Any]
) -> None:
    response = stand.ask(path, Answer(["Hello", " world"], usage=(12, 34)), format="events", **body)
    assert response.status_code == 200
    ids = response.headers
    kept = stand.generation(ids["X-Generation-Id"])
    expected = (
        "event: start\n"
        f'data: {{"generation_id":"{ids["X-Generation-Id"]}","session_id":"{ids["X-Session-Id"]}",'
        f'"message_id":"{ids["X-Message-Id"]}","user_message_id":"{ids["X-User-Message-Id"]}",'
        '"model":"chat/test"}\n'
        "id: 1-0\n\n"
        'event: token\ndata: {"text":"Hello"}\nid: 1-1\n\n'
        'event: token\ndata: {"text":" world"}\nid: 1-2\n\n'
        "event: end\n"
        'data: {"finish_reason":"stop","usage":{"prompt_tokens":12,"completion_tokens":34,'
        '"total_tokens":46,"source":"provider"},"model":"chat/test","provider":"openai",'
        f'"provider_model":"test","text_length":11,"latency_ms":{kept["latency_ms"]},'
        f'"first_token_ms":{kept["first_token_ms"]}}}\n'
        "id: 1-3\n\n"
        "data: [DONE]\n\n"
    )
    assert after_retry(response.content).decode() == expected
    assert kept["position"] == "1-3"


@pytest.mark.parametrize("form", ["text", "events"])
@pytest.mark.parametrize(("path", "body"), STREAMS[1:3])
def test_a_stream_has_the_headers_of_the_contract(
    stand: Standing, path: str, body: dict[str, Any], form: str
) -> None:
    prompt = stand.prompt(Answer())
    response = stand.client.post(
        path,
        json={"message": prompt, "format": form} | body,
        headers={"Accept-Encoding": "gzip, br", "X-Request-Id": "of-the-test"},
    )
    headers = response.headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache, no-transform"
    assert headers["X-Accel-Buffering"] == "no"
    assert "Content-Encoding" not in headers
    assert headers["X-Request-Id"] == "of-the-test"
    assert_answer_headers(stand, dict(headers))


def assert_answer_headers(stand: Standing, headers: dict[str, str]) -> None:
    kept = stand.generation(headers["x-generation-id"])
    assert headers["x-session-id"] == kept["session_id"]
    assert headers["x-message-id"] == kept["message_id"]
    assert headers["x-user-message-id"] not in {"", kept["message_id"]}
    assert headers["x-ratelimit-limit"] == "10000"
    assert 0 < int(headers["x-ratelimit-remaining"]) < 10_000
    assert int(headers["x-ratelimit-reset"]) > 1_700_000_000  # epoch seconds
    assert headers["x-request-id"]


def test_the_json_answer_has_exactly_the_contracts_keys_and_headers(stand: Standing) -> None:
    response = stand.ask(CHAT, Answer(["Hello", " world"], usage=(12, 34)))
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert_answer_headers(stand, dict(response.headers))
    answer = response.json()
    latency_ms, first_token_ms = answer.pop("latency_ms"), answer.pop("first_token_ms")
    assert 0 <= first_token_ms <= latency_ms
    assert answer == {
        "generation_id": response.headers["X-Generation-Id"],
        "session_id": response.headers["X-Session-Id"],
        "message_id": response.headers["X-Message-Id"],
        "user_message_id": response.headers["X-User-Message-Id"],
        "text": "Hello world",
        "model": "chat/test",
        "provider": "openai",
        "provider_model": "test",
        "finish_reason": "stop",
        "usage": {
            "prompt_tokens": 12,
            "completion_tokens": 34,
            "total_tokens": 46,
            "source": "provider",
        },
    }


def test_a_generation_is_shown_with_exactly_the_contracts_keys(stand: Standing) -> None:
    answer = stand.ask(CHAT, Answer(["Hello", " world"])).json()
    shown = stand.generation(answer["generation_id"])
    created_at = shown.pop("created_at")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", created_at)
    assert shown == {
        "generation_id": answer["generation_id"],
        "session_id": answer["session_id"],
        "message_id": answer["message_id"],
        "status": "completed",
        "model": "chat/test",
        "provider": "openai",
        "text": "Hello world",
        "position": "1-3",
        "usage": answer["usage"],
        "finish_reason": "stop",
        "error": None,
        "context": {
            "messages": 1,
            "left_out": 0,
            "attachments_cut": 0,
            "attachments_left_out": 0,
        },
        "first_token_ms": answer["first_token_ms"],
        "latency_ms": answer["latency_ms"],
    }


@pytest.mark.parametrize("key", ["message", "prompt"])
@pytest.mark.parametrize("path", [GENERATE, CHAT])
def test_both_doors_take_the_question_as_message_and_as_prompt(
    stand: Standing, path: str, key: str
) -> None:
    prompt = stand.prompt(Answer(["yes"]))
    response = stand.client.post(path, json={key: prompt, "stream": True})
    assert simplest_text(response.content) == "yes"


@pytest.mark.parametrize("body", [{"stream": False}, {"params": {"stream": False}}])
def test_generate_refuses_not_to_stream(stand: Standing, body: dict[str, Any]) -> None:
    response = stand.ask(GENERATE, Answer(), **body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].endswith("stream")


def test_generate_is_posted_and_says_how(stand: Standing) -> None:
    response = stand.client.get(GENERATE)
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert f"curl -N {stand.server.url}{GENERATE}" in response.json()["detail"]


@pytest.mark.parametrize("form", ["text", "events"])
def test_headers_and_heartbeats_come_while_the_provider_is_silent(
    hasty: Standing, form: str
) -> None:
    hasty.provider.hold()
    prompt = hasty.prompt(Answer(["Hello"], gate_after=BEFORE_HEADERS))
    body = {"prompt": prompt, "format": form}
    with hasty.client.stream("POST", GENERATE, json=body) as response:
        assert response.status_code == 200
        assert response.headers["X-Generation-Id"]
        incoming = Incoming(response.iter_raw())
        incoming.until(b": heartbeat\n\n", times=3)
        assert hasty.provider.at_gate.value == 1
        hasty.provider.release()
        received = without_comments(incoming.rest())
    if form == "text":
        assert after_retry(received) == b"data: Hello\n\ndata: [DONE]\n\n"
    else:
        events = parsed_events(received)
        assert [event.name for event in events] == ["start", "token", "end"]
        assert text_of(events) == "Hello"


def test_heartbeats_come_in_mid_answer_too(hasty: Standing) -> None:
    hasty.provider.hold()
    prompt = hasty.prompt(Answer(["Hello", " world"], gate_after=1))
    with hasty.client.stream("POST", GENERATE, json={"prompt": prompt}) as response:
        incoming = Incoming(response.iter_raw())
        incoming.until(b"data: Hello\n\n")
        incoming.until(b": heartbeat\n\n", times=incoming.body.count(b": heartbeat\n\n") + 2)
        hasty.provider.release()
        received = without_comments(incoming.rest())
    assert after_retry(received) == b"data: Hello\n\ndata:  world\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize("form", ["text", "events"])
def test_a_fault_before_the_headers_is_an_http_status(stand: Standing, form: str) -> None:
    response = stand.ask(GENERATE, Answer(status=500), format=form)
    assert response.status_code == 502
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "upstream_error"
    assert response.json()["generation_id"] == response.headers["X-Generation-Id"]


@pytest.mark.parametrize("form", ["text", "events"])
def test_a_fault_after_the_headers_is_a_frame(hasty: Standing, form: str) -> None:
    hasty.provider.hold()
    prompt = hasty.prompt(Answer(status=500, gate_after=BEFORE_HEADERS))
    body = {"prompt": prompt, "format": form}
    with hasty.client.stream("POST", GENERATE, json=body) as response:
        assert response.status_code == 200  # the headers are here, the fault is not
        hasty.provider.release()
        received = after_retry(without_comments(response.read()))
    if form == "text":
        assert received == FAILED_FRAME + b"\ndata: [DONE]\n\n"
    else:
        assert received.endswith(FAILED_FRAME + b"id: 1-1\n\ndata: [DONE]\n\n")
        assert [event.name for event in parsed_events(received)] == ["start", "failed"]


def test_a_reader_sees_each_token_as_soon_as_the_model_gave_it(stand: Standing) -> None:
    stand.provider.hold()
    prompt = stand.prompt(Answer(["one", " two", " three"], gate_after=2))
    body = {"message": prompt, "stream": True, "format": "events"}
    with stand.client.stream("POST", CHAT, json=body) as response:
        incoming = Incoming(response.iter_raw())
        incoming.until(b'{"text":" two"}\nid: 1-2\n\n')
        assert b"three" not in incoming.body
        stand.provider.release()
        assert text_of(parsed_events(incoming.rest())) == "one two three"
