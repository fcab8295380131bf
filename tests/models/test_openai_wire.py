"""The connections of the client that reads OpenAI's wire itself."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping

import httpx2
import openai
import pytest

from provider import Answer, Provider
from runnel.models.openai import OpenAIFamily
from runnel.models.openai_address import Address
from runnel.models.openai_client import DirectClient
from runnel.models.openai_wire import Wire

STREAM = {"content-type": "text/event-stream"}
BODY: dict[str, object] = {"model": "m", "stream": True, "messages": []}


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire(httpx2.create_ssl_context())
    yield wire
    await wire.close()


def address(
    provider: Provider, userinfo: str = "", headers: Mapping[str, str] | None = None
) -> Address:
    url = httpx2.URL(f"{provider.url}/chat/completions".replace("://", f"://{userinfo}", 1))
    return Address(url, headers or {})


async def texts(wire: Wire, provider: Provider) -> list[list[str]]:
    async with await wire.ask(address(provider), BODY) as answer:
        batches: list[list[str]] = []
        while batch := await answer.next():
            batches.append(
                [each["delta"].get("content", "") for chunk in batch for each in chunk["choices"]]
            )
        return batches


async def test_what_comes_together_is_given_together(wire: Wire, provider: Provider) -> None:
    chunk = b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n'
    body = b"".join(chunk % number for number in range(100)) + b"data: [DONE]\n\n"
    provider.answer("m", Answer(body=body, headers=STREAM))
    batches = await texts(wire, provider)
    assert [text for batch in batches for text in batch] == [str(number) for number in range(100)]
    assert len(batches) < 10


async def test_a_connection_is_used_again(wire: Wire, provider: Provider) -> None:
    for _ in range(3):
        batches = await texts(wire, provider)
        assert [text for batch in batches for text in batch if text] == ["Hello", " world"]
    assert provider.open_connections.value == 1


async def test_an_end_mark_is_the_end_though_the_connection_stays(
    wire: Wire, provider: Provider
) -> None:
    provider.answer("m", Answer([b"data: [DONE]\n\n"], stall_after=1))
    assert await texts(wire, provider) == [[""]]
    await asyncio.to_thread(provider.client_left.wait_at_least, 1)


async def test_who_leaves_closes_the_connection(wire: Wire, provider: Provider) -> None:
    provider.answer("m", Answer(["a", "b"], gate_after=1))
    async with await wire.ask(address(provider), BODY) as answer:
        await answer.next()
    await asyncio.to_thread(provider.client_left.wait_at_least, 1)


async def test_name_and_password_in_an_address_stand_above_a_key(
    wire: Wire, provider: Provider
) -> None:
    key = {"Authorization": "Bearer k"}
    async with await wire.ask(address(provider, "me:p%40ss@", key), BODY):
        pass
    both = b64encode(b"me:p@ss").decode()
    assert provider.requests[0].headers["authorization"] == f"Basic {both}"


async def test_a_redirect_is_not_followed_with_the_prompt(wire: Wire, provider: Provider) -> None:
    elsewhere = {"location": str(address(provider).url)}
    provider.answer("m", Answer(status=307, headers=elsewhere), Answer())
    with pytest.raises(openai.APIStatusError):
        await wire.ask(address(provider), BODY)
    assert len(provider.requests) == 1


async def test_the_body_of_a_refusal_is_bounded(wire: Wire, provider: Provider) -> None:
    provider.answer("m", Answer(status=500, body=b"x" * 5_000_000))
    with pytest.raises(openai.InternalServerError) as refused:
        await wire.ask(address(provider), BODY)
    assert len(str(refused.value.body)) < 2_000_000


async def test_a_long_header_is_read(wire: Wire, provider: Provider) -> None:
    provider.answer("m", Answer(headers={"content-security-policy": "x" * 30_000}))
    assert await texts(wire, provider)


async def test_numbers_beyond_64_bits_are_sent(wire: Wire, provider: Provider) -> None:
    async with await wire.ask(address(provider), BODY | {"seed": 2**70}):
        pass
    assert provider.requests[0].body["seed"] == 2**70


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
async def test_proxies_are_left_to_the_sdk(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    family = OpenAIFamily(direct=True)
    assert not isinstance(family.chat_model("m", "http://127.0.0.1:1/v1", None), DirectClient)
    await family.close()
