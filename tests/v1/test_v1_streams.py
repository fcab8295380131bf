"""Streamed answers of /v1: the exact bytes, and what the official client makes of them."""

import json
from typing import Any

import pytest
from openai import OpenAI

from provider import BEFORE_HEADERS, Answer
from provider_script import reasoning
from surface import COMPLETIONS, HELLO, MODEL, Surface, chunks_of, text_of

SETTINGS = {"headers_after_seconds": 0.2, "heartbeat_seconds": 0.1}


def test_the_bytes_are_chunks_and_the_end_mark_and_nothing_else(v1: Surface) -> None:
    v1.provider.answer("test", Answer(("Hel", "lo")))
    response = v1.post(stream=True)
    generation_id = response.headers["x-generation-id"]
    created = chunks_of(response.content)[0]["created"]

    def chunk(delta: str, reason: str = "null") -> str:
        return (
            f'data: {{"id":"chatcmpl-{generation_id}","object":"chat.completion.chunk",'
            f'"created":{created},"model":"chat/test","choices":[{{"index":0,"delta":{delta},'
            f'"logprobs":null,"finish_reason":{reason}}}]}}\n\n'
        )

    assert response.text == "".join(
        [
            chunk('{"role":"assistant","content":""}'),
            chunk('{"content":"Hel"}'),
            chunk('{"content":"lo"}'),
            chunk("{}", '"stop"'),
            "data: [DONE]\n\n",
        ]
    )


def test_a_stream_has_the_headers_of_every_stream_and_answer(v1: Surface) -> None:
    headers = v1.post(stream=True).headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache, no-transform"
    assert headers["x-accel-buffering"] == "no"
    for name in ("x-request-id", "x-session-id", "x-generation-id", "x-message-id"):
        assert headers[name]
    assert int(headers["x-ratelimit-remaining"]) == int(headers["x-ratelimit-limit"]) - 1


def test_tokens_are_told_in_a_last_chunk_if_asked_for(v1: Surface) -> None:
    v1.provider.answer("test", Answer(usage=(7, 3)))
    asked = v1.post(stream=True, stream_options={"include_usage": True})
    *chunks, last = chunks_of(asked.content)
    assert {chunk["usage"] for chunk in chunks} == {None}
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    for chunk in chunks_of(v1.post(stream=True).content):
        assert "usage" not in chunk


def test_the_official_client_reads_text_reason_and_tokens(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", Answer(("un", "\n\n", "été ", "\U0001f600"), finish_reason="length"))
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    *spoken, finish, counted = chunks
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in spoken) == "un\n\nété \U0001f600"
    )
    assert spoken[0].choices[0].delta.role == "assistant"
    assert {chunk.choices[0].finish_reason for chunk in spoken} == {None}
    assert finish.choices[0].finish_reason == "length"
    assert counted.usage
    assert counted.usage.total_tokens == 15
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {MODEL}


async def test_the_asynchronous_client_reads_the_same(v1: Surface) -> None:
    async with v1.asynchronous() as client:
        stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        deltas = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(deltas) == "Hello world"


@pytest.mark.parametrize(
    "pieces",
    [
        ("say\n", "[DONE]\n", "again"),
        ("[DO", "NE]"),
        ("data: [DONE]\n\n", "data: {}\n\n"),
        ("a\u2028b\u2029c\x85d\x0be\x0cf", "\x1c\x1d\x1e"),
        ("\r\n", "x\r", "\ny"),
        ('{"error": {"message": "no"}}',),
    ],
    ids=["a line", "cut", "frames", "line ends of others", "line ends", "an error"],
)
def test_no_text_can_end_or_break_a_stream(
    v1: Surface, client: OpenAI, pieces: tuple[str, ...]
) -> None:
    v1.provider.answer("test", Answer(pieces))
    text = "".join(pieces).replace("\r\n", "\n").replace("\r", "\n")
    body = v1.post(stream=True)
    assert text_of(chunks_of(body.content)) == text
    # A reader that splits at whatever Unicode calls a line end finds the same lines.
    assert body.text.splitlines() == body.text.split("\n")[:-1]
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == text


@pytest.mark.parametrize("stream", [True, False])
def test_reasoning_is_never_content(v1: Surface, *, stream: bool) -> None:
    thinking: list[Any] = [reasoning("secret thought"), "<think>another", " secret</think>\n\nfour"]
    v1.provider.answer("test", Answer(thinking))
    body = v1.post(stream=stream)
    assert "secret" not in body.text
    if stream:
        assert text_of(chunks_of(body.content)) == "four"
    else:
        assert body.json()["choices"][0]["message"]["content"] == "four"


def test_a_slow_model_has_headers_and_heartbeats_that_no_client_sees(
    v1: Surface, client: OpenAI
) -> None:
    v1.provider.answer("test", Answer(gate_after=BEFORE_HEADERS))
    with v1.http.stream(
        "POST", COMPLETIONS, json={"model": MODEL, "messages": HELLO, "stream": True}
    ) as response:
        read = b""
        bodies = response.iter_raw()
        while b": heartbeat\n\n" not in read:
            read += next(bodies)
        v1.provider.release()
        read += b"".join(bodies)
    assert text_of(chunks_of(read)) == "Hello world"
    v1.provider.hold()
    with client.chat.completions.create(model=MODEL, messages=HELLO, stream=True) as stream:
        first = next(stream)
        assert first.choices[0].delta.content == ""
        v1.provider.at_gate.wait_at_least(1)
        v1.provider.release()
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello world"


def test_chunks_name_the_alias_that_was_asked_and_the_last_who_served(v1: Surface) -> None:
    v1.provider.answer("test", Answer(status=500))
    chunks = chunks_of(v1.post(model="chat/passing-on", stream=True).content)
    assert text_of(chunks) == "Hello world"
    assert {chunk["model"] for chunk in chunks[:-1]} == {"chat/passing-on"}
    assert chunks[-1]["model"] == "chat/other"


def test_the_demo_answers_too(v1: Surface) -> None:
    response = v1.post(model="chat/demo", stream=True)
    assert "demo" in text_of(chunks_of(response.content))


def test_the_first_chunk_comes_before_the_last_is_made(v1: Surface) -> None:
    v1.provider.answer("test", Answer(("first", " second"), gate_after=1))
    body = {"model": MODEL, "messages": HELLO, "stream": True}
    with v1.http.stream("POST", COMPLETIONS, json=body) as response:
        lines = response.iter_lines()
        assert "first" in _until_text(lines)
        v1.provider.release()
        assert " second" in _until_text(lines)
        assert list(lines)[-2:] == ["data: [DONE]", ""]


def _until_text(lines: Any) -> str:
    for line in lines:
        if line.startswith("data: {"):
            delta = json.loads(line.removeprefix("data: "))["choices"][0]["delta"]
            if delta.get("content"):
                return str(delta["content"])
    raise AssertionError


def test_a_stream_is_asked_for_with_a_body_alone(v1: Surface) -> None:
    """No `Accept` is needed, and what it says changes nothing."""
    for accept in ("*/*", "application/json", "text/event-stream"):
        response = v1.http.post(
            COMPLETIONS,
            json={"model": MODEL, "messages": HELLO, "stream": True},
            headers={"Accept": accept},
        )
        assert text_of(chunks_of(response.content)) == "Hello world"
