"""Leases in Postgres: renewed by their owner alone, taken over by one, and only when they are over."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest

import postgres
from answers import Chat
from runnel.chat.entities import Ending, Fitted, Generation, Status
from runnel.chat.leases import Leases, LeaseStore
from runnel.chat.orders import HandedBack
from runnel.chat.ports import Checkpoint, StaleFence
from runnel.chat.takeover import Taken
from runnel.errors import Code, RunnelError
from runnel.events import Position, Usage
from runnel.store.chat import ChatStore
from runnel.store.lease_store import SqlLeases
from waiting import soon

ENDED = Ending(Status.COMPLETED, "x", Position(1, 1), Usage(1, 1, "estimated"), "stop")
LONG = 60.0


@pytest.fixture
def url() -> Iterator[str]:
    made = postgres.migrated_url()
    yield made
    postgres.give_back(made)


@pytest.fixture
async def chat(url: str) -> AsyncIterator[Chat]:
    async with Chat(url) as chat:
        chat.store = ChatStore(
            chat.database, chat.indexing, history_max_messages=100, lease_seconds=LONG
        )
        yield chat


@pytest.fixture
def leases(chat: Chat) -> SqlLeases:
    return SqlLeases(chat.database, history_max_messages=100)


async def asked(chat: Chat, session: str = "s") -> Generation:
    return (await chat.begin(chat.question(session=session))).generation


async def silent(leases: SqlLeases, generation: Generation, owner: str = "me") -> None:
    """Its owner's lease is over."""
    [_] = await leases.renew(owner, [generation.id], 0)


async def test_an_owner_keeps_what_is_its_own_and_live(chat: Chat, leases: SqlLeases) -> None:
    one, two = await asked(chat, "1"), await asked(chat, "2")
    await chat.store.finish(two.id, two.fence, ENDED)
    held = await leases.renew("me", [one.id, two.id], LONG)
    assert [each.generation_id for each in held] == [one.id]
    assert not await leases.renew("another", [one.id], LONG)
    assert not await leases.take_over("another", LONG, 10, expired=True)


async def test_a_renewal_reads_what_is_asked_of_it(chat: Chat, leases: SqlLeases) -> None:
    generation = await asked(chat)
    [held] = await leases.renew("me", [generation.id], LONG)
    assert (held.abort_by, held.needs_reader) == (None, False)
    await chat.store.request_abort(chat.user_id, generation.id, "disconnect")
    [held] = await leases.renew("me", [generation.id], LONG)
    assert held.abort_by == "disconnect"


async def test_of_many_who_take_over_at_once_one_has_it(chat: Chat, leases: SqlLeases) -> None:
    made = [await asked(chat, str(number)) for number in range(5)]
    for generation in made:
        await silent(leases, generation)
    takers = [leases.take_over(f"taker {number}", LONG, 3, expired=True) for number in range(6)]
    taken = [each for some in await asyncio.gather(*takers) for each in some]
    taken += await leases.take_over("last", LONG, 9, expired=True)
    assert sorted(each.generation.id for each in taken) == sorted(each.id for each in made)
    assert {each.generation.fence for each in taken} == {2}


async def test_who_was_before_writes_nothing_any_more(chat: Chat, leases: SqlLeases) -> None:
    generation = await asked(chat)
    await silent(leases, generation)
    [taken] = await leases.take_over("another", LONG, 10, expired=True)
    ended = await chat.store.finish(generation.id, 1, ENDED)
    assert ended is not None
    assert (ended.status, ended.fence) == (Status.QUEUED, 2)
    with pytest.raises(StaleFence):
        await chat.store.begin_epoch(generation.id, 1, Fitted(3))
    await chat.store.hand_back(generation.id, 1, None)
    assert not await leases.take_over("third", LONG, 10, expired=False)
    assert not await leases.renew("me", [generation.id], LONG)
    assert [each.generation_id for each in await leases.renew("another", [taken.generation.id], 1)]


async def test_what_is_handed_back_is_there_at_once_with_its_last_text(
    chat: Chat, leases: SqlLeases
) -> None:
    generation = await asked(chat)
    await chat.store.begin_epoch(generation.id, 1, Fitted(3))
    unsaved = Checkpoint(generation.id, 1, Position(1, 2), "so far")
    await chat.store.hand_back(generation.id, 1, unsaved)
    [taken] = await leases.take_over("another", LONG, 10, expired=False)
    assert (taken.generation.text, taken.generation.epoch) == ("so far", 1)
    reopened = await leases.reopen(taken)
    assert reopened is not None
    assert [turn.text for turn in reopened.turns] == ["why?"]


async def test_after_an_outage_of_the_database_others_have_the_time_to_renew(
    chat: Chat, leases: SqlLeases
) -> None:
    generation = await asked(chat)
    await silent(leases, generation)
    taken: list[Taken] = []
    away = True

    class Away:
        """The store, which is away at first."""

        async def renew(self, *arguments: Any) -> object:
            if away:
                raise RunnelError(Code.STORE_UNAVAILABLE, "away")
            return await leases.renew(*arguments)

        async def take_over(self, *arguments: Any, expired: bool) -> object:
            if away:
                raise RunnelError(Code.STORE_UNAVAILABLE, "away")
            return await leases.take_over(*arguments, expired=expired)

    async def resume(each: Taken) -> None:
        taken.append(each)

    kept = Leases(
        cast("LeaseStore", Away()),
        chat.running,
        chat.bus.orders,
        owner="another",
        lease_seconds=0.6,
        resume=resume,
    )
    watching = asyncio.create_task(kept.watch())
    await soon(lambda: kept._answers_since is None)
    away = False
    await soon(lambda: kept._answers_since is not None)
    since = asyncio.get_running_loop().time()
    chat.bus.orders.publish(HandedBack())
    await soon(lambda: bool(taken))
    assert asyncio.get_running_loop().time() - since >= 0.5
    watching.cancel()
    await asyncio.wait([watching])
