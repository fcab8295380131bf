"""Calls of tools, both ways: what the model calls, and what the tools have said."""

import json
from typing import Any

import pytest
from openai import OpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState

from provider import Answer
from provider_script import tool_call
from surface import HELLO, MODEL, WEATHER, Surface, chunks_of

CALL = Answer(
    (
        tool_call(0, call_id="call_1", name="weather"),
        tool_call(0, '{"place": '),
        tool_call(0, '"Porto"}'),
    ),
    finish_reason="tool_calls",
)
TWO_CALLS = Answer(
    (
        "Let me see. ",
        tool_call(0, "", call_id="call_1", name="weather"),
        tool_call(0, '{"place": "Porto"}'),
        tool_call(1, '{"pla', call_id="call_2", name="weather"),
        tool_call(1, 'ce": "Faro"}'),
    ),
    finish_reason="tool_calls",
)


def test_a_tools_round_trip(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", CALL, Answer(("It rains.",)))
    asked: list[Any] = list(HELLO)
    completion = client.chat.completions.create(model=MODEL, messages=asked, tools=[WEATHER])
    [choice] = completion.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls
    [call] = choice.message.tool_calls
    assert call.type == "function"
    assert (call.id, call.function.name) == ("call_1", "weather")
    assert json.loads(call.function.arguments) == {"place": "Porto"}
    assert v1.asked.body["tools"] == [WEATHER]

    # The client's own message goes back as it is, with whatever the client library puts into it.
    said = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    asked += [choice.message, said]
    completion = client.chat.completions.create(model=MODEL, messages=asked, tools=[WEATHER])
    assert completion.choices[0].message.content == "It rains."
    question, called, told = v1.asked.body["messages"]
    assert question == HELLO[0]
    assert (called["role"], called["content"]) == ("assistant", None)
    [back] = called["tool_calls"]
    assert (back["id"], back["type"], back["function"]["name"]) == ("call_1", "function", "weather")
    assert json.loads(back["function"]["arguments"]) == {"place": "Porto"}
    assert told == said


def test_a_tools_round_trip_in_streams(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", CALL, Answer(("It ", "rains.")))
    state = ChatCompletionStreamState(input_tools=[WEATHER])
    for chunk in client.chat.completions.create(
        model=MODEL, messages=HELLO, tools=[WEATHER], stream=True
    ):
        state.handle_chunk(chunk)
    message = state.get_final_completion().choices[0].message
    assert message.tool_calls
    [call] = message.tool_calls
    assert call.id == "call_1"
    assert call.function.parsed_arguments == {"place": "Porto"}
    told: list[Any] = [
        *HELLO,
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": "weather", "arguments": call.function.arguments},
                }
            ],
        },
        {"role": "tool", "tool_call_id": call.id, "content": [{"type": "text", "text": "rain"}]},
    ]
    stream = client.chat.completions.create(
        model=MODEL, messages=told, tools=[WEATHER], stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "It rains."
    assert [message["role"] for message in v1.asked.body["messages"]] == [
        "user",
        "assistant",
        "tool",
    ]
    assert v1.asked.body["messages"][-1]["content"] == "rain"


def test_the_chunks_of_a_call_name_it_once(v1: Surface) -> None:
    v1.provider.answer("test", CALL)
    chunks = chunks_of(v1.post(stream=True, tools=[WEATHER]).content)
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_1",
                    "type": "function",
                    "function": {"arguments": "", "name": "weather"},
                }
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"place": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Porto"}'}}]},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_parallel_calls_are_kept_apart(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", TWO_CALLS)
    message = (
        client.chat.completions.create(
            model=MODEL, messages=HELLO, tools=[WEATHER], parallel_tool_calls=True
        )
        .choices[0]
        .message
    )
    assert message.content == "Let me see. "
    assert message.tool_calls
    assert [
        (call.id, json.loads(call.function.arguments))
        for call in message.tool_calls
        if call.type == "function"
    ] == [
        ("call_1", {"place": "Porto"}),
        ("call_2", {"place": "Faro"}),
    ]
    assert v1.asked.body["parallel_tool_calls"] is True
    pieces = [
        call
        for chunk in chunks_of(v1.post(stream=True, tools=[WEATHER]).content)
        for call in chunk["choices"][0]["delta"].get("tool_calls", ())
    ]
    assert [piece["index"] for piece in pieces] == [0, 0, 1, 1]
    assert "".join(piece["function"]["arguments"] for piece in pieces[2:]) == '{"place": "Faro"}'


@pytest.mark.parametrize(
    "choice", ["none", "auto", "required", {"type": "function", "function": {"name": "weather"}}]
)
def test_the_choice_of_a_tool_reaches_the_provider(v1: Surface, choice: Any) -> None:
    assert v1.post(tools=[WEATHER], tool_choice=choice).status_code == 200
    assert v1.asked.body["tool_choice"] == choice


def test_arguments_that_are_no_json_go_back_as_they_came(v1: Surface) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{oops"}}
    told = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "no JSON"},
    ]
    assert v1.post(messages=told, tools=[WEATHER]).status_code == 200
    assert v1.asked.body["messages"][1]["tool_calls"][0]["function"]["arguments"] == "{oops"
