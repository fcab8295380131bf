"""A question and its answer in Bedrock's words, by LangChain's real client of Converse."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

import bedrock_wire as wire
from asking_bedrock import CLAUDE, MODEL, REGION, Account, account
from bedrock import region_of
from provider import Answer
from runnel.chat.entities import Image, Params, Turn
from runnel.errors import Code, RunnelError
from runnel.events import ToolCall, Usage
from saying import QUESTION, said

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n and so on").decode()
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "find_town",
        "description": "Where it lies.",
        "parameters": {
            "type": "object",
            "properties": {"town_name": {"$ref": "#/$defs/a_name"}},
            "$defs": {"a_name": {"type": "string"}},
            "additionalProperties": False,
        },
    },
}


@pytest.fixture
def aws() -> Iterator[Account]:
    with account() as there:
        yield there


async def test_text_comes_piece_by_piece_with_its_end_and_its_tokens(aws: Account) -> None:
    answer = await said(aws.model(MODEL, Answer(["One,", " two,\n", "", " drei 😀"])))
    assert answer.texts == ["One,", " two,\n", " drei 😀"]
    assert answer.reasons == ["stop"]
    assert answer.usages == [Usage(10, 5, "provider")]


async def test_however_the_network_cuts_the_messages_the_text_is_the_same(aws: Account) -> None:
    answer = await said(aws.model(MODEL, Answer(["Grüße", " 😀"], split_bytes=7)))
    assert (answer.texts, answer.reasons) == (["Grüße", " 😀"], ["stop"])


async def test_system_and_history_are_asked_in_converses_form_and_signed_for_the_region(
    aws: Account,
) -> None:
    turns = [
        Turn("system", "Be kind."),
        Turn("user", "One?"),
        Turn("assistant", "Two."),
        Turn("user", "Three?"),
    ]
    await said(aws.model(), turns)
    [asked] = aws.provider.asks
    assert asked.body["system"] == [{"text": "Be kind."}]
    assert asked.body["messages"] == [
        {"role": "user", "content": [{"text": "One?"}]},
        {"role": "assistant", "content": [{"text": "Two."}]},
        {"role": "user", "content": [{"text": "Three?"}]},
    ]
    assert region_of(asked) == REGION


async def test_params_are_sent_by_converses_names_and_what_is_not_given_is_not_sent(
    aws: Account,
) -> None:
    model = aws.model()
    await said(model, QUESTION, Params(temperature=0, top_p=0.9, max_tokens=77, stop=["END"]))
    await said(model)
    first, second = (ask.body for ask in aws.provider.asks)
    assert first["inferenceConfig"] == {
        "temperature": 0,
        "topP": 0.9,
        "maxTokens": 77,
        "stopSequences": ["END"],
    }
    assert second["inferenceConfig"] == {}
    assert set(second) == {"messages", "system", "inferenceConfig"}


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("a_word_of_tomorrow", "stop"),
    ],
)
async def test_converses_words_for_an_end_are_ours(aws: Account, word: str, reason: str) -> None:
    assert (await said(aws.model(MODEL, Answer(finish_reason=word)))).reasons == [reason]


@pytest.mark.parametrize("word", ["malformed_model_output", "malformed_tool_use"])
async def test_an_end_that_is_a_fault_is_none(aws: Account, word: str) -> None:
    assert (await said(aws.model(MODEL, Answer(finish_reason=word)))).reasons == []


async def test_an_answer_without_its_tokens_is_whole_all_the_same(aws: Account) -> None:
    answer = await said(aws.model(MODEL, Answer(usage=None)))
    assert (answer.text, answer.reasons, answer.usages) == ("Hello world", ["stop"], [])


async def test_tokens_of_the_prompt_that_were_cached_count_too(aws: Account) -> None:
    usage = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 17, "cacheReadInputTokens": 10}
    metadata = wire.event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})
    ending = wire.event("messageStop", {"stopReason": "end_turn"})
    script = Answer(["Hi", wire.stop(0), ending, metadata], finish_reason=None, usage=None)
    assert (await said(aws.model(MODEL, script))).usages == [Usage(13, 4, "provider")]


@pytest.mark.parametrize("name", [MODEL, CLAUDE, "deepseek.r1-v1:0", "never.heard-of-it"])
async def test_reasoning_blocks_are_no_text_and_every_model_is_streamed(
    aws: Account, name: str
) -> None:
    pieces = [
        wire.reasoning("secret "),
        wire.reasoning("thought"),
        wire.signature("c2lnbmVk"),
        wire.stop(0),
        wire.text("The", 1),
        wire.text(" answer.", 1),
    ]
    answer = await said(aws.model(name, Answer(pieces)))
    assert answer.texts == ["The", " answer."]
    assert "secret" not in repr(answer)


async def test_what_nova_thinks_aloud_is_no_text(aws: Account) -> None:
    pieces = ["<thin", "king> I may call", " a tool.</think", "ing>\n", "\nSunny.", " <thinking>?"]
    answer = await said(aws.model(MODEL, Answer(pieces)))
    assert answer.text == "Sunny. <thinking>?"


async def test_tags_that_a_prompt_asked_claude_for_are_text(aws: Account) -> None:
    answer = await said(aws.model(CLAUDE, Answer(["<thinking>", "Hm.</thinking>", "Yes."])))
    assert answer.text == "<thinking>Hm.</thinking>Yes."


async def test_tools_are_offered_as_they_are_spelled(aws: Account) -> None:
    bare = {"type": "function", "function": {"name": "now", "strict": True}}
    await said(aws.model(), QUESTION, Params(passed={"tools": [TOOL, bare]}))
    assert aws.provider.asks[0].body["toolConfig"] == {
        "tools": [
            {
                "toolSpec": {
                    "name": "find_town",
                    "description": "Where it lies.",
                    "inputSchema": {"json": TOOL["function"]["parameters"]},
                }
            },
            {
                "toolSpec": {
                    "name": "now",
                    "description": "now",
                    "inputSchema": {"json": {"type": "object", "properties": {}}},
                    "strict": True,
                }
            },
        ]
    }


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", None),
        ("required", {"any": {}}),
        (
            {"type": "function", "function": {"name": "find_town"}},
            {"tool": {"name": "find_town"}},
        ),
    ],
)
async def test_the_choice_of_a_tool_is_in_converses_words(
    aws: Account, choice: Any, sent: Any
) -> None:
    params = Params(passed={"tools": [TOOL], "tool_choice": choice})
    await said(aws.model(), QUESTION, params)
    assert aws.provider.asks[0].body["toolConfig"].get("toolChoice") == sent


async def test_calls_of_tools_come_with_indexes_from_0_and_whole_arguments(aws: Account) -> None:
    pieces = [
        wire.text("Let me see."),
        wire.stop(0),
        wire.tool("find_town", "call-a", 1),
        wire.arguments('{"town', 1),
        wire.arguments('_name": "Ulm"}', 1),
        wire.stop(1),
        wire.tool("now", "call-b", 2),
        wire.stop(2),
    ]
    answer = await said(
        aws.model(MODEL, Answer(pieces, finish_reason="tool_use")),
        QUESTION,
        Params(passed={"tools": [TOOL]}),
    )
    assert answer.text == "Let me see."
    assert answer.calls == {
        0: ("call-a", "find_town", '{"town_name": "Ulm"}'),
        1: ("call-b", "now", ""),
    }
    assert answer.reasons == ["tool_calls"]


async def test_calls_and_their_results_go_back(aws: Account) -> None:
    call = ToolCall(index=0, id="call-a", name="find_town", arguments='{"town_name":"Ulm"}')
    turns = [
        *QUESTION,
        Turn("assistant", "", tool_calls=[call]),
        Turn("tool", "48 N, 10 E", tool_call_id="call-a"),
    ]
    await said(aws.model(), turns, Params(passed={"tools": [TOOL]}))
    _, calling, result = aws.provider.asks[0].body["messages"]
    used = {"toolUseId": "call-a", "name": "find_town", "input": {"town_name": "Ulm"}}
    assert calling == {"role": "assistant", "content": [{"toolUse": used}]}
    answered = {"toolUseId": "call-a", "content": [{"text": "48 N, 10 E"}], "status": "success"}
    assert result == {"role": "user", "content": [{"toolResult": answered}]}


async def test_an_image_goes_as_its_bytes(aws: Account) -> None:
    image = Image(f"data:image/png;base64,{PNG}", detail="high")
    await said(aws.model(), [Turn("user", "What?", parts=["What?", image])])
    [message] = aws.provider.asks[0].body["messages"]
    assert message["content"] == [
        {"text": "What?"},
        {"image": {"format": "png", "source": {"bytes": PNG}}},
    ]


def asking(**parts: Any) -> list[Turn]:
    return [Turn("user", "What?", **parts), *QUESTION]


@pytest.mark.parametrize(
    ("turns", "passed", "field"),
    [
        (asking(parts=[Image("https://example.com/a.png")]), {}, "messages"),
        (asking(parts=[Image("data:image/tiff;base64,AAAA")]), {}, "messages"),
        (asking(parts=[Image("data:image/png;base64,%%%%")]), {}, "messages"),
        (asking(tool_calls=[ToolCall(0, "a", "f", "[1]")]), {}, "messages"),
        (asking(tool_calls=[ToolCall(0, "a", "f", "{")]), {}, "messages"),
        (QUESTION, {"tools": [TOOL], "tool_choice": "none"}, "tool_choice"),
        (QUESTION, {"tools": [{"type": "web_search"}]}, "tools"),
    ],
    ids=["far image", "TIFF", "no base64", "list", "half a call", "no tool", "other tool"],
)
async def test_what_converse_has_no_words_for_is_refused_by_name(
    aws: Account, turns: list[Turn], passed: dict[str, Any], field: str
) -> None:
    with pytest.raises(RunnelError, match="bedrock takes ") as refused:
        await said(aws.model(), turns, Params(passed=passed))
    assert (refused.value.code, refused.value.field) == (Code.INVALID_REQUEST, field)
    assert aws.provider.asks == []
