"""What the store of sessions decides where the doors cannot be told to meet it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
from sqlalchemy import insert
from typing_extensions import override

from answers import Chat, TheseModels
from runnel.chat.entities import Generation, SessionRef, Status
from runnel.chat.sessions.changes import NewSession
from runnel.chat.sessions.entities import Session
from runnel.chat.sessions.service import Sessions
from runnel.store.ids import now
from runnel.store.session_store import SqlSessions
from runnel.store.tables import MessageRow


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[Chat]:
    async with Chat(database_url) as chat:
        yield chat


def store_of(chat: Chat) -> SqlSessions:
    return SqlSessions(chat.database, chat.indexing, idle_seconds=1800, clock=now)


async def test_the_newest_leaf_is_a_leaf_though_its_parents_id_is_newer(chat: Chat) -> None:
    # As in what was imported, or asked at two instances whose clocks differ.
    store = store_of(chat)
    made = await store.create(chat.user_id, NewSession())
    newer, older = (f"{digit * 8}-0000-7000-8000-000000000000" for digit in "f0")
    rows = [
        {"id": newer, "parent_id": None, "role": "user", "depth": 0},
        {"id": older, "parent_id": newer, "role": "assistant", "depth": 1},
    ]
    alike = {"session_id": made.id, "content": "x", "created_at": now(), "stem_id": newer}
    async with chat.database.write() as connection:
        for row in rows:
            await connection.execute(insert(MessageRow).values(**row, **alike))
    chosen = await store.choose_branch(chat.user_id, SessionRef(id=made.id), newer)
    assert chosen is not None
    assert chosen.leaf_id == older


async def test_a_session_that_is_to_be_made_is_none_of_those_without_a_name(chat: Chat) -> None:
    store = store_of(chat)
    await store.create(chat.user_id, NewSession())
    assert await store.get(chat.user_id, SessionRef()) is None


class AskedMeanwhile(SqlSessions):
    """Somebody asks just behind each look at a session."""

    def __init__(self, chat: Chat, ask: Callable[[], Awaitable[Generation]]) -> None:
        idle_seconds = timedelta(hours=1).total_seconds()
        super().__init__(chat.database, chat.indexing, idle_seconds=idle_seconds, clock=now)
        self._ask = ask

    @override
    async def get(self, user_id: str, ref: SessionRef) -> Session | None:
        found = await super().get(user_id, ref)
        await self._ask()
        return found


async def test_what_is_asked_while_a_session_is_stopped_is_stopped_too(chat: Chat) -> None:
    service = chat.service()

    async def ask() -> Generation:
        return await service.ask(chat.question(session="s"))

    made = await store_of(chat).create(chat.user_id, NewSession(name="s"))
    store = AskedMeanwhile(chat, ask)
    sessions = Sessions(store, service, TheseModels([chat.model], restarts=False))
    last = await sessions.abort(chat.user_id, SessionRef(id=made.id))
    assert last is not None
    assert last.status is Status.ABORTED
