"""Whoever leaves an answer of Bedrock's ends it at the provider at once, and holds no thread."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ConnectionClosedError

from asking_bedrock import MODEL, Account, account
from provider import BEFORE_HEADERS, Answer
from relays import TLSRelay
from runnel.chat.entities import Params
from runnel.models.bedrock_lines import Line, through
from runnel.models.langchain import LangChainModel
from saying import QUESTION, pieces_of, said
from waiting import soon

#: Far less than anything that a thread might otherwise wait for.
AT_ONCE = 1.0
PLACES = [BEFORE_HEADERS, 0, 1]
TWO = ("Hello", " world")


@pytest.fixture
def aws() -> Iterator[Account]:
    with account(most_streams=1) as there:
        yield there


async def leave(aws: Account, model: LangChainModel, place: int) -> None:
    """Asks, waits until the answer stalls at its place, and leaves."""
    aws.provider.answer(MODEL, Answer(TWO, stall_after=place))
    asked = len(aws.provider.asks) + 1
    left = aws.provider.client_left.value + 1
    stream = model.stream(QUESTION, Params())

    async def read() -> None:
        async for _ in stream:
            pass

    reading = asyncio.create_task(read())
    await asyncio.to_thread(aws.provider.wait_for_request, number=asked)
    reading.cancel()
    began = time.monotonic()
    await asyncio.gather(reading, return_exceptions=True)
    await stream.aclose()
    await asyncio.to_thread(aws.provider.client_left.wait_at_least, left, AT_ONCE)
    assert time.monotonic() - began < AT_ONCE


@pytest.mark.parametrize("place", PLACES)
async def test_leaving_closes_the_connection_and_frees_the_thread(aws: Account, place: int) -> None:
    model = aws.model()
    await leave(aws, model, place)
    # There is one thread for all answers.
    aws.provider.answer(MODEL, Answer(TWO))
    assert (await asyncio.wait_for(said(model), AT_ONCE)).text == "Hello world"


@pytest.mark.parametrize("place", PLACES)
async def test_leaving_ends_a_connection_with_tls_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: int
) -> None:
    with account(most_streams=1) as aws, TLSRelay(aws.provider.url, tmp_path) as relay:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(relay.certificate))
        aws.family._endpoint_url = relay.url
        model = aws.model()
        await leave(aws, model, place)
        aws.provider.answer(MODEL, Answer(TWO))
        assert (await asyncio.wait_for(said(model), AT_ONCE)).text == "Hello world"


async def test_leaving_in_the_middle_does_not_wait_for_the_next_piece(aws: Account) -> None:
    model = aws.model(MODEL, Answer(TWO, gate_after=1))
    stream = model.stream(QUESTION, Params())
    async for batch in stream:
        if any(piece.text for piece in pieces_of(batch)):
            break
    left = aws.provider.client_left.value
    began = time.monotonic()
    await stream.aclose()
    await asyncio.to_thread(aws.provider.client_left.wait_at_least, left + 1, AT_ONCE)
    assert time.monotonic() - began < AT_ONCE


async def test_who_waits_for_a_thread_and_leaves_never_asks(aws: Account) -> None:
    model = aws.model(MODEL, Answer(TWO, gate_after=0))
    first = asyncio.create_task(said(model))
    await asyncio.to_thread(aws.provider.at_gate.wait_at_least, 1)
    second = asyncio.create_task(said(model))
    await asyncio.sleep(0)  # it stands in line
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    aws.provider.release()
    assert (await first).text == "Hello world"
    assert (await said(model)).text == "Hello world"
    assert len(aws.provider.asks) == 2


async def test_no_thread_is_left_when_the_models_are_closed() -> None:
    with account(most_streams=4) as aws:
        model = aws.model()
        await asyncio.gather(*(said(model) for _ in range(4)))
        await leave(aws, model, BEFORE_HEADERS)
        assert 1 <= len(bedrock_threads()) <= 4
    await soon(lambda: not bedrock_threads())


def bedrock_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("bedrock")]


async def test_an_answer_read_to_its_end_leaves_its_connection_to_the_next(aws: Account) -> None:
    model = aws.model()
    for _ in range(3):
        await said(model)
    assert aws.provider.open_connections.value == 1


async def test_a_line_that_was_ended_takes_no_connection(aws: Account) -> None:
    model = aws.model()
    [client] = aws.family._clients.values()
    line = Line()
    line.end()
    with through(line), pytest.raises(ConnectionClosedError):
        client.converse_stream(modelId=MODEL, messages=[])
    # What is asked later is the first that arrives, on a connection of its own.
    await said(model)
    assert len(aws.provider.asks) == 1
    await asyncio.to_thread(aws.provider.open_connections.wait_at_most, 1)
