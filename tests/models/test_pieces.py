"""LangChain's chunks as pieces: text without reasoning, calls of tools by their order, one end."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk

from runnel.chat.model_ports import Piece
from runnel.models.pieces import Pieces

END = AIMessageChunk(content="", response_metadata={"finish_reason": "stop"})
REASONING: list[dict[str, Any]] = [
    {"type": "reasoning", "reasoning": "secret"},
    {"type": "reasoning_content", "reasoning_content": {"text": "secret"}},
    {"type": "thinking", "thinking": "secret", "signature": "c2ln"},
    {"type": "redacted_thinking", "data": "secret"},
    {"type": "non_standard", "value": {"secret": "secret"}},
]


def read(chunks: Sequence[AIMessage], *, thinks_aloud: bool = False) -> list[Piece]:
    pieces = Pieces(thinks_aloud=thinks_aloud)
    return [pieces.piece(chunk) for chunk in chunks]


@pytest.mark.parametrize("block", REASONING, ids=lambda block: block["type"])
def test_reasoning_is_no_text_whatever_block_it_comes_in(block: dict[str, Any]) -> None:
    content: list[str | dict[Any, Any]] = [block | {"index": 0}, {"type": "text", "text": "So."}]
    [piece] = read([AIMessageChunk(content=content)])
    assert piece == Piece("So.")


def test_reasoning_beside_the_text_is_no_text() -> None:
    chunk = AIMessageChunk(content="So.", additional_kwargs={"reasoning_content": "secret"})
    assert read([chunk]) == [Piece("So.")]


def test_a_chunk_that_says_nothing_is_a_sign_of_life() -> None:
    assert read([AIMessageChunk(content=""), AIMessageChunk(content=[])]) == [Piece(), Piece()]


def test_what_was_held_back_comes_with_the_end() -> None:
    pieces = read([AIMessageChunk(content="<thi"), END], thinks_aloud=True)
    assert [piece.text for piece in pieces] == ["", "<thi"]


@given(
    text=st.text(st.sampled_from("<think/>\n ab"), max_size=40),
    places=st.lists(st.integers(0, 40), max_size=6).map(sorted),
    prefix=st.sampled_from(["", "<think>", "<think>x</think>\n"]),
)
def test_any_cutting_of_an_answer_gives_the_same_text(
    text: str, places: list[int], prefix: str
) -> None:
    answer = prefix + text
    cuts = [answer[a:b] for a, b in zip([0, *places], [*places, len(answer)], strict=True)]

    def text_of(pieces: Sequence[str]) -> str:
        chunks = [*(AIMessageChunk(content=piece) for piece in pieces), END]
        return "".join(piece.text for piece in read(chunks, thinks_aloud=True))

    assert text_of(cuts) == text_of([answer]) == text_of(list(answer))


@pytest.mark.parametrize("indexes", [(0, 1), (3, 7), (None, None)])
def test_calls_are_counted_from_0_however_the_provider_counts(
    indexes: tuple[int | None, int | None],
) -> None:
    first, second = indexes
    chunks = [
        tool_call_chunk(name="f", args='{"a"', id="one", index=first),
        tool_call_chunk(
            name=None, args=": 1}", id=None if first is not None else "one", index=first
        ),
        tool_call_chunk(name="g", args=None, id="two", index=second),
    ]
    pieces = read([AIMessageChunk(content="", tool_call_chunks=[chunk]) for chunk in chunks])
    calls = [call for piece in pieces for call in piece.tool_calls]
    assert [call.index for call in calls] == [0, 0, 1]
    assert [call.arguments for call in calls] == ['{"a"', ": 1}", ""]
    assert [call.name for call in calls] == ["f", None, "g"]


def test_a_whole_message_is_read_like_a_chunk() -> None:
    message = AIMessage(
        content="Hello",
        response_metadata={"stopReason": "max_tokens"},
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    )
    [piece] = read([message])
    assert (piece.text, piece.finish_reason) == ("Hello", "length")
    assert piece.usage is not None
    assert (piece.usage.prompt_tokens, piece.usage.completion_tokens) == (1, 2)
