"""What channels read of the store: how sessions stand, what was asked of late, by whom."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from answers import Chat
from runnel.accounts.passwords import random_password
from runnel.chat.channel import Recent
from runnel.chat.channels import RunningAnswer, SessionState
from runnel.chat.entities import Ask, AskKey, Ending, Fitted, Generation, SessionRef, Status
from runnel.chat.notices import Asked
from runnel.chat.ports import Checkpoint
from runnel.errors import Code, RunnelError
from runnel.events import Position, Usage
from runnel.store.accounts import SqlAccountStore
from runnel.store.channels import SqlChannels
from runnel.store.engine import Database
from runnel.store.ids import now
from statements import told_of_statements
from wire import NOBODYS_ID

LONG_AGO = timedelta(days=1)


class Stored:
    """The store of channels, and one of asks that fills it."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.channels = SqlChannels(chat.database)

    async def ask(
        self, text: str = "q", session: str | None = "s", user_id: str = "", **members: Any
    ) -> Generation:
        who = user_id or self.chat.user_id
        ask = Ask(user_id=who, text=text, session=SessionRef(name=session), **members)
        return (await self.chat.store.begin_ask(ask, self.chat.choose, "me")).generation

    async def end(self, generation: Generation) -> None:
        ending = Ending(
            status=Status.COMPLETED,
            text="done",
            position=Position(1, 2),
            usage=Usage(1, 1, "estimated"),
            finish_reason="stop",
        )
        assert await self.chat.store.finish(generation.id, 1, ending)

    async def open(self, **ref: str) -> SessionState | None:
        return await self.channels.open_session(self.chat.user_id, SessionRef(**ref))

    async def recent(self, *user_ids: str, ago: timedelta = LONG_AGO) -> Sequence[Recent]:
        return await self.channels.recent(user_ids or [self.chat.user_id], now() - ago)

    async def other_user(self) -> str:
        accounts = SqlAccountStore(self.chat.database)
        user = await accounts.add_user("bob", random_password(), "user", now())
        assert user is not None
        return user.id


@pytest.fixture
async def stored(database_url: str) -> AsyncIterator[Stored]:
    async with Chat(database_url) as chat:
        yield Stored(chat)


async def test_a_session_is_made_by_its_name_and_found_by_its_id(stored: Stored) -> None:
    made = await stored.open(name="new")
    assert made is not None
    assert made == SessionState(made.session_id, None, None)
    assert await stored.open(name="new") == made
    assert await stored.open(id=made.session_id) == made
    assert await stored.open(id=NOBODYS_ID) is None


async def test_who_come_at_once_find_one_session(stored: Stored) -> None:
    states = await asyncio.gather(*(stored.open(name="raced") for _ in range(20)))
    assert len({state.session_id for state in states if state}) == 1


async def test_names_are_of_their_user_and_ids_too(stored: Stored) -> None:
    mine = await stored.open(name="same")
    bob = await stored.other_user()
    theirs = await stored.channels.open_session(bob, SessionRef(name="same"))
    assert mine is not None
    assert theirs is not None
    assert mine.session_id != theirs.session_id
    assert await stored.open(id=theirs.session_id) is None


async def test_a_session_of_v1_is_not_found(stored: Stored) -> None:
    generation = await stored.ask("hidden", None, stateless=True)
    assert await stored.open(id=generation.session_id) is None
    user_id, session_id = stored.chat.user_id, generation.session_id
    assert await stored.channels.running_in(user_id, session_id) is None
    assert await stored.recent() == []


async def test_what_runs_in_a_session_stands_where_it_was_last_stored(stored: Stored) -> None:
    generation = await stored.ask()

    async def stands() -> RunningAnswer | None:
        state = await stored.open(name="s")
        assert state is not None
        assert state.session_id == generation.session_id
        assert state.last_message_id == generation.message_id
        return state.running

    ids = generation.id, generation.message_id
    assert await stands() == RunningAnswer(*ids, None)
    store = stored.chat.store
    for epoch in (1, 2):
        assert (await store.begin_epoch(generation.id, 1, Fitted(0))).number == epoch
        assert await stands() == RunningAnswer(*ids, None)
        for offset in (3, 11):
            position = Position(epoch, offset)
            await store.checkpoint([Checkpoint(generation.id, 1, position, "text")])
            assert await stands() == RunningAnswer(*ids, position)
    user_id, session_id = stored.chat.user_id, generation.session_id
    assert await stored.channels.running_in(user_id, session_id) == generation.id
    assert await stored.channels.running_in(await stored.other_user(), session_id) is None
    await stored.end(generation)
    assert await stands() is None
    assert await stored.channels.running_in(user_id, session_id) is None


