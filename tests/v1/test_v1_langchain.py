"""LangChain's ChatOpenAI as a client of /v1."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import openai
import pytest
from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from provider import Answer
from provider_script import tool_call
from surface import MODEL, Surface


class City(BaseModel):
    """A city."""

    name: str
    people: int


@tool
def weather(place: str) -> str:
    """The weather of a place."""
    return f"rain in {place}"


@pytest.fixture
def model(v1: Surface) -> Iterator[Any]:
    # Clients of its own: LangChain's are shared by the whole process, and never closed.
    with openai.DefaultHttpxClient() as http:
        yield model_of(v1, http_client=http)


def model_of(v1: Surface, **options: Any) -> Any:  # Any: half of its types are unknown
    key = SecretStr(v1.user.token)
    return ChatOpenAI(model=MODEL, base_url=v1.base_url, api_key=key, max_retries=0, **options)


def test_it_is_answered_whole(v1: Surface, model: Any) -> None:
    answer = model.invoke([SystemMessage("Be kind."), HumanMessage("Hello?")])
    assert answer.content == "Hello world"
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.response_metadata["model_name"] == MODEL
    assert answer.usage_metadata
    assert answer.usage_metadata["total_tokens"] == 15
    assert [message["role"] for message in v1.asked.body["messages"]] == ["system", "user"]


def test_it_streams(model: Any) -> None:
    chunks = list(model.stream("Hello?", stream_usage=True))
    assert [chunk.content for chunk in chunks if chunk.content] == ["Hello", " world"]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.usage_metadata
    assert whole.usage_metadata["total_tokens"] == 15
    assert whole.response_metadata["finish_reason"] == "stop"


def test_it_calls_tools_and_is_told_what_they_said(v1: Surface, model: Any) -> None:
    calls = (
        tool_call(0, "", call_id="a", name="weather"),
        tool_call(0, '{"place":"Porto"}'),
        tool_call(1, '{"place":"Faro"}', call_id="b", name="weather"),
    )
    v1.provider.answer(
        "test", Answer(calls, finish_reason="tool_calls"), Answer(("Rain, and rain.",))
    )
    bound = model.bind_tools([weather])
    talk: list[Any] = [HumanMessage("The weather?")]
    called = bound.invoke(talk)
    assert isinstance(called, AIMessage)
    assert [call["args"] for call in called.tool_calls] == [{"place": "Porto"}, {"place": "Faro"}]
    said = [weather.invoke(call) for call in called.tool_calls]
    assert all(isinstance(message, ToolMessage) for message in said)
    talk += [called, *said]
    assert bound.invoke(talk).content == "Rain, and rain."
    messages = v1.asked.body["messages"]
    assert [(message["role"], message.get("tool_call_id")) for message in messages] == [
        ("user", None),
        ("assistant", None),
        ("tool", "a"),
        ("tool", "b"),
    ]
    assert [message["content"] for message in messages[2:]] == ["rain in Porto", "rain in Faro"]


def test_it_streams_calls_of_tools(v1: Surface, model: Any) -> None:
    calls = (tool_call(0, '{"pla', call_id="a", name="weather"), tool_call(0, 'ce":"Porto"}'))
    v1.provider.answer("test", Answer(calls, finish_reason="tool_calls"))
    chunks = list(model.bind_tools([weather]).stream("The weather?"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    [call] = whole.tool_calls
    assert (call["name"], call["args"], call["id"]) == ("weather", {"place": "Porto"}, "a")


def test_its_structured_output_has_its_schema(v1: Surface, model: Any) -> None:
    v1.provider.answer("test", Answer(('{"name": "Porto", ', '"people": 231800}')))
    structured = model.with_structured_output(City, method="json_schema")
    assert structured.invoke("A city?") == City(name="Porto", people=231800)
    schema = v1.asked.body["response_format"]["json_schema"]
    assert schema["name"] == "City"
    assert set(schema["schema"]["properties"]) == {"name", "people"}


def test_its_pictures_arrive_in_order(v1: Surface, model: Any) -> None:
    content: list[Any] = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    ]
    model.invoke([HumanMessage(content)])
    assert v1.asked.body["messages"] == [{"role": "user", "content": content}]


def test_its_faults_are_the_official_clients(v1: Surface, model: Any) -> None:
    v1.provider.answer("test", Answer(status=500), Answer(("half",), cut_after=1))
    with pytest.raises(openai.InternalServerError):
        model.invoke("Hello?")
    with pytest.raises(openai.APIError) as caught:
        list(model.stream("Hello?"))
    assert caught.value.code == "upstream_incomplete"


async def test_who_leaves_its_stream_ends_the_answer(v1: Surface) -> None:
    v1.provider.answer("test", Answer(("half", " whole"), gate_after=1))
    left = v1.provider.client_left.value
    async with openai.DefaultAsyncHttpxClient() as http:
        async with aclosing(model_of(v1, http_async_client=http).astream("Hello?")) as stream:
            async for chunk in stream:
                if chunk.content:
                    break
        await asyncio.to_thread(v1.provider.client_left.wait_at_least, left + 1, 1)
    assert await asyncio.to_thread(v1.ended) == ("aborted", "half", "disconnect", None)
