"""What the clean-up finds by its age, and what it leaves alone: on both back ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import select, update

from answers import Chat
from runnel.chat.entities import Ending, Generation, Status
from runnel.chat.ports import Begun
from runnel.chat.sessions.purging import Marked
from runnel.events import Position, Usage
from runnel.store.cleaning import SqlCleaning
from runnel.store.ids import now
from runnel.store.tables import SessionRow

DAY: Final = timedelta(days=1)
ENDED: Final = Ending(
    status=Status.COMPLETED,
    text="answer",
    position=Position(1, 1),
    usage=Usage(1, 1, "provider"),
    finish_reason="stop",
)


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[Chat]:
    async with Chat(database_url) as chat:
        yield chat


async def ask(chat: Chat, session: str | None, **members: Any) -> Generation:
    asked = replace(chat.question("q", session), **members)
    begun = await chat.store.begin_ask(asked, chat.choose, "me")
    assert isinstance(begun, Begun)
    return begun.generation


async def session(chat: Chat, name: str | None, **members: Any) -> str:
    """One whose answer has ended."""
    generation = await ask(chat, name, **members)
    assert await chat.store.finish(generation.id, 1, ENDED)
    return generation.session_id


async def stand(chat: Chat, session_id: str, **values: object) -> None:
    async with chat.database.write() as connection:
        await connection.execute(
            update(SessionRow).where(SessionRow.id == session_id).values(**values)
        )


async def closed(chat: Chat) -> dict[str, datetime | None]:
    async with chat.database.read() as connection:
        rows = await connection.execute(select(SessionRow.id, SessionRow.closed_at))
        return {row.id: row.closed_at for row in rows}


def ids(marked: Sequence[Marked]) -> list[str]:
    return [each.session_id for each in marked]


async def test_what_nobody_has_gone_on_with_is_closed_oldest_first(chat: Chat) -> None:
    old = [await session(chat, f"s{number}") for number in range(3)]
    for ago, session_id in zip((5, 7, 6), old, strict=True):
        await stand(chat, session_id, last_activity=now() - ago * DAY)
    new = await session(chat, "new")
    store = SqlCleaning(chat.database)
    moment = now()
    assert await store.close(moment - 4 * DAY, moment, 2) == 2
    assert await closed(chat) == {old[0]: None, old[1]: moment, old[2]: moment, new: None}
    assert await store.close(moment - 4 * DAY, moment + DAY, 10) == 1
    assert await store.close(moment - 4 * DAY, moment + DAY, 10) == 0
    assert (await closed(chat))[old[1]] == moment


async def test_what_is_being_answered_is_neither_closed_nor_purged(chat: Chat) -> None:
    live = await ask(chat, "s")
    hidden = await ask(chat, None, stateless=True)
    for generation in (live, hidden):
        await stand(chat, generation.session_id, last_activity=now() - 9 * DAY)
    store = SqlCleaning(chat.database)
    assert await store.close(now() - DAY, now(), 10) == 0
    await stand(chat, live.session_id, closed_at=now() - 9 * DAY)
    assert await store.mark_closed(now() - DAY, now(), 10) == []
    assert await store.mark_hidden(now() - DAY, now(), 10) == []
    for generation in (live, hidden):
        assert await chat.store.finish(generation.id, 1, ENDED)
        await stand(chat, generation.session_id, last_activity=now() - 9 * DAY)  # an end is some
    assert ids(await store.mark_closed(now() - DAY, now(), 10)) == [live.session_id]
    assert ids(await store.mark_hidden(now() - DAY, now(), 10)) == [hidden.session_id]


async def test_what_was_opened_or_asked_in_again_is_left_alone(chat: Chat) -> None:
    opened, asked = await session(chat, "opened"), await session(chat, "asked")
    for session_id in (opened, asked):
        long_ago = now() - 9 * DAY
        await stand(chat, session_id, last_activity=long_ago, closed_at=long_ago)
    await stand(chat, opened, closed_at=None)
    await stand(chat, asked, closed_at=None)
    await session(chat, "asked")
    store = SqlCleaning(chat.database)
    assert await store.mark_closed(now() - DAY, now(), 10) == []
    assert await store.close(now() - DAY, now(), 10) == 1
    assert [(await closed(chat))[each] is None for each in (opened, asked)] == [False, True]


async def test_of_closed_ones_those_go_that_were_closed_long_ago(chat: Chat) -> None:
    old, new = await session(chat, "old"), await session(chat, "new")
    hidden = await session(chat, None, stateless=True)
    await stand(chat, old, closed_at=now() - 3 * DAY)
    await stand(chat, new, closed_at=now() - DAY, last_activity=now() - 9 * DAY)
    await stand(chat, hidden, closed_at=now() - 9 * DAY)
    store = SqlCleaning(chat.database)
    assert ids(await store.mark_closed(now() - 2 * DAY, now(), 10)) == [old]
    assert await store.mark_closed(now() - 2 * DAY, now(), 10) == []
    assert ids(await store.marked("", 10)) == [old]
    assert await store.mark_hidden(now() - DAY, now(), 10) == []


async def test_marked_ones_are_found_page_by_page(chat: Chat) -> None:
    marked = sorted([await session(chat, f"s{number}") for number in range(5)])
    await session(chat, "stays")
    for session_id in marked:
        await stand(chat, session_id, purged_at=now(), hidden=True)
    store = SqlCleaning(chat.database)
    first = await store.marked("", 3)
    assert ids(first) == marked[:3]
    assert ids(await store.marked(marked[2], 3)) == marked[3:]
    assert {each.user_id for each in first} == {chat.user_id}


async def test_two_rounds_at_once_take_each_session_once(chat: Chat) -> None:
    old = [await session(chat, f"s{number}") for number in range(12)]
    for session_id in old:
        await stand(chat, session_id, closed_at=now() - 3 * DAY)
    store = SqlCleaning(chat.database)
    taken = await asyncio.gather(*(store.mark_closed(now() - 2 * DAY, now(), 4) for _ in range(6)))
    found = [each for some in taken for each in ids(some)]
    assert len(found) == len(set(found))
    while more := await store.mark_closed(now() - 2 * DAY, now(), 4):
        found += ids(more)
    assert sorted(found) == sorted(old)


async def test_an_ask_and_the_clean_up_at_once_agree(chat: Chat) -> None:
    """Whoever comes first: what is closed is refused, what is asked is not closed."""
    store = SqlCleaning(chat.database)
    for number in range(8):
        session_id = await session(chat, f"s{number}")
        await stand(chat, session_id, last_activity=now() - 9 * DAY)
        asking, _ = await asyncio.gather(
            ask(chat, f"s{number}"), store.close(now() - DAY, now(), 10), return_exceptions=True
        )
        is_closed = (await closed(chat))[session_id] is not None
        assert is_closed == isinstance(asking, Exception)
