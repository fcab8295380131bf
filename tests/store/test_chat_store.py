"""What the store decides: one live answer a session, one end, whose turn it is to write."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from answers import Chat, unpriced
from runnel.chat.entities import Ask, Context, Ending, Fitted, ModelName, SessionRef, Status, Turn
from runnel.chat.ports import Begun, Checkpoint, Epoch, StaleFence
from runnel.errors import Code, RunnelError
from runnel.events import Position, Usage
from runnel.store.accounts import SqlAccountStore

USAGE = Usage(1, 1, "estimated")


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[Chat]:
    async with Chat(database_url) as chat:
        yield chat


async def ask(chat: Chat, text: str = "q", session: str | None = "s") -> Begun:
    return await chat.begin(chat.question(text, session))


def ending(status: Status, text: str = "") -> Ending:
    return Ending(status=status, text=text, position=Position(1, 1), usage=USAGE)


def completed(text: str) -> Ending:
    return replace(ending(Status.COMPLETED, text), finish_reason="stop")


async def test_a_session_is_answered_once_at_a_time(chat: Chat) -> None:
    first = await ask(chat)
    with pytest.raises(RunnelError) as busy:
        await ask(chat)
    assert busy.value.code is Code.BUSY
    assert busy.value.facts == {"generation_id": first.generation.id}


async def test_of_asks_at_the_same_time_the_database_lets_one_in(chat: Chat) -> None:
    results = await asyncio.gather(*(ask(chat) for _ in range(20)), return_exceptions=True)
    begun = [result for result in results if isinstance(result, Begun)]
    refused = [result for result in results if isinstance(result, RunnelError)]
    assert len(begun) == 1
    assert {error.code for error in refused} == {Code.BUSY}


async def test_the_constraint_refuses_what_a_look_before_the_write_would_miss(chat: Chat) -> None:
    await ask(chat)
    async with chat.database.write() as connection:
        with pytest.raises(
            IntegrityError, match=r"generations\.session_id|generations_live_session"
        ):
            await connection.exec_driver_sql(
                "INSERT INTO generations SELECT 'other', user_id, session_id, user_message_id,"
                " user_message_id, model, provider, provider_model, params, 'queued', owner, 1,"
                " NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, created_at,"
                " NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, FALSE FROM generations"
            )


async def test_the_branch_is_what_was_said_in_order_without_empty_answers(chat: Chat) -> None:
    first = await ask(chat, "one")
    await chat.store.finish(first.generation.id, 1, completed("1"))
    second = await ask(chat, "two")
    await chat.store.finish(second.generation.id, 1, ending(Status.ABORTED))
    third = await ask(chat, "three")
    assert third.turns == [
        Turn("user", "one"),
        Turn("assistant", "1"),
        Turn("user", "two"),
        Turn("user", "three"),
    ]


async def test_a_long_branch_is_read_from_its_newest_end(chat: Chat) -> None:
    history = [Turn("user", str(number)) for number in range(300)]
    begun = await chat.store.begin_ask(
        Ask(chat.user_id, "q", SessionRef(name="long"), history), chat.choose, "me"
    )
    await chat.store.finish(begun.generation.id, 1, completed("a"))
    asked = await ask(chat, "next", "long")
    turns = asked.turns
    assert len(turns) == 101
    assert asked.beyond == 202
    assert [turn.text for turn in turns[-3:]] == ["q", "a", "next"]


async def test_a_history_begins_a_session_but_does_not_join_one(chat: Chat) -> None:
    begun = await ask(chat)
    await chat.store.finish(begun.generation.id, 1, completed("a"))
    with pytest.raises(RunnelError) as refused:
        await chat.store.begin_ask(
            Ask(chat.user_id, "q", SessionRef(name="s"), [Turn("user", "h")]), chat.choose, "me"
        )
    assert refused.value.code is Code.CONFLICT
    assert "send `message`" in refused.value.message


async def test_an_empty_history_is_one_too(chat: Chat) -> None:
    begun = await ask(chat)
    await chat.store.finish(begun.generation.id, 1, completed("a"))
    with pytest.raises(RunnelError) as refused:
        await chat.store.begin_ask(
            Ask(chat.user_id, "q", SessionRef(name="s"), []), chat.choose, "me"
        )
    assert refused.value.code is Code.CONFLICT


async def test_system_turns_are_read_however_long_ago_they_were(chat: Chat) -> None:
    history = [Turn("system", "rule"), *(Turn("user", str(number)) for number in range(300))]
    begun = await chat.store.begin_ask(
        Ask(chat.user_id, "q", SessionRef(name="long"), history), chat.choose, "me"
    )
    await chat.store.finish(begun.generation.id, 1, completed("a"))
    asked = await ask(chat, "next", "long")
    assert asked.turns[0] == Turn("system", "rule")
    assert asked.beyond == 202  # of 303 messages the last hundred, and the rule


async def test_an_unknown_id_is_not_found_and_a_name_is_made(chat: Chat) -> None:
    with pytest.raises(RunnelError) as refused:
        await chat.store.begin_ask(
            Ask(chat.user_id, "q", SessionRef(id="0" * 36)), chat.choose, "me"
        )
    assert refused.value.code is Code.NOT_FOUND
    assert (await ask(chat, session="new")).generation.session_id


async def test_the_first_end_holds(chat: Chat) -> None:
    begun = await ask(chat)
    first = await chat.store.finish(begun.generation.id, 1, completed("whole"))
    second = await chat.store.finish(begun.generation.id, 1, ending(Status.ABORTED, "half"))
    assert first == second
    assert first is not None
    assert (first.status, first.text) == (Status.COMPLETED, "whole")


async def test_an_older_fence_ends_checkpoints_and_begins_nothing(chat: Chat) -> None:
    begun = await ask(chat)
    generation = begun.generation
    await chat.store.begin_epoch(generation.id, 1, Fitted(5))
    async with chat.database.write() as connection:
        await connection.exec_driver_sql("UPDATE generations SET fence = 2")
    await chat.store.checkpoint([Checkpoint(generation.id, 1, Position(1, 3), "late")])
    late = await chat.store.finish(generation.id, 1, completed("late"))
    assert late is not None
    assert (late.status, late.text, late.position) == (Status.RUNNING, "", None)
    with pytest.raises(StaleFence):
        await chat.store.begin_epoch(generation.id, 1, Fitted(5))


async def test_each_epoch_is_higher_and_an_ended_answer_begins_none(chat: Chat) -> None:
    generation = (await ask(chat)).generation
    assert await chat.store.begin_epoch(generation.id, 1, Fitted(5)) == Epoch(1, abort_by=None)
    assert await chat.store.begin_epoch(generation.id, 1, Fitted(5)) == Epoch(2, abort_by=None)
    await chat.store.finish(generation.id, 1, completed("x"))
    with pytest.raises(StaleFence):
        await chat.store.begin_epoch(generation.id, 1, Fitted(5))


async def test_an_answer_that_never_began_is_interrupted_in_epoch_1(chat: Chat) -> None:
    generation = (await ask(chat)).generation
    assert len(await chat.store.interrupt_left_running(unpriced)) == 1
    stored = await chat.stored(generation)
    assert (stored.status, stored.position) == (Status.INTERRUPTED, Position(1, 1))


async def test_another_users_answer_does_not_exist(chat: Chat) -> None:
    generation = (await ask(chat)).generation
    assert await chat.store.generation("somebody else", generation.id) is None


async def test_a_user_with_a_very_long_session_can_be_deleted(chat: Chat) -> None:
    # SQLite cascades a thousand levels deep at most.
    history = [Turn("user", str(number)) for number in range(1500)]
    ask_ = Ask(chat.user_id, "q", SessionRef(name="long"), history)
    await chat.store.begin_ask(ask_, chat.choose, "me")
    await SqlAccountStore(chat.database).delete_user(chat.user_id)
    async with chat.database.read() as connection:
        left = await connection.exec_driver_sql("SELECT count(*) FROM messages")
        assert left.scalar() == 0


async def test_what_the_model_was_given_is_kept_as_the_last_said_of_it(chat: Chat) -> None:
    generation = (await ask(chat)).generation
    assert (await chat.stored(generation)).context is None
    first, second = Context(3, 2, 1, 0), Context(1, 4, 0, 1)
    await chat.store.begin_epoch(generation.id, 1, Fitted(5, first))
    assert (await chat.stored(generation)).context == first
    model = ModelName("chat/other", "told", "other")
    await chat.store.name_model(generation.id, 1, model, Fitted(6, second))
    await chat.store.finish(generation.id, 1, completed("x"))
    assert (await chat.stored(generation)).context == second


async def test_who_keeps_the_talk_is_told_nothing_of_what_was_given(chat: Chat) -> None:
    generation = (await ask(chat)).generation
    await chat.store.begin_epoch(generation.id, 1, Fitted(5))
    assert (await chat.stored(generation)).context is None
