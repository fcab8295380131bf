"""What a question of /v1 may hold: what reaches the provider, what is ignored, what is refused."""

import json
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from surface import COMPLETIONS, HELLO, MODEL, WEATHER, Surface

PIXEL = "data:image/png;base64,iVBORw0KGgo="
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "city",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": False,
        },
    },
}


@pytest.mark.parametrize(
    "passed",
    [
        {"temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": ["END", "FIN"]},
        {"max_tokens": 5},
        {"presence_penalty": -1.5, "frequency_penalty": 0},
        {"logit_bias": {"50256": -100, "11": 3.5}},
        {"reasoning_effort": "low", "verbosity": "high", "user": "somebody"},
        {"response_format": {"type": "json_object"}},
        {"response_format": SCHEMA},
        {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False},
    ],
    ids=lambda passed: next(iter(passed)),
)
def test_what_is_asked_reaches_the_provider_as_it_came(v1: Surface, passed: dict[str, Any]) -> None:
    assert v1.post(**passed).status_code == 200
    body = v1.asked.body
    assert {name: body[name] for name in passed} == passed
    assert set(body) == {"model", "messages", "stream", "stream_options"} | set(passed)
    assert body["messages"] == HELLO


def test_the_official_client_says_it_all(v1: Surface, client: OpenAI) -> None:
    client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": "Hello?"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "Bye."},
        ],
        max_completion_tokens=9,
        stop="END",
        n=1,
        store=False,
        metadata={"run": "7"},
        logprobs=False,
        modalities=["text"],
        service_tier="auto",
        prompt_cache_key="k",
        response_format={"type": "text"},
    )
    body = v1.asked.body
    assert [(message["role"], message["content"]) for message in body["messages"]] == [
        ("system", "Be kind."),
        ("user", "Hello?"),
        ("assistant", "Hello!"),
        ("user", "Bye."),
    ]
    assert (body["max_tokens"], body["stop"]) == (9, ["END"])
    assert set(body) == {"model", "messages", "stream", "stream_options", "max_tokens", "stop"}


def test_pictures_reach_the_provider_in_their_places(v1: Surface, client: OpenAI) -> None:
    parts: list[Any] = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
        {"type": "text", "text": "and what"},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
        {"type": "text", "text": "?"},
    ]
    earlier: list[Any] = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "A."},
    ]
    client.chat.completions.create(model=MODEL, messages=[*earlier, *HELLO])
    assert v1.asked.body["messages"] == [*earlier, *HELLO]
    client.chat.completions.create(model=MODEL, messages=earlier[:1])
    assert v1.asked.body["messages"] == earlier[:1]


def test_a_content_in_parts_of_text_reaches_it_too(v1: Surface) -> None:
    one = [{"type": "text", "text": "Hello?"}]
    two = [*one, {"type": "text", "text": " Anybody?"}]
    for content, arrived in ((one, "Hello?"), (two, two)):
        assert v1.post(messages=[{"role": "user", "content": content}]).status_code == 200
        assert v1.asked.body["messages"] == [{"role": "user", "content": arrived}]


def test_who_speaks_in_a_role_reaches_it_too(v1: Surface) -> None:
    named = {"role": "user", "content": "Hello?", "name": "ada"}
    assert v1.post(messages=[named]).status_code == 200
    assert v1.asked.body["messages"] == [named]


