"""Rows of running answers that several statements write at once: none of them fails."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from answers import Chat
from runnel.chat.entities import Fitted, Generation
from runnel.chat.ports import Checkpoint
from runnel.events import Position
from runnel.store.lease_store import SqlLeases

MANY = 60
ROUNDS = 15


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[Chat]:
    async with Chat(database_url) as chat:
        yield chat


async def running(chat: Chat, number: int) -> Sequence[Generation]:
    begun = [(await chat.begin(chat.question(session=f"s{place}"))) for place in range(number)]
    for each in begun:
        await chat.store.begin_epoch(each.generation.id, 1, Fitted(5))
    return [each.generation for each in begun]


async def test_a_checkpoint_that_comes_twice_at_once_is_one(chat: Chat) -> None:
    """A round saves it while the answer is handed back."""
    for place, generation in enumerate(await running(chat, ROUNDS)):
        new = Checkpoint(generation.id, 1, Position(1, place), "text")
        await asyncio.gather(
            chat.store.checkpoint([new]),
            chat.store.hand_back(generation.id, 1, new),
            chat.store.checkpoint([new]),
        )
        assert (await chat.stored(generation)).text == "text"


async def test_checkpoints_and_renewals_do_not_wait_for_each_other_in_a_circle(chat: Chat) -> None:
    if not chat.database.url.drivername.startswith("postgresql"):
        pytest.skip("there are leases in Postgres only")
    made = await running(chat, MANY)
    leases = SqlLeases(chat.database, history_max_messages=10)
    ids = [generation.id for generation in made]

    async def renew() -> int:
        return len(await leases.renew("me", ids, 15))

    async def save(offset: int) -> None:
        new = [Checkpoint(each, 1, Position(1, offset), ".") for each in reversed(ids)]
        await chat.store.checkpoint(new)

    for offset in range(ROUNDS):
        renewing = [asyncio.create_task(renew()) for _ in range(3)]
        await save(offset)
        assert await asyncio.gather(*renewing) == [MANY] * 3
