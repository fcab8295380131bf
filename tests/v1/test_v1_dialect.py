"""The dialect alone: what a stream says in states that no test can bring a server into at will."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from runnel.chat.entities import Generation, Status
from runnel.edge.dialects.openai import Chunks, Identity, completion
from runnel.errors import Code, RunnelError
from runnel.events import (
    Aborted,
    Batch,
    End,
    Event,
    FinishReason,
    Position,
    Reset,
    Token,
    ToolCall,
    Usage,
)
from surface import chunks_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
USAGE = Usage(3, 4, "provider")


def end(reason: FinishReason = "stop") -> End:
    return End(reason, USAGE, "a", "p", "m", 1, 1, 1)


def said(*events: Event, usage: bool = False) -> list[dict[str, Any]]:
    """The chunks behind the opening one."""
    chunks = Chunks(Identity("1", NOW, "chat/test"), usage=usage)
    body = chunks.opening() + chunks.frames([Batch(1, 0, events)])
    assert chunks.over == events[-1].terminal or "error" in body.decode()
    return chunks_of(body)[1:]


def contents(chunks: list[dict[str, Any]]) -> list[str]:
    return [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]


def test_a_text_that_is_told_at_once_is_content_where_none_was_sent() -> None:
    *text, last = said(Reset("all of it"), end())
    assert contents(text) == ["all of it"]
    assert last["choices"][0]["finish_reason"] == "stop"


def test_what_begins_anew_with_nothing_sent_is_a_beginning() -> None:
    assert contents(said(Reset(""), Token("new"), end())) == ["new", ""]


@pytest.mark.parametrize("sent", [Token("void"), ToolCall(0, "c", "f", "{")])
def test_nothing_follows_what_is_void(sent: Event) -> None:
    first, error = said(sent, Reset(""), Token("new"), end())
    assert "choices" in first
    assert error["error"]["code"] == "interrupted"


def test_calls_that_were_lost_are_no_whole_answer() -> None:
    [error] = said(Reset(""), end("tool_calls"))
    assert error["error"]["code"] == "interrupted"
    ended = ended_with("tool_calls")
    with pytest.raises(RunnelError) as caught:
        completion(ended, [Reset("")])
    assert caught.value.code is Code.STREAM_UNAVAILABLE
    # A provider that says so of itself is believed.
    assert said(end("tool_calls"))[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert completion(ended, [])["choices"][0]["finish_reason"] == "tool_calls"


def test_calls_begun_anew_are_the_new_ones() -> None:
    calls = [Reset(""), ToolCall(0, "c", "f", "{}")]
    message = completion(ended_with("tool_calls"), calls)["choices"][0]["message"]
    assert [call["id"] for call in message["tool_calls"]] == ["c"]


def test_pieces_of_calls_are_joined_in_whatever_order_they_come() -> None:
    pieces = [
        ToolCall(1, None, None, "["),
        ToolCall(0, "a", "first", ""),
        ToolCall(1, "b", "second", "1"),
        ToolCall(0, None, None, "{}"),
        ToolCall(1, None, None, "]"),
    ]
    message = completion(ended_with("tool_calls"), pieces)["choices"][0]["message"]
    called = [(call["id"], *call["function"].values()) for call in message["tool_calls"]]
    assert called == [("a", "first", "{}"), ("b", "second", "[1]")]


def test_an_aborted_answer_tells_its_tokens_too() -> None:
    *_, last, counted = said(Token("x"), Aborted("user", USAGE), usage=True)
    assert last["choices"][0]["finish_reason"] == "aborted"
    assert counted["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_a_stream_without_an_end_is_given_one() -> None:
    chunks = Chunks(Identity("1", NOW, "chat/test"), usage=False)
    error, done, _ = chunks.broken_off().split(b"\n\n")
    assert json.loads(error.removeprefix(b"data: "))["error"]["code"] == "interrupted"
    assert (done, chunks.over) == (b"data: [DONE]", True)
    assert chunks.frames([Batch(1, 0, [Token("late"), end()])]) == b""


def ended_with(reason: FinishReason) -> Generation:
    return Generation(
        id="1",
        user_id="u",
        session_id="s",
        message_id="m",
        user_message_id="n",
        model="chat/test",
        provider="p",
        provider_model="pm",
        status=Status.COMPLETED,
        fence=1,
        created_at=NOW,
        position=Position(1, 2),
        finish_reason=reason,
        usage=USAGE,
    )
