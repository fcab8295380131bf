"""What the official client's own helpers give back may be sent back as it is."""

from typing import Any

import pytest
from openai import OpenAI
from pydantic import BaseModel

from provider import Answer
from provider_script import tool_call
from surface import HELLO, MODEL, WEATHER, Surface


class Place(BaseModel):
    """What a model is asked to fill in."""

    place: str


SUN: Any = {"role": "tool", "tool_call_id": "c1", "content": "sun"}
CALLS = Answer(
    [
        "x",
        tool_call(0, "", call_id="c1", name="weather"),
        tool_call(0, '{"place":'),
        tool_call(0, '"Rome"}'),
    ],
    finish_reason="tool_calls",
)


# Its own model, put into JSON by it, warns of what it has parsed.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_parsed_answer(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", Answer(['{"place":"Rome"}']))
    first = client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Place)
    assert first.choices[0].message.parsed == Place(place="Rome")
    talk: list[Any] = [*HELLO, first.choices[0].message, *HELLO]
    client.chat.completions.create(model=MODEL, messages=talk)
    assert v1.asked.body["messages"][1] == {"role": "assistant", "content": '{"place":"Rome"}'}


def test_a_parsed_call(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", CALLS, Answer())
    first = client.chat.completions.parse(model=MODEL, messages=HELLO, tools=[WEATHER])
    talk: list[Any] = [*HELLO, first.choices[0].message, SUN]
    client.chat.completions.create(model=MODEL, messages=talk)
    assert v1.asked.body["messages"][1]["tool_calls"][0]["id"] == "c1"


def test_a_call_put_together_from_a_stream(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", CALLS, Answer())
    with client.chat.completions.stream(model=MODEL, messages=HELLO, tools=[WEATHER]) as stream:
        message: Any = stream.get_final_completion().choices[0].message
    client.chat.completions.create(model=MODEL, messages=[*HELLO, message, SUN])
    [call] = v1.asked.body["messages"][1]["tool_calls"]
    assert call["function"]["name"] == "weather"


def test_half_characters_in_calls_are_joined_or_replaced(v1: Surface, client: OpenAI) -> None:
    calls = [
        tool_call(0, '{"place":"\ud83d', call_id="c1", name="weather\ud83d"),
        tool_call(0, '\ude00"}'),
    ]
    v1.provider.answer("test", Answer(calls, finish_reason="tool_calls", escape=True))
    whole = client.chat.completions.create(model=MODEL, messages=HELLO, tools=[WEATHER])
    assert whole.choices[0].message.tool_calls is not None
    [call] = whole.choices[0].message.tool_calls
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == (
        "weather\ufffd",
        '{"place":"\U0001f600"}',
    )
