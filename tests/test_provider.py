"""The stand-in provider itself: on the raw wire, and under the client that Runnel uses."""

from __future__ import annotations

import asyncio
import json
import time
from io import StringIO
from typing import TYPE_CHECKING

import httpx
import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from provider import BEFORE_HEADERS, Answer, Provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from provider_script import JsonObject

LEAVE_SECONDS = 1.0


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture
async def http(provider: Provider) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=provider.url) as http:
        yield http


@pytest.fixture
async def pool() -> AsyncIterator[openai.DefaultAsyncHttpxClient]:
    # The pool that ChatOpenAI makes for itself is shared in the process and never closed.
    async with openai.DefaultAsyncHttpxClient() as pool:
        yield pool


@pytest.fixture
def chat(provider: Provider, pool: openai.DefaultAsyncHttpxClient) -> ChatOpenAI:
    return chat_at(provider.url, pool)


def chat_at(url: str, pool: openai.DefaultAsyncHttpxClient) -> ChatOpenAI:
    return ChatOpenAI(
        model="m",
        base_url=url,
        api_key=SecretStr("x"),
        max_retries=0,
        stream_usage=True,
        http_async_client=pool,
    )


def ask(content: str = "hi", *, usage: bool = False) -> JsonObject:
    body: JsonObject = {
        "model": "m",
        "stream": True,
        "messages": [{"role": "user", "content": content}],
    }
    return body | ({"stream_options": {"include_usage": True}} if usage else {})


async def read_stream(http: httpx.AsyncClient, body: JsonObject) -> list[JsonObject]:
    """The chunks of a whole stream; the last line must be `[DONE]`."""
    response = await http.post("/chat/completions", json=body)
    *events, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


def text_of(chunks: list[JsonObject]) -> str:
    return "".join(
        choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]
    )


async def test_a_stream_is_a_role_then_text_then_a_finish_reason(http: httpx.AsyncClient) -> None:
    chunks = await read_stream(http, ask())

    choices = [chunk["choices"][0] for chunk in chunks]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        {"content": "Hello"},
        {"content": " world"},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]
    assert {(chunk["object"], chunk["model"]) for chunk in chunks} == {
        ("chat.completion.chunk", "m")
    }
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert not any("usage" in chunk for chunk in chunks)


async def test_usage_comes_last_and_only_if_asked(http: httpx.AsyncClient) -> None:
    *others, last = await read_stream(http, ask(usage=True))

    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert [chunk["usage"] for chunk in others] == [None] * 4


async def test_an_answer_that_is_not_streamed_is_one_object(http: httpx.AsyncClient) -> None:
    response = await http.post("/chat/completions", json=ask() | {"stream": False})

    completion = response.json()
    assert completion["object"] == "chat.completion"
    assert completion["choices"][0]["message"]["content"] == "Hello world"
    assert completion["choices"][0]["finish_reason"] == "stop"
    assert completion["usage"]["total_tokens"] == 15


async def test_answers_come_in_turn_and_the_last_repeats(
    provider: Provider, http: httpx.AsyncClient
) -> None:
    provider.answer("m", Answer(["one"]), Answer(["two"]))

    assert [text_of(await read_stream(http, ask())) for _ in range(3)] == ["one", "two", "two"]
    assert [request.body for request in provider.asks] == [ask()] * 3
    assert provider.open_connections.value == 1


async def test_answers_that_depend_on_the_request_do_not_mix(
    provider: Provider, http: httpx.AsyncClient
) -> None:
    def echo(body: JsonObject) -> Answer:
        return Answer([body["messages"][0]["content"]] * 20, gate_after=10)

    provider.answer("m", echo)
    streams = [asyncio.create_task(read_stream(http, ask(f"<{n}>"))) for n in range(50)]
    await asyncio.to_thread(provider.at_gate.wait_at_least, 50)
    provider.release()

    assert [text_of(await stream) for stream in streams] == [f"<{n}>" * 20 for n in range(50)]


async def test_models_are_those_with_a_script(provider: Provider, http: httpx.AsyncClient) -> None:
    provider.answer("m")
    response = await http.get("/models")

    assert [model["id"] for model in response.json()["data"]] == ["m"]
    assert (await http.get("/else")).status_code == 404


async def test_a_refusal_has_openais_error_body_and_the_headers(
    provider: Provider, http: httpx.AsyncClient
) -> None:
    provider.answer(
        "m",
        Answer(status=429, headers={"retry-after": "7"}, error_message="canary", error_code="c"),
    )
    response = await http.post("/chat/completions", json=ask())

    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    error = {"message": "canary", "type": "invalid_request_error", "param": None, "code": "c"}
    assert response.json() == {"error": error}


async def test_a_gate_holds_what_follows_it(provider: Provider, http: httpx.AsyncClient) -> None:
    provider.answer("m", Answer(gate_after=1))
    async with http.stream("POST", "/chat/completions", json=ask()) as response:
        events = (line async for line in response.aiter_lines() if line)
        before = [await anext(events), await anext(events)]
        await asyncio.to_thread(provider.at_gate.wait_at_least, 1)
        provider.release()
        after = [event async for event in events]

    assert "Hello" in before[1]
    assert [" world" in event for event in after] == [True, False, False]
    assert provider.at_gate.value == 0