async def test_what_was_asked_of_late_is_told_oldest_first(stored: Stored) -> None:
    generations: list[Generation] = []
    for number in range(5):
        generations.append(await stored.ask(f"{number}", f"s{number}"))
        if number % 2:
            await stored.end(generations[-1])
    found = await stored.recent()
    assert found == [
        Recent(
            generation.id,
            stored.chat.user_id,
            generation.session_id,
            live=number % 2 == 0,
            asked_at=generation.created_at,
        )
        for number, generation in enumerate(generations)
    ]
    # Of what was asked before, that which is live.
    assert [each.generation_id for each in await stored.recent(ago=-LONG_AGO)] == [
        generation.id for generation in generations[::2]
    ]
    assert await stored.recent(await stored.other_user()) == []


async def test_each_user_is_told_apart(stored: Stored) -> None:
    bob = await stored.other_user()
    mine = await stored.ask()
    theirs = await stored.ask(user_id=bob)
    both = await stored.recent(stored.chat.user_id, bob)
    assert [(each.generation_id, each.user_id) for each in both] == [
        (mine.id, stored.chat.user_id),
        (theirs.id, bob),
    ]


@pytest.mark.parametrize("others", [[], [NOBODYS_ID]])
async def test_what_is_live_is_not_looked_for_among_all_that_was(
    stored: Stored, others: Sequence[str]
) -> None:
    database = stored.chat.database
    if not database.is_sqlite:
        pytest.skip("Postgres chooses by how much there is")
    await stored.recent()
    said: list[tuple[str, Sequence[object]]] = []
    with told_of_statements(database, lambda text, values, _: said.append((text, values))):
        await stored.recent(stored.chat.user_id, *others)
    plans = [await plan_of(database, text, values) for text, values in said]
    assert sorted("uq_generations_live_session" in plan for plan in plans) == [False, True], plans


async def plan_of(database: Database, text: str, values: Sequence[object]) -> str:
    async with database.read() as connection:
        rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", tuple(values))
        return "; ".join(row.detail for row in rows)


async def test_a_question_is_read_as_it_was_asked(stored: Stored) -> None:
    named = await stored.ask("named ü", "trip", key=AskKey("key", "print"))
    nameless = await stored.ask("nameless", None)
    assert await stored.channels.asked([nameless.id, named.id, NOBODYS_ID]) == [
        Asked(
            user_id=stored.chat.user_id,
            session_id=generation.session_id,
            session_name=name,
            generation_id=generation.id,
            message_id=generation.message_id,
            user_message_id=generation.user_message_id,
            question=question,
            asked_at=generation.created_at,
            key=key,
        )
        for generation, name, question, key in (
            (named, "trip", "named ü", "key"),
            (nameless, None, "nameless", None),
        )
    ]
    assert await stored.channels.asked([]) == []


async def test_as_many_as_are_promised_are_read_at_once(stored: Stored) -> None:
    ids = [f"{number:036}" for number in range(500)]
    assert await stored.channels.recent(ids, now()) == []
    assert await stored.channels.asked(ids) == []


async def test_a_database_that_is_away_is_said_so(tmp_path: Path) -> None:
    file = tmp_path / "no such folder" / "store.db"
    database = Database(f"sqlite+aiosqlite:///{file}", pool_size=1, timeout_seconds=1)
    channels = SqlChannels(database)
    for reading in (
        channels.open_session("user", SessionRef(name="s")),
        channels.recent(["user"], now()),
        channels.asked([NOBODYS_ID]),
        channels.running_in("user", NOBODYS_ID),
    ):
        with pytest.raises(RunnelError) as away:
            await reading
        assert away.value.code is Code.STORE_UNAVAILABLE
    await database.close()
