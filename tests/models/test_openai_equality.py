"""The client that reads the wire itself gives what the SDK's gives, and fails as that fails."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx2
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from recordings import RECORDINGS

from entries import entry
from provider import Answer, Provider
from runnel.chat.entities import Params, Turn
from runnel.chat.model_ports import Piece
from runnel.errors import RunnelError
from runnel.models.openai import OpenAIFamily
from runnel.models.openai_client import Completions
from runnel.models.openai_wire import Wire
from runnel.models.pieces import CALLS
from saying import pieces_of

STREAM = {"content-type": "text/event-stream"}
#: Whole; cut in every line's end and in every character of more than one byte.
CUTS = (None, 1, 7)
TURNS = [Turn("user", "?")]
BROKEN = ("what is no JSON", "what is no chunk", "a choice without a delta")
#: Ways to say why an answer ended, and how many tokens it took.
ENDINGS = (
    '{"choices":[{"delta":{"content":"last"},"finish_reason":"length"}]}',
    '{"choices":[{"delta":{},"finish_reason":"error"}]}',
    '{"choices":[{"delta":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}',
    '{"choices":[{"delta":{"role":"tool","content":"x"},"finish_reason":"stop"}]}',
    '{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"},{"delta":{"content":"b"}}]}',
    '{"choices":[{"delta":{"content":"on"},"finish_reason":null}],"usage":{"prompt_tokens":1,"completion_tokens":2}}',
    '{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":null}}',
    '{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}',
    '{"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":1}}',
    '{"choices":[],"usage":{"prompt_tokens":9999999999,"completion_tokens":1}}',
    '{"choices":[],"usage":{"prompt_tokens":"many","completion_tokens":1}}',
    '{"choices":[],"usage":{"total_tokens":3}}',
    '{"choices":[],"usage":[1,2]}',
    '{"choices":[],"usage":{}}',
    '{"choices":null,"usage":{"prompt_tokens":1,"completion_tokens":2}}',
    '{"usage":{"prompt_tokens":1,"completion_tokens":2}}',
)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.5, "stop": ["a"], "seed": 1},
    {"extra_body": {"max_tokens": 7, "response_format": {"type": "json_object"}}},
    {"logit_bias": {50256: -100}},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    {"extra_headers": {"X-Own": "1"}, "extra_query": {"a": "b"}},
]

Make = Callable[[str], ChatOpenAI]


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire(httpx2.create_ssl_context())
    yield wire
    await wire.close()


def stock(url: str) -> ChatOpenAI:
    return ChatOpenAI(
        model="m", base_url=url, api_key=SecretStr("k"), stream_usage=True, max_retries=0
    )


@pytest.fixture
def direct(wire: Wire) -> Make:
    def make(url: str) -> ChatOpenAI:
        client = stock(url)
        client.async_client = Completions(wire, client.root_async_client)
        return client

    return make


async def outcome(chunks: AsyncIterator[Any]) -> tuple[list[Any], str | None]:
    """All that came, and what was raised behind it."""
    seen: list[Any] = []
    try:
        async for chunk in chunks:
            seen.append(shown(chunk))  # noqa: PERF401 - what came before a fault counts too
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
        code, status = (getattr(error, name, None) for name in ("code", "status_code"))
        return seen, f"{type(error).__name__} {status} {code}"
    return seen, None


def shown(chunk: AIMessageChunk) -> dict[str, Any]:
    dumped = chunk.model_dump()
    if str(chunk.id).startswith("lc_run"):
        dumped["id"] = None  # drawn anew for each answer
    # The SDK writes a null wherever a provider has left out what there might have been.
    if logprobs := dumped["response_metadata"].get("logprobs"):
        dumped["response_metadata"]["logprobs"] = logprobs | {"refusal": None}
    return dumped | {"calls": getattr(chunk, CALLS, None)}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", RECORDINGS)
async def test_a_langchain_model_streams_the_same_chunks(
    provider: Provider, direct: Make, name: str, cut: int | None
) -> None:
    provider.answer("m", Answer(body=RECORDINGS[name], headers=STREAM, split_bytes=cut))
    asked = [HumanMessage("?")]
    expected, fault = await outcome(stock(provider.url).astream(asked))
    found, same_fault = await outcome(direct(provider.url).astream(asked))
    assert found == expected
    if name in BROKEN:  # by what exactly a client stumbles over nonsense is its own affair
        assert (same_fault is None) == (fault is None)
    else:
        assert same_fault == fault


@pytest.mark.parametrize(
    "status", [301, 400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503]
)
async def test_a_status_that_refuses_is_the_same_error(
    provider: Provider, direct: Make, status: int
) -> None:
    refused = Answer(status=status, error_code="why", headers={"retry-after": "3"})
    provider.answer("m", refused)
    expected = await outcome(stock(provider.url).astream("?"))
    assert await outcome(direct(provider.url).astream("?")) == expected
    assert expected[1] is not None


@pytest.mark.parametrize("place", [-1, 0, 1])
async def test_a_connection_that_breaks_is_the_same_error(
    provider: Provider, direct: Make, place: int
) -> None:
    provider.answer("m", Answer(cut_after=place))
    expected = await outcome(stock(provider.url).astream("?"))
    assert await outcome(direct(provider.url).astream("?")) == expected


async def test_a_port_where_nobody_listens_is_the_same_error(direct: Make) -> None:
    with Provider() as provider:
        nowhere = provider.refused_url()
        expected = await outcome(stock(nowhere).astream("?"))
        assert await outcome(direct(nowhere).astream("?")) == expected


@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_the_question_is_the_same(
    provider: Provider, direct: Make, options: dict[str, Any]
) -> None:
    said = [HumanMessage("wörld \u2028 👋")]
    for make in (stock, direct):
        async for _ in make(provider.url).astream(said, **options):
            pass
    expected, found = provider.requests
    assert found.body == expected.body
    assert (found.method, found.path) == (expected.method, expected.path)
    for name in ("authorization", "content-type", "accept", "user-agent", "x-own"):
        assert found.headers.get(name) == expected.headers.get(name), name


async def test_calls_that_are_not_streamed_go_over_the_sdk(
    provider: Provider, direct: Make
) -> None:
    said = await direct(provider.url).ainvoke("?")
    assert said.content == "Hello world"
    assert "stream" not in provider.requests[0].body or not provider.requests[0].body["stream"]


class Asked:
    """One alias, asked through each client."""

    def __init__(self, provider: Provider) -> None:
        self._url = provider.url

    async def pieces(self, *, directly: bool) -> tuple[Sequence[Piece], tuple[Any, ...] | None]:
        family = OpenAIFamily(direct=directly)
        model = family.build(entry("a", model="m"), api_key="k", base_url=self._url)
        pieces: list[Piece] = []
        fault = None
        try:
            async for batch in model.stream(TURNS, Params()):
                assert batch
                pieces += [piece for piece in pieces_of(batch) if piece != Piece()]
        except RunnelError as error:
            fault = (type(error), error.code, error.message, error.retryable, error.retry_after)
        finally:
            await family.close()
        return pieces, fault


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", RECORDINGS)
async def test_an_alias_says_the_same(provider: Provider, name: str, cut: int | None) -> None:
    provider.answer("m", Answer(body=RECORDINGS[name], headers=STREAM, split_bytes=cut))
    asked = Asked(provider)
    assert await asked.pieces(directly=True) == await asked.pieces(directly=False)


@pytest.mark.parametrize("ending", ENDINGS)
async def test_an_alias_hears_the_same_of_how_an_answer_ends(
    provider: Provider, ending: str
) -> None:
    said = f'data: {{"choices":[{{"delta":{{"content":"<think>"}}}}]}}\n\ndata: {ending}\n\n'
    provider.answer("m", Answer(body=said.encode(), headers=STREAM))
    asked = Asked(provider)
    assert await asked.pieces(directly=True) == await asked.pieces(directly=False)


async def test_what_came_with_a_chunk_that_is_none_is_said_before_the_fault(
    provider: Provider,
) -> None:
    said = b'data: {"choices":[{"delta":{"content":"Be"}}]}\n\ndata: {"choices":[5]}\n\n'
    provider.answer("m", Answer(body=said, headers=STREAM))
    pieces, fault = await Asked(provider).pieces(directly=True)
    assert pieces == [Piece("Be")]
    assert fault is not None


def test_recordings_are_what_they_say() -> None:
    for name, recording in RECORDINGS.items():
        datas = [line[6:] for line in recording.splitlines() if line.startswith(b"data: {")]
        if name not in BROKEN and "numbers that are none" not in name:
            assert all(isinstance(json.loads(data), dict) for data in datas), name
