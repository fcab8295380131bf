"""The demo: a real LangChain chat model that says what it is."""

import asyncio
import json
import time

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

from entries import entry
from runnel.chat.entities import Params, Turn
from runnel.chat.model_ports import Piece
from runnel.models import builtin
from runnel.models.builtin import DemoChatModel
from saying import pieces_of

PROMPT = [Turn("user", "How do sessions work?")]


NONE = Params()


async def pieces(turns: list[Turn], params: Params = NONE, speed: float = 1e6) -> list[Piece]:
    """All that says something; LangChain adds an empty last chunk of its own."""
    model = builtin.build(entry("builtin/demo"), tokens_per_second=speed)
    given = [piece async for batch in model.stream(turns, params) for piece in pieces_of(batch)]
    return [piece for piece in given if piece != Piece()]


async def text_of(turns: list[Turn], params: Params = NONE) -> str:
    return "".join(piece.text for piece in await pieces(turns, params))


async def test_it_says_that_it_is_a_demo_answers_the_prompt_and_how_to_connect_a_model() -> None:
    text = await text_of(PROMPT)
    assert "How do sessions work?" in text
    assert "demo" in text
    assert "`session_id`" in text
    assert "OPENAI_API_KEY" in text


async def test_it_takes_the_history_into_account() -> None:
    turns = [Turn("user", "first thing"), Turn("assistant", "…"), Turn("user", "second")]
    assert "question 2 of our session; before it you asked “first thing”" in await text_of(turns)


async def test_different_prompts_get_different_answers() -> None:
    asked = ["curl?", "json?", "which models?", "what limits?", "hi"]
    answers = {(await text_of([Turn("user", text)])).partition("\n")[2] for text in asked}
    assert len(answers) == len(asked)


async def test_max_tokens_cuts_with_length() -> None:
    got = await pieces(PROMPT, Params(max_tokens=3))
    assert [piece.finish_reason for piece in got] == [None, None, None, "length"]
    assert got[-1].usage is not None
    assert got[-1].usage.completion_tokens == 3


async def test_a_stop_sequence_ends_the_text_before_it() -> None:
    text = await text_of([Turn("user", "count to 9")], Params(stop=["\n5", "7"]))
    assert text == "1\n2\n3\n4"


async def test_json_mode_is_one_json_object() -> None:
    answer = json.loads(await text_of(PROMPT, Params(json_mode=True)))
    assert answer["demo"] is True
    assert "sessions" in answer["answer"]


async def test_it_is_paced_like_a_model() -> None:
    began = time.monotonic()
    got = await pieces([Turn("user", "count to 20")], speed=200)
    assert time.monotonic() - began > 0.09
    assert len(got) == 21


async def test_stopping_it_in_the_middle_ends_it() -> None:
    model = builtin.build(entry("builtin/demo"), tokens_per_second=1000)
    stream = model.stream([Turn("user", "count to 5000")], Params())
    await anext(stream)
    await asyncio.wait_for(stream.aclose(), 1)


async def test_it_is_a_langchain_model_streamed_or_not() -> None:
    model = DemoChatModel(tokens_per_second=1e6)
    whole = await model.ainvoke([HumanMessage("count to 5")])
    chunks = [chunk async for chunk in model.astream([HumanMessage("count to 5")])]
    assert isinstance(whole, AIMessage)
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert whole.content == "".join(str(chunk.content) for chunk in chunks) == "1\n2\n3\n4\n5"


@pytest.mark.parametrize("text", ["", "   ", "\n", "x" * 5000, "count to 99999999"])
async def test_odd_prompts_are_answered_within_bounds(text: str) -> None:
    assert 0 < len(await text_of([Turn("user", text)])) < 40_000
