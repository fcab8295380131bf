"""Another model in place of one that does not answer: when, and who is asked then."""

import asyncio
from dataclasses import replace

import pytest

from answers import BOUNDS, TERMS, Chat, read_end, read_to_end
from runnel.chat.choosing import able
from runnel.chat.entities import Params, Status
from runnel.chat.model_ports import Candidates, NotTakenError
from runnel.chat.places import Places
from runnel.chat.retrying import Retries
from runnel.errors import Code, RunnelError
from runnel.events import End, Failed, Token
from standing_in import REFUSED, names, stop_with, until_asked, with_second
from waiting import soon


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