def test_a_talk_is_cut_nowhere(v1: Surface) -> None:
    """The context is the client's to manage: the provider says so if it is too long."""
    talk = [{"role": "user", "content": f"{number} {'word ' * 800}"} for number in range(60)]
    assert v1.post(messages=[*talk, *HELLO]).status_code == 200
    assert v1.asked.body["messages"] == [*talk, *HELLO]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"function_call": "auto"}, "function_call"),
    ({"n": 2}, "n"),
    ({"logprobs": True}, "logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "alloy", "format": "mp3"}}, "audio"),
    ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
    ({"service_tier": "priority"}, "service_tier"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"json_mode": True}, "json_mode"),
    ({"best_of": 2}, "best_of"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"presence_penalty": 3}, "presence_penalty"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "max_completion_tokens"),
    ({"stop": [""]}, "stop[0]"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x"),
    ({"tool_choice": "auto"}, "tool_choice"),
    ({"tools": [WEATHER], "tool_choice": "perhaps"}, "tool_choice"),
    ({"parallel_tool_calls": True}, "parallel_tool_calls"),
    ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"logit_bias": {"1": 101}}, "logit_bias[1]"),
    ({"model": None}, "model"),
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0]"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0]"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": "x", "name": ""}]}, "messages[0].name"),
    ({"messages": [*HELLO, {"role": "tool", "content": "x"}]}, "messages[1]"),
    (
        {"messages": [{"role": "user", "content": "x", "tool_call_id": "c"}]},
        "messages[0]",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
        "messages[0].content[0].type",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0]",
    ),
    (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "file:///etc/x"}}],
                }
            ]
        },
        "messages[0].content[0].image_url.url",
    ),
    (
        {
            "messages": [
                {
                    "role": "system",
                    "content": [{"type": "image_url", "image_url": {"url": PIXEL}}],
                }
            ]
        },
        "messages[0]",
    ),
]


@pytest.mark.parametrize(
    ("member", "param"), REFUSED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_cannot_be_honoured_is_refused_by_its_name(
    v1: Surface, member: dict[str, Any], param: str
) -> None:
    before = len(v1.provider.asks)
    response = v1.post(**member)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"]
    assert len(v1.provider.asks) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [("functions", "tools"), ("function_call", "tool_choice"), ("json_mode", "response_format")],
)
def test_what_has_another_name_here_is_told_it(v1: Surface, old: str, new: str) -> None:
    assert f"`{new}`" in v1.post(**{old: []}).json()["error"]["message"]


@pytest.mark.parametrize(
    ("member", "param"),
    [
        ({"tools": [WEATHER]}, "tools"),
        ({"response_format": SCHEMA}, "response_format"),
        ({"presence_penalty": 1}, "presence_penalty"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": PIXEL}}],
                    }
                ]
            },
            "messages",
        ),
    ],
    ids=["tools", "schema", "penalty", "picture"],
)
def test_what_a_model_does_not_take_is_refused_by_its_name(
    client: OpenAI, member: Any, param: str
) -> None:
    body: Any = {"messages": HELLO} | member
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model="chat/demo", **body)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


def test_json_objects_are_asked_of_models_that_know_them_by_another_name(v1: Surface) -> None:
    body = v1.post(model="chat/demo", response_format={"type": "json_object"}).json()
    assert json.loads(body["choices"][0]["message"]["content"])["demo"] is True


@pytest.mark.parametrize("role", ["system", "assistant", "tool"])
def test_the_last_message_may_be_of_any_role(v1: Surface, role: str) -> None:
    said: dict[str, Any] = {"role": role, "content": "said"}
    if role == "tool":
        said["tool_call_id"] = "c"
    assert v1.post(messages=[*HELLO, said]).status_code == 200
    assert v1.asked.body["messages"][-1] == said


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"nonsense", b'"x"', b"{" * 100_000, b'{"model": \xff}']
)
def test_what_is_no_question_at_all_is_refused_in_the_same_shape(
    v1: Surface, content: bytes
) -> None:
    response = v1.http.post(
        COMPLETIONS, content=content, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.json()["error"]["param"] is None


def test_text_asked_for_is_text_whatever_the_alias_says(v1: Surface) -> None:
    assert v1.post(model="chat/in-json").status_code == 200
    assert v1.asked.body["response_format"] == {"type": "json_object"}
    assert v1.post(model="chat/in-json", response_format={"type": "text"}).status_code == 200
    assert "response_format" not in v1.asked.body


def test_parts_and_calls_are_bounded_over_all_messages(v1: Surface) -> None:
    parts = [{"type": "text", "text": ""}] * 1000
    refused = v1.post(messages=[{"role": "user", "content": parts}] * 6)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "messages"


def test_arguments_that_nobody_can_read_are_not_taken_for_the_providers_fault(v1: Surface) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "[" * 100_000}}
    talk = [
        *HELLO,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
    ]
    assert v1.post(messages=talk).status_code == 200
    [sent] = v1.asked.body["messages"][1]["tool_calls"]
    assert sent["function"]["arguments"] == "[" * 100_000
