"""What answers are said to have taken and cost, whoever made them; calls of tools weigh too."""

from dataclasses import replace
from itertools import pairwise

import pytest

from answers import TERMS, Chat, read_end, read_to_end
from runnel.chat.model_ports import Piece
from runnel.chat.terms import Price
from runnel.errors import Code, RunnelError
from runnel.events import Token, ToolCall, Usage
from standing_in import REFUSED, names, stop_with, with_second


async def test_a_model_that_sent_nothing_costs_nothing(chat: Chat) -> None:
    chat.model.terms = replace(TERMS, price=Price(5, 5))
    asked = await chat.service().ask(chat.question())
    chat.model.told.put_nowait(REFUSED)
    await read_end(await chat.follow(asked))
    usage = (await chat.stored(asked)).usage
    assert usage is not None
    assert usage.cost == 0


async def test_calls_of_tools_weigh_in_an_estimate(chat: Chat) -> None:
    chat.model.terms = replace(TERMS, price=Price(0, 1_000_000))
    asked = await chat.service().ask(chat.question())
    chat.model.told.put_nowait([Piece(tool_calls=[ToolCall(0, "c", "write", "x" * 4000)])])
    chat.model.told.put_nowait([Piece(finish_reason="tool_calls")])
    chat.model.told.put_nowait(None)
    await read_end(await chat.follow(asked))
    usage = (await chat.stored(asked)).usage
    assert usage is not None
    assert (usage.completion_tokens, usage.cost) == (1002, 1002)


async def test_what_a_model_has_counted_counts_though_it_is_passed_over(chat: Chat) -> None:
    second = with_second(chat)
    asked = await chat.service().ask(chat.question())
    chat.model.told.put_nowait([Piece(usage=Usage(1000, 5000, "provider"))])  # it has reasoned
    chat.model.told.put_nowait(RunnelError(Code.UPSTREAM_INCOMPLETE, "hung up"))
    second.say("two")
    stop_with(second, Usage(7, 1, "provider"))
    await read_end(await chat.follow(asked))
    assert (await chat.stored(asked)).usage == Usage(1007, 5001, "provider")


@pytest.mark.parametrize("restarts", [False, True])
async def test_after_a_crash_it_is_known_who_spoke(chat: Chat, restarts: bool) -> None:  # noqa: FBT001 - a parameter of the test
    chat.restarts = restarts
    second = with_second(chat)
    second.terms = replace(TERMS, price=Price(0, 1_000_000))
    asked = await chat.service().ask(chat.question())
    if restarts:
        chat.model.say("one")
    chat.model.told.put_nowait(REFUSED)
    second.say("twotwotwo")
    reader = await chat.follow(asked)
    texts: list[str] = []
    while "twotwotwo" not in texts:
        events = [event for batch in await reader.next() for event in batch.events]
        texts += [event.text for event in events if isinstance(event, Token)]
    assert (await chat.stored(asked)).model == "chat/second"
    await chat.running._checkpoint()
    terms = {"chat/told": chat.model.terms, "chat/second": second.terms}
    (found,) = await chat.store.interrupt_left_running(lambda name, used: terms[name].priced(used))
    assert (names(found)[0], found.text) == ("chat/second", "twotwotwo")
    assert found.usage is not None
    assert found.usage.cost == found.usage.completion_tokens == 3


async def test_names_and_arguments_of_calls_are_cleaned_as_wholes(chat: Chat) -> None:
    asked = await chat.service().ask(chat.question())
    for call in (
        ToolCall(0, "c\ud83d", "f\ud83d", '{"a":"\ud83d'),
        ToolCall(0, None, None, '\ude00"}'),
    ):
        chat.model.told.put_nowait([Piece(tool_calls=[call])])
    chat.model.told.put_nowait([Piece(finish_reason="tool_calls")])
    chat.model.told.put_nowait(None)
    events = await read_to_end(await chat.follow(asked))
    calls = [event for event in events if isinstance(event, ToolCall)]
    assert (calls[0].id, calls[0].name) == ("c\ufffd", "f\ufffd")
    assert "".join(call.arguments for call in calls) == '{"a":"\U0001f600"}'


def test_prices_are_per_million_tokens() -> None:
    usage = Usage(2_000_000, 500_000, "provider")
    assert Price(0.15, 0.60).of(usage) == pytest.approx(0.30 + 0.30)
    costs = [Price(1, 1).of(Usage(n, 0, "provider")) for n in range(5)]
    assert all(later > earlier for earlier, later in pairwise(costs))