async def test_a_cut_comes_after_all_the_pieces_before_it(
    provider: Provider, http: httpx.AsyncClient
) -> None:
    pieces = ["x" * 100_000] * 20
    provider.answer("m", Answer(pieces, cut_after=19))
    received = bytearray()

    async def read() -> None:
        async with http.stream("POST", "/chat/completions", json=ask()) as response:
            async for data in response.aiter_bytes():
                received.extend(data)

    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        await read()
    assert received.count(b"x" * 100_000) == 19
    assert provider.client_left.value == 0


async def test_a_cut_can_come_before_the_headers(
    provider: Provider, http: httpx.AsyncClient
) -> None:
    provider.answer("m", Answer(cut_after=BEFORE_HEADERS))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await http.post("/chat/completions", json=ask())


async def test_the_body_is_cut_where_the_script_says(
    provider: Provider, http: httpx.AsyncClient
) -> None:
    provider.answer("m", Answer(["é😀"], split_bytes=1))
    async with http.stream("POST", "/chat/completions", json=ask()) as response:
        parts = [part async for part in response.aiter_raw()]

    assert {len(part) for part in parts} == {1}
    assert "é😀".encode() in b"".join(parts)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(gate_after=0),
        Answer(stall_after=1),
        Answer(stall_after=BEFORE_HEADERS),
        Answer(delay=60.0),
        Answer(["x" * 100_000] * 300),
    ],
    ids=["gated", "stalled", "before the headers", "between pieces", "in a write"],
)
async def test_a_client_that_leaves_is_noticed(
    provider: Provider, http: httpx.AsyncClient, answer: Answer
) -> None:
    async def read_nothing() -> None:
        async with http.stream("POST", "/chat/completions", json=ask()):
            await asyncio.Event().wait()

    provider.answer("m", answer)
    reading = asyncio.create_task(read_nothing())
    await asyncio.to_thread(provider.wait_for_request)
    reading.cancel()

    await asyncio.to_thread(provider.client_left.wait_at_least, 1, LEAVE_SECONDS)
    await asyncio.to_thread(provider.open_connections.wait_at_most, 0, LEAVE_SECONDS)


async def test_stopping_waits_for_nobody() -> None:
    async with httpx.AsyncClient() as http:
        with Provider() as provider:
            provider.answer("m", Answer(stall_after=1))
            url = f"{provider.url}/chat/completions"
            reading = asyncio.create_task(http.post(url, json=ask()))
            await asyncio.to_thread(provider.wait_for_request)
            begun = time.monotonic()
        assert time.monotonic() - begun < 1.0
        with pytest.raises(httpx.TransportError):
            await reading
    assert provider.client_left.value == 0


async def test_a_bug_in_a_script_comes_out_on_exit() -> None:
    def broken(_: JsonObject) -> Answer:
        raise LookupError("canary")

    async def meet_it() -> None:
        with Provider() as provider:
            provider.answer("m", broken)
            async with httpx.AsyncClient() as http:
                with pytest.raises(httpx.TransportError):
                    await http.post(f"{provider.url}/chat/completions", json=ask())

    with pytest.raises(LookupError, match="canary"):
        await meet_it()


async def test_langchain_reads_text_usage_and_finish_reason(chat: ChatOpenAI) -> None:
    chunks = [chunk async for chunk in chat.astream("hi")]

    assert [chunk.content for chunk in chunks] == ["", "Hello", " world", "", "", ""]
    reasons = [chunk.response_metadata.get("finish_reason") for chunk in chunks]
    assert reasons == [None, None, None, "stop", None, None]
    (usage,) = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert (usage["input_tokens"], usage["output_tokens"]) == (10, 5)


async def test_langchain_tells_a_rate_limit_and_how_long(
    provider: Provider, chat: ChatOpenAI
) -> None:
    provider.answer("m", Answer(status=429, headers={"retry-after": "7"}, error_code="slow"))
    with pytest.raises(openai.RateLimitError) as refused:
        await anext(chat.astream("hi"))

    assert (refused.value.status_code, refused.value.code) == (429, "slow")
    assert refused.value.response.headers["retry-after"] == "7"


async def test_langchain_reports_a_cut_after_the_pieces_before_it(
    provider: Provider, chat: ChatOpenAI
) -> None:
    provider.answer("m", Answer(cut_after=1))
    received = StringIO()

    async def read() -> None:
        async for chunk in chat.astream("hi"):
            received.write(chunk.text)

    with pytest.raises(openai.APIConnectionError):
        await read()
    assert received.getvalue() == "Hello"


async def test_langchain_hands_on_halves_of_a_surrogate_pair(
    provider: Provider, chat: ChatOpenAI
) -> None:
    provider.answer("m", Answer(["a\ud83d", "\ude00b"], escape=True))
    texts = [chunk.text async for chunk in chat.astream("hi")]

    assert [text for text in texts if text] == ["a\ud83d", "\ude00b"]


async def test_langchain_reports_a_refused_connection(
    provider: Provider, pool: openai.DefaultAsyncHttpxClient
) -> None:
    with pytest.raises(openai.APIConnectionError):
        await anext(chat_at(provider.refused_url(), pool).astream("hi"))


async def test_langchain_leaves_when_its_task_is_cancelled(
    provider: Provider, chat: ChatOpenAI
) -> None:
    provider.answer("m", Answer(gate_after=1))
    begun = asyncio.Event()

    async def follow() -> None:
        async for chunk in chat.astream("hi"):
            if chunk.text:
                begun.set()

    following = asyncio.create_task(follow())
    await begun.wait()
    following.cancel()

    await asyncio.to_thread(provider.client_left.wait_at_least, 1, LEAVE_SECONDS)
