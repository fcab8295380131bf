"""Another model in place of one that does not answer: when, and what readers and the row are told."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from answers import BOUNDS, TERMS, Chat, ToldModel, read_end, read_to_end
from runnel.chat.entities import Generation, Params, Status
from runnel.chat.places import Places
from runnel.chat.ports import Candidates, Epoch, NotTakenError, Piece
from runnel.chat.retrying import Retries
from runnel.chat.service import able
from runnel.chat.terms import Price
from runnel.errors import Code, RunnelError
from runnel.events import End, Event, Failed, Position, Reset, Token, ToolCall, Usage, text_of
from waiting import soon

REFUSED = NotTakenError(Code.UPSTREAM_RATE_LIMITED, "no more just now")


def with_second(chat: Chat) -> ToldModel:
    """The chat's model has one that stands in for it."""
    second = ToldModel("chat/second")
    chat.others.append(second)
    return second


def stop_with(model: ToldModel, usage: Usage | None = None) -> None:
    model.told.put_nowait([Piece(finish_reason="stop", usage=usage)])
    model.told.put_nowait(None)


def names(generation: Generation) -> tuple[str, str]:
    return generation.model, generation.provider_model


@pytest.mark.parametrize(
    "fault",
    [
        REFUSED,
        NotTakenError(Code.UPSTREAM_ERROR, "failed (HTTP 503)"),
        NotTakenError(Code.UPSTREAM_ERROR, "cannot be reached"),
        RunnelError(Code.UPSTREAM_TIMEOUT, "did not answer in time"),
        RunnelError(Code.UPSTREAM_INCOMPLETE, "sent an empty answer"),
        RunnelError(Code.UPSTREAM_RATE_LIMITED, "has no quota left", retryable=False),
    ],
)
async def test_before_the_first_token_the_next_model_answers_and_is_named(
    chat: Chat, fault: RunnelError
) -> None:
    second = with_second(chat)
    asked = await chat.service().ask(chat.question())
    chat.model.told.put_nowait(fault)
    second.say("two")
    stop_with(second)
    *_, token, end = await read_to_end(await chat.follow(asked))
    assert token == Token("two")
    assert isinstance(end, End)
    assert (end.model, end.provider_model) == ("chat/second", "told-1")
    assert names(await chat.stored(asked)) == ("chat/second", "told-1")
    assert chat.observed.passed == [("chat/told", fault.code)]


@pytest.mark.parametrize(
    "fault",
    [
        RunnelError(Code.UPSTREAM_ERROR, "refused the request", retryable=False),
        RunnelError(Code.INVALID_REQUEST, "takes no such image"),
    ],
)
async def test_what_was_refused_as_wrong_is_not_asked_of_another(
    chat: Chat, fault: RunnelError
) -> None:
    second = with_second(chat)
    asked = await chat.service().ask(chat.question())
    chat.model.told.put_nowait(fault)
    end = await read_end(await chat.follow(asked))
    assert isinstance(end, Failed)
    assert (end.code, second.asked) == (fault.code, [])


async def test_a_model_that_says_nothing_in_its_own_time_is_passed_over(chat: Chat) -> None:
    chat.model.terms = replace(TERMS, timeout_seconds=0.01)
    second = with_second(chat)
    asked = await chat.service().ask(chat.question())
    await until_asked(chat.model)
    await asyncio.sleep(0.02)
    for producer in chat.running._producers.values():
        producer.enforce_deadlines()
    second.say("two")
    stop_with(second)
    assert isinstance(await read_end(await chat.follow(asked)), End)
    assert chat.model.closed.is_set()
    assert chat.observed.passed == [("chat/told", Code.UPSTREAM_TIMEOUT)]


async def test_after_the_first_token_the_answer_stays_with_its_model(chat: Chat) -> None:
    second = with_second(chat)
    asked = await chat.service().ask(chat.question())
    chat.model.say("one")
    chat.model.told.put_nowait(RunnelError(Code.UPSTREAM_INCOMPLETE, "hung up"))
    end = await read_end(await chat.follow(asked))
    stored = await chat.stored(asked)
    assert isinstance(end, Failed)
    assert (stored.status, stored.text, second.asked) == (Status.FAILED, "one", [])


