"""Who leaves an answer of /v1 ends it, at once: nobody could come back to it."""

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import pytest
from openai import OpenAI

from leaving import leave_without_reading, leave_without_waiting
from provider import BEFORE_HEADERS, Answer
from surface import COMPLETIONS, HELLO, MODEL, Surface, chunks_of

#: The grace of other doors is no help here, and headers come soon.
SETTINGS = {
    "disconnect_grace_seconds": 3600,
    "headers_after_seconds": 0.2,
    "send_timeout_seconds": 0.5,
}
HALF: Final = Answer(("half", " whole"), gate_after=1)
UNBEGUN: Final = Answer(gate_after=BEFORE_HEADERS)
LEFT: Final = ("aborted", "half", "disconnect", None)


@contextmanager
def upstream_closed_within(v1: Surface, seconds: float = 1.0) -> Generator[None]:
    """The provider's own view: its client has gone soon after what happens inside."""
    left = v1.provider.client_left.value
    yield
    began = time.monotonic()
    v1.provider.client_left.wait_at_least(left + 1)
    assert time.monotonic() - began < seconds


def test_who_closes_a_stream_ends_the_answer(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", HALF)
    with upstream_closed_within(v1):
        stream = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "half"]
        stream.close()
    assert v1.ended() == LEFT


async def test_who_closes_the_whole_client_ends_the_answer(v1: Surface) -> None:
    v1.provider.answer("test", HALF)
    left = v1.provider.client_left.value
    async with v1.asynchronous() as client:
        stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        read = [(await anext(stream)).choices[0].delta.content for _ in range(2)]
    assert read == ["", "half"]
    await asyncio.to_thread(v1.provider.client_left.wait_at_least, left + 1, 1)
    assert await asyncio.to_thread(v1.ended) == LEFT


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("answer", [UNBEGUN, HALF], ids=["unbegun", "half"])
async def test_whose_call_is_cancelled_ends_the_answer(
    v1: Surface, answer: Answer, *, stream: bool
) -> None:
    v1.provider.answer("test", answer)
    left = v1.provider.client_left.value
    async with v1.asynchronous() as client:

        async def ask() -> None:
            call = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=stream)
            if stream:
                [chunk async for chunk in call]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType] - of the two kinds of answers the streamed one

        asking = asyncio.create_task(ask())
        await asyncio.to_thread(v1.provider.at_gate.wait_at_least, 1)
        asking.cancel()
        await asyncio.wait([asking])
        await asyncio.to_thread(v1.provider.client_left.wait_at_least, left + 1, 1)
    status, text, by, _ = await asyncio.to_thread(v1.ended)
    assert (status, by) == ("aborted", "disconnect")
    assert text == ("half" if answer is HALF else "")


def test_who_leaves_before_the_headers_ends_the_answer(v1: Surface) -> None:
    v1.provider.answer("test", UNBEGUN)
    with upstream_closed_within(v1):
        leave_without_waiting(v1)
    assert v1.ended() == ("aborted", "", "disconnect", None)


def test_who_reads_no_more_ends_the_answer(v1: Surface) -> None:
    """The connection stays, and nothing is taken from it."""
    v1.provider.answer("test", Answer(["x" * 100_000] * 40, gate_after=40))
    left = v1.provider.client_left.value
    with leave_without_reading(v1):
        v1.provider.client_left.wait_at_least(left + 1)
    assert v1.ended()[::2] == ("aborted", "disconnect")


def test_who_has_read_it_all_ends_nothing(v1: Surface, client: OpenAI) -> None:
    left = v1.provider.client_left.value
    for stream in (True, False):
        assert v1.post(stream=stream).status_code == 200
        assert v1.ended() == ("completed", "Hello world", None, None)
    with client.chat.completions.create(model=MODEL, messages=HELLO, stream=True) as stream:
        list(stream)
    assert v1.ended()[0] == "completed"
    assert v1.provider.client_left.value == left


def test_one_who_leaves_ends_no_others_answer(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", HALF)
    staying = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    with upstream_closed_within(v1):
        leaving = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        next(leaving)
        leaving.close()
    v1.provider.release()
    assert "".join(chunk.choices[0].delta.content or "" for chunk in staying) == "half whole"


def test_an_abort_by_another_ends_a_stream_as_what_it_is(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", HALF)
    with client.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    ) as stream:
        assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "half"]
        generation_id = stream.response.headers["x-generation-id"]
        v1.http.post(f"/api/generations/{generation_id}/abort").raise_for_status()
        finish, counted = list(stream)
    assert finish.choices[0].finish_reason == "aborted"
    assert counted.usage
    assert counted.usage.completion_tokens > 0
    assert v1.ended() == ("aborted", "half", "user", None)


async def test_an_abort_by_another_gives_a_whole_answer_as_far_as_it_came(v1: Surface) -> None:
    v1.provider.answer("test", HALF)
    async with v1.asynchronous() as client:
        call = client.chat.completions.create(model=MODEL, messages=HELLO)
        asking = asyncio.create_task(call)
        await asyncio.to_thread(v1.provider.at_gate.wait_at_least, 1)
        page = v1.http.get("/api/generations?status=running").json()
        [running] = page["generations"]
        v1.http.post(f"/api/generations/{running['generation_id']}/abort").raise_for_status()
        completion = await asking
    [choice] = completion.choices
    assert (choice.message.content, choice.finish_reason) == ("half", "aborted")


def test_a_stop_of_the_server_is_no_whole_answer(v1: Surface) -> None:
    v1.provider.answer("test", HALF)
    body = {"model": MODEL, "messages": HELLO, "stream": True}
    with v1.http.stream("POST", COMPLETIONS, json=body) as response:
        lines = response.iter_lines()
        while "half" not in next(lines):
            pass
        chat = v1.server.server.parts.chat
        chat._running._drained = False  # by the tests before
        v1.server.call(chat.drain(0))
        rest = "\n".join([*lines, ""]).lstrip()
    chat._running._closing = chat._running._ending = False
    [chunk] = chunks_of(rest.encode())
    assert chunk["error"]["code"] == "interrupted"
    assert v1.ended() == ("interrupted", "half", None, "interrupted")
