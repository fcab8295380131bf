"""An answer that broke off is begun anew: what readers and the row are told."""

from dataclasses import replace

from answers import TERMS, Chat, read_end, read_to_end
from runnel.chat.entities import Fitted, Status
from runnel.chat.ports import Epoch
from runnel.chat.terms import Price
from runnel.errors import Code, RunnelError
from runnel.events import End, Event, Failed, Position, Reset, Token, Usage, text_of
from standing_in import REFUSED, names, read_a_token, stop_with, with_second


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
    await read_a_token(reader)
    (producer,) = chat.running._producers.values()
    stale = producer.unsaved()
    assert stale is not None
    chat.model.told.put_nowait(RunnelError(Code.UPSTREAM_ERROR, "failed"))
    second.say("two")
    await read_a_token(reader)
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


async def test_a_restart_waits_for_a_database_that_is_away_for_a_moment(chat: Chat) -> None:
    chat.restarts = True
    second = with_second(chat)
    asked = await chat.service().ask(chat.question())
    reader = await chat.follow(asked)
    chat.model.say("one")
    await read_a_token(reader)
    begin_epoch, away = chat.store.begin_epoch, [True]

    async def begin_later(generation_id: str, fence: int, prompt: Fitted) -> Epoch:
        if away:
            away.pop()
            raise RunnelError(Code.STORE_UNAVAILABLE, "away")
        return await begin_epoch(generation_id, fence, prompt)

    chat.store.begin_epoch = begin_later
    chat.model.told.put_nowait(RunnelError(Code.UPSTREAM_INCOMPLETE, "hung up"))
    second.say("two")
    stop_with(second)
    assert isinstance(await read_end(reader), End)
    assert (await chat.stored(asked)).text == "two"