async def test_an_alias_that_restarts_begins_anew_with_the_next_and_readers_are_told(
    chat: Chat,
) -> None:
    chat.restarts = True
    chat.model.terms = replace(TERMS, price=Price(1_000_000, 1_000_000))
    second = with_second(chat)
    second.terms = replace(TERMS, price=Price(1_000_000, 2_000_000))
    asked = await chat.service().ask(chat.question())
    chat.model.say("o", "ne\r")
    chat.model.told.put_nowait(RunnelError(Code.UPSTREAM_INCOMPLETE, "hung up"))
    second.say("two")
    stop_with(second, Usage(7, 1, "provider"))
    events = await read_to_end(await chat.follow(asked))
    stored = await chat.stored(asked)
    assert stored.text == text_of(events) == "two"
    assert stored.position == Position(2, 2)
    assert names(stored) == ("chat/second", "told-1")
    # What the first had made is paid for as well.
    first = estimated(chat)
    assert stored.usage == Usage(
        first.prompt_tokens + 7,
        first.completion_tokens + 1,
        "estimated",
        first.prompt_tokens + first.completion_tokens + 7 + 2,
    )


def estimated(chat: Chat) -> Usage:
    """What the first model's `one` is estimated to have taken."""
    (turns, _), *_ = chat.model.asked
    return Usage(len(turns[0].text) // 4 + 4, 1, "estimated")


async def test_who_follows_a_restart_reads_what_both_said_and_a_reset_between(chat: Chat) -> None:
    chat.restarts = True
    second = with_second(chat)
    asked = await chat.service().ask(chat.question())
    reader = await chat.follow(asked)
    events: list[Event] = []
    chat.model.say("one")
    while not any(isinstance(event, Token) for event in events):
        events += [event for batch in await reader.next() for event in batch.events]
    chat.model.told.put_nowait(RunnelError(Code.UPSTREAM_ERROR, "failed"))
    second.say("two")
    stop_with(second)
    events += await read_to_end(reader)
    assert [type(event) for event in events[1:]] == [Token, Reset, Token, End]
    assert (events[2], text_of(events)) == (Reset(""), "two")


async def test_a_checkpoint_of_what_is_void_is_not_taken_for_the_new_text(chat: Chat) -> None:
    chat.restarts = True
    second = with_second(chat)
    asked = await chat.service().ask(chat.question())
    reader = await chat.follow(asked)
    chat.model.say("one")
    while not isinstance((await reader.next())[-1].events[-1], Token):
        pass
    (producer,) = chat.running._producers.values()
    stale = producer.unsaved()
    assert stale is not None
    chat.model.told.put_nowait(RunnelError(Code.UPSTREAM_ERROR, "failed"))
    second.say("two")
    while not isinstance((await reader.next())[-1].events[-1], Token):
        pass
    await chat.store.checkpoint([stale])
    producer.saved()
    await chat.running._checkpoint()
    stored = await chat.stored(asked)
    assert (stored.text, stored.position) == ("two", Position(2, 1))


async def test_if_no_other_speaks_either_the_text_so_far_is_kept(chat: Chat) -> None:
    chat.restarts = True
    second = with_second(chat)
    asked = await chat.service().ask(chat.question())
    chat.model.say("one")
    chat.model.told.put_nowait(RunnelError(Code.UPSTREAM_INCOMPLETE, "hung up"))
    second.told.put_nowait(REFUSED)
    events = await read_to_end(await chat.follow(asked))
    stored = await chat.stored(asked)
    assert (text_of(events), stored.text) == ("one", "one")
    assert isinstance(events[-1], Failed)
    assert events[-1].code == Code.UPSTREAM_RATE_LIMITED
    assert names(stored) == ("chat/told", "told-1")


async def test_an_empty_answer_of_the_second_is_the_answer(chat: Chat) -> None:
    chat.restarts = True
    second = with_second(chat)
    asked = await chat.service().ask(chat.question())
    chat.model.say("one")
    chat.model.told.put_nowait(RunnelError(Code.UPSTREAM_INCOMPLETE, "hung up"))
    stop_with(second)
    events = await read_to_end(await chat.follow(asked))
    stored = await chat.stored(asked)
    assert (text_of(events), stored.text, stored.status) == ("", "", Status.COMPLETED)


async def test_what_was_held_back_of_the_first_does_not_begin_the_second(chat: Chat) -> None:
    second = with_second(chat)
    asked = await chat.service().ask(chat.question())
    chat.model.say("\r")  # half of a line's end, perhaps
    chat.model.told.put_nowait(REFUSED)
    second.say("two")
    stop_with(second)
    await read_end(await chat.follow(asked))
    assert (await chat.stored(asked)).text == "two"


async def test_an_abort_while_the_second_answers_is_an_abort(chat: Chat) -> None:
    second = with_second(chat)
    service = chat.service()
    asked = await service.ask(chat.question())
    chat.model.told.put_nowait(REFUSED)
    await until_asked(second)
    await service.abort_all(chat.user_id)
    stored = await chat.stored(asked)
    assert (stored.status, names(stored)[0]) == (Status.ABORTED, "chat/second")
    assert second.closed.is_set()


async def test_when_all_refuse_all_are_asked_again_in_their_order(chat: Chat) -> None:
    second = with_second(chat)
    for model in (chat.model, second):
        model.told.put_nowait(REFUSED)
    chat.model.say("one")
    stop_with(chat.model)
    service = chat.service(replace(BOUNDS, retries=Retries(1, 30)))
    asked = await service.ask(chat.question())
    await read_end(await chat.follow(asked))
    stored = await chat.stored(asked)
    assert (stored.text, names(stored)[0]) == ("one", "chat/told")
    assert (len(chat.model.asked), len(second.asked)) == (2, 1)
    assert chat.observed.retries == [Code.UPSTREAM_RATE_LIMITED]


async def test_a_full_model_is_passed_over_and_the_last_one_has_a_line(chat: Chat) -> None:
    second = with_second(chat)
    chat.model.places, second.places = Places(1), Places(1)
    service = chat.service()
    asked = [await service.ask(chat.question()) for _ in range(4)]
    await until_asked(chat.model)
    await until_asked(second)
    assert len(chat.model.asked) == len(second.asked) == 1
    for number in range(1, 4):
        second.say("two")
        stop_with(second)
        ended = number + 1
        await read_end(await chat.follow(asked[number]))
        if ended < 4:
            await until_asked(second, times=ended)
    chat.model.say("one")
    stop_with(chat.model)
    await read_end(await chat.follow(asked[0]))
    made_by = [names(await chat.stored(each))[0] for each in asked]
    assert made_by == ["chat/told", "chat/second", "chat/second", "chat/second"]


async def test_who_waits_in_line_may_be_aborted_and_leaves_its_place_to_others(chat: Chat) -> None:
    chat.model.places = Places(1)
    service = chat.service()
    first, second, third = [await service.ask(chat.question()) for _ in range(3)]
    await until_asked(chat.model)
    await service.abort(chat.user_id, second.id)
    assert (await chat.stored(second)).status is Status.ABORTED
    for number, asked in enumerate((first, third), start=1):
        await until_asked(chat.model, times=number)
        chat.model.say("x")
        stop_with(chat.model)
        assert isinstance(await read_end(await chat.follow(asked)), End)
    assert not chat.model.places.full


async def test_who_waits_in_line_for_too_long_is_told_why(chat: Chat) -> None:
    chat.model.places = Places(1)
    chat.model.terms = replace(TERMS, timeout_seconds=1000)
    service = chat.service()
    first, second = [await service.ask(chat.question()) for _ in range(2)]
    await until_asked(chat.model)
    waiting = [each for each in chat.running._producers.values() if each.generation.id == second.id]
    await soon(lambda: waiting[0]._attempt._in_line)
    waiting[0]._attempt._heard_at -= 2000
    waiting[0].enforce_deadlines()
    end = await read_end(await chat.follow(second))
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == (Code.OVERLOADED, True)
    assert (await chat.stored(first)).status is Status.RUNNING


async def test_each_model_is_given_what_its_own_terms_say(chat: Chat) -> None:
    chat.model.terms = replace(TERMS, system_prompt="be brief")
    second = with_second(chat)
    second.terms = replace(TERMS, system_prompt="be long")
    chat.model.told.put_nowait(REFUSED)
    stop_with(second)
    asked = await chat.service().ask(chat.question())
    await read_end(await chat.follow(asked))
    prompts = [[turn.text for turn in model.asked[0][0]] for model in (chat.model, second)]
    assert prompts == [["be brief", "why?"], ["be long", "why?"]]


async def test_who_cannot_do_as_asked_is_not_asked(chat: Chat) -> None:
    second = with_second(chat)
    second.terms = replace(TERMS, takes=TERMS.takes - {"seed"})
    ask = replace(chat.question(), params=Params(seed=1))
    both = Candidates([chat.model, second])
    assert able(both, ask).models == [chat.model]
    assert able(both, chat.question()).models == [chat.model, second]
    with pytest.raises(RunnelError, match=r"chat/second \(told\) does not take `seed`") as refused:
        able(Candidates([second, chat.model]), ask)
    assert (refused.value.code, refused.value.field) == (Code.INVALID_REQUEST, "params.seed")


async def test_where_the_alias_itself_is_absent_whoever_can_stands_in(chat: Chat) -> None:
    second, third = with_second(chat), with_second(chat)
    second.terms = replace(TERMS, takes=TERMS.takes - {"seed"})
    absent = RunnelError(Code.MODEL_UNAVAILABLE, "chat/told: is away")
    ask = replace(chat.question(), params=Params(seed=1))
    assert able(Candidates([second, third], absent=absent), ask).models == [third]
    with pytest.raises(RunnelError) as refused:
        able(Candidates([second], absent=absent), ask)
    assert refused.value is absent


async def test_not_to_have_json_mode_is_what_every_provider_can_do(chat: Chat) -> None:
    chat.model.terms = replace(TERMS, takes=frozenset())
    ask = replace(chat.question(), params=Params(json_mode=False))
    assert able(Candidates([chat.model]), ask).models == [chat.model]


async def test_a_model_that_sent_nothing_costs_nothing(chat: Chat) -> None:
    chat.model.terms = replace(TERMS, price=Price(5, 5))
    asked = await chat.service().ask(chat.question())
    chat.model.told.put_nowait(REFUSED)
    await read_end(await chat.follow(asked))
    usage = (await chat.stored(asked)).usage
    assert usage is not None
    assert usage.cost == 0


async def test_gaps_are_observed_between_the_pieces_of_one_model_only(chat: Chat) -> None:
    chat.restarts = True
    second = with_second(chat)
    asked = await chat.service().ask(chat.question())
    chat.model.say("a", "b", "c")
    chat.model.told.put_nowait(RunnelError(Code.UPSTREAM_ERROR, "failed"))
    second.say("d", "e")
    stop_with(second)
    await read_end(await chat.follow(asked))
    # a→b, b→c; d→e, e→the end's own piece has no text and is none.
    assert len(chat.observed.gaps) == 3
    assert all(gap >= 0 for gap in chat.observed.gaps)


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


async def test_a_restart_waits_for_a_database_that_is_away_for_a_moment(chat: Chat) -> None:
    chat.restarts = True
    second = with_second(chat)
    asked = await chat.service().ask(chat.question())
    reader = await chat.follow(asked)
    chat.model.say("one")
    while not isinstance((await reader.next())[-1].events[-1], Token):
        pass
    begin_epoch, away = chat.store.begin_epoch, [True]

    async def begin_later(generation_id: str, fence: int, prompt_tokens: int) -> Epoch:
        if away:
            away.pop()
            raise RunnelError(Code.STORE_UNAVAILABLE, "away")
        return await begin_epoch(generation_id, fence, prompt_tokens)

    chat.store.begin_epoch = begin_later
    chat.model.told.put_nowait(RunnelError(Code.UPSTREAM_INCOMPLETE, "hung up"))
    second.say("two")
    stop_with(second)
    assert isinstance(await read_end(reader), End)
    assert (await chat.stored(asked)).text == "two"


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


async def until_asked(model: ToldModel, *, times: int = 1) -> None:
    """Until a model has been asked so often."""
    await soon(lambda: len(model.asked) >= times)


def test_prices_are_per_million_tokens() -> None:
    usage = Usage(2_000_000, 500_000, "provider")
    assert Price(0.15, 0.60).of(usage) == pytest.approx(0.30 + 0.30)
    costs = [Price(1, 1).of(Usage(n, 0, "provider")) for n in range(5)]
    assert all(later > earlier for earlier, later in pairwise(costs))
