"""What OpenAI's wire brings that is more than text, and what must not stop the server."""

import time
from collections.abc import Sequence

import pytest

from loading import Load
from provider import Answer, Provider
from provider_script import tool_call
from runnel.chat.entities import Params, Turn
from runnel.chat.model_ports import NotTakenError, Piece
from runnel.errors import Code
from saying import pieces_of

MEGABYTE = 1_000_000


async def pieces(load: Load, provider: Provider) -> Sequence[Piece]:
    alias = {"provider": "openai", "model": "m", "base_url": provider.url}
    catalog = await load({"aliases": {"a": alias}})
    (model,) = catalog.candidates("a").models
    return [
        piece
        async for batch in model.stream([Turn("user", "?")], Params())
        for piece in pieces_of(batch)
    ]


async def test_arguments_that_are_no_json_cost_no_more_than_others(
    load: Load, provider: Provider
) -> None:
    said = "x" * 200_000
    calls = [tool_call(0, said, call_id="c", name="f"), *[tool_call(0, "yz")] * 500]
    provider.answer("m", Answer(calls, finish_reason="tool_calls"))
    began = time.process_time()
    found = [call for piece in await pieces(load, provider) for call in piece.tool_calls]
    # Read as JSON by trial and error, as LangChain does, it would take minutes.
    assert time.process_time() - began < 10
    assert "".join(call.arguments for call in found) == said + "yz" * 500
    assert (found[0].id, found[0].name, found[0].index) == ("c", "f", 0)


async def test_a_refusal_is_what_the_model_says(load: Load, provider: Provider) -> None:
    provider.answer("m", Answer([{"refusal": "I will "}, {"refusal": "not."}]))
    assert "".join(piece.text for piece in await pieces(load, provider)) == "I will not."


async def test_a_request_that_timed_out_there_may_be_sent_again(
    load: Load, provider: Provider
) -> None:
    provider.answer("m", Answer(status=408))
    with pytest.raises(NotTakenError) as told:
        await pieces(load, provider)
    assert told.value.code is Code.UPSTREAM_TIMEOUT
