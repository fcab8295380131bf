"""Keys in the database: one answer for one key, however many ask, for a day."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import chain, repeat

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from answers import Chat
from runnel.accounts.passwords import random_password
from runnel.chat.entities import Ask, AskKey, Ending, Generation, SessionRef, Status, Turn
from runnel.chat.ports import Begun, Joined
from runnel.errors import Code, RunnelError
from runnel.events import Position, Usage
from runnel.store import generations, shown
from runnel.store.accounts import SqlAccountStore
from runnel.store.ids import new_id, now

KEY = AskKey("k", "f" * 64)
DAY = timedelta(hours=24)
AWHILE = timedelta(minutes=1)


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[Chat]:
    async with Chat(database_url) as chat:
        yield chat


def question(chat: Chat, key: AskKey | None = KEY, session: str | None = None) -> Ask:
    return replace(chat.question(session=session), key=key)


async def begin(chat: Chat, ask: Ask) -> Begun | Joined:
    return await chat.store.begin_ask(ask, chat.choose, "me")


async def end(chat: Chat, generation: Generation, status: Status = Status.ABORTED) -> None:
    ending = Ending(status, "text", Position(1, 1), Usage(1, 1, "estimated"))
    await chat.store.finish(generation.id, generation.fence, ending)


async def scalars(chat: Chat, sql: str) -> list[object]:
    async with chat.database.write() as connection:
        return list((await connection.exec_driver_sql(sql)).scalars())


async def age(chat: Chat, generation: Generation, by: timedelta) -> None:
    made = (now() - by).strftime("%Y-%m-%d %H:%M:%S.%f")
    await scalars(
        chat,
        f"UPDATE generations SET created_at = '{made}' WHERE id = '{generation.id}' RETURNING 1",  # noqa: S608 - the test's own
    )


async def test_the_same_question_gets_the_same_generation_and_writes_nothing(chat: Chat) -> None:
    first = await begin(chat, question(chat))
    assert isinstance(first, Begun)
    assert first.turns == [Turn("user", "why?")]
    again = await begin(chat, question(chat))
    assert isinstance(again, Joined)
    assert again.generation.id == first.generation.id
    assert again.generation.status is Status.QUEUED
    for table, rows in (("generations", 1), ("sessions", 1), ("messages", 2)):
        assert await scalars(chat, f"SELECT count(*) FROM {table}") == [rows]  # noqa: S608 - same


@pytest.mark.parametrize("status", [Status.ABORTED, Status.FAILED, Status.INTERRUPTED])
async def test_whatever_became_of_it_it_is_joined(chat: Chat, status: Status) -> None:
    first = (await begin(chat, question(chat))).generation
    await end(chat, first, status)
    joined = await chat.store.asked_before(chat.user_id, KEY)
    assert joined is not None
    assert (joined.id, joined.status, joined.text) == (first.id, status, "text")
    assert joined.end == Position(1, 1)
    again = await begin(chat, question(chat))
    assert (again.generation.id, again.generation.status) == (first.id, status)


async def test_another_question_is_refused_before_anything_is_written(chat: Chat) -> None:
    await begin(chat, question(chat))
    other = AskKey("k", "e" * 64)
    for attempt in (
        chat.store.asked_before(chat.user_id, other),
        begin(chat, question(chat, other, "another")),
    ):
        with pytest.raises(RunnelError) as refused:
            await attempt
        assert refused.value.code is Code.IDEMPOTENCY_CONFLICT
        assert refused.value.facts == {}
    assert await scalars(chat, "SELECT count(*) FROM sessions") == [1]


async def test_a_key_that_nobody_used_is_nobodys(chat: Chat) -> None:
    assert await chat.store.asked_before(chat.user_id, KEY) is None
    await begin(chat, question(chat, None))
    await begin(chat, question(chat, None))  # without keys they are two questions
    assert await chat.store.asked_before(chat.user_id, KEY) is None
    assert await scalars(chat, "SELECT count(*) FROM generations") == [2]


async def test_keys_differ_by_case_and_by_user(chat: Chat) -> None:
    bea = await SqlAccountStore(chat.database).add_user("bea", random_password(), "user", now())
    assert bea is not None
    asks = [
        question(chat),
        question(chat, replace(KEY, text="K")),
        question(chat, replace(KEY, text="k ")),
        replace(question(chat), user_id=bea.id),
    ]
    assert len({(await begin(chat, ask)).generation.id for ask in asks}) == 4


async def test_of_many_at_once_one_is_written_and_all_get_it(chat: Chat) -> None:
    begun = await asyncio.gather(*(begin(chat, question(chat)) for _ in range(20)))
    assert len({one.generation.id for one in begun}) == 1
    assert sum(isinstance(one, Begun) for one in begun) == 1
    assert await scalars(chat, "SELECT count(*) FROM generations") == [1]


async def test_of_many_at_once_in_one_session_all_get_it_and_none_is_told_it_is_busy(
    chat: Chat,
) -> None:
    for session in ("new", "there", "there"):  # the second time it has messages already
        key = replace(KEY, text=new_id())
        asks = [begin(chat, question(chat, key, session)) for _ in range(20)]
        begun = await asyncio.gather(*asks)
        assert len({each.generation.id for each in begun}) == 1
        await end(chat, begun[0].generation)


async def test_in_one_session_the_key_is_looked_at_before_who_is_busy(chat: Chat) -> None:
    first = (await begin(chat, question(chat, session="s"))).generation
    assert (await begin(chat, question(chat, session="s"))).generation.id == first.id
    for other in (None, replace(KEY, text="other")):
        with pytest.raises(RunnelError) as busy:
            await begin(chat, question(chat, other, "s"))
        assert busy.value.code is Code.BUSY
    # What was refused has used up nothing.
    assert await chat.store.asked_before(chat.user_id, replace(KEY, text="other")) is None


@pytest.mark.parametrize("session", ["s", None])
async def test_the_constraint_joins_what_the_look_before_the_write_would_miss(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, session: str | None
) -> None:
    first = (await begin(chat, question(chat, session=session))).generation
    if session:
        await end(chat, first)
    blind_once(monkeypatch)
    again = await begin(chat, question(chat, session=session))
    assert again == Joined(again.generation)
    assert again.generation.id == first.id
    assert await scalars(chat, "SELECT count(*) FROM messages") == [2]
    blind_once(monkeypatch)
    with pytest.raises(RunnelError) as refused:
        await begin(chat, question(chat, replace(KEY, fingerprint="e" * 64), session))
    assert refused.value.code is Code.IDEMPOTENCY_CONFLICT


def blind_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look for a key sees what another ask has not committed yet: nothing."""
    real = shown.asked_with
    looks = chain([True], repeat(False))

    async def look(
        connection: AsyncConnection, user_id: str, key: str, since: object
    ) -> tuple[str, str] | None:
        if next(looks):
            return None
        return await real(connection, user_id, key, since)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(shown, "asked_with", look)


async def test_the_database_itself_refuses_a_second_use(chat: Chat) -> None:
    await begin(chat, question(chat))
    other = (await begin(chat, question(chat, None))).generation
    with pytest.raises(IntegrityError, match=r"generations\.ask_key|generations_user_id_ask_key"):
        await scalars(
            chat,
            f"UPDATE generations SET ask_key = 'k' WHERE id = '{other.id}' RETURNING 1",  # noqa: S608 - the test's own
        )


async def test_after_a_day_a_key_is_free_and_the_old_answer_stays(chat: Chat) -> None:
    first = (await begin(chat, question(chat))).generation
    await end(chat, first)
    await age(chat, first, DAY - AWHILE)
    assert (await begin(chat, question(chat))).generation.id == first.id
    await age(chat, first, DAY + AWHILE)
    assert await chat.store.asked_before(chat.user_id, KEY) is None
    # Another question may take it now, too.
    second = (await begin(chat, question(chat, replace(KEY, fingerprint="e" * 64)))).generation
    assert second.id != first.id
    assert await scalars(chat, "SELECT ask_key FROM generations ORDER BY created_at") == [None, "k"]
    assert (await chat.stored(first)).text == "text"


async def test_freeing_a_key_frees_no_other(chat: Chat) -> None:
    bea = await SqlAccountStore(chat.database).add_user("bea", random_password(), "user", now())
    assert bea is not None
    hers = (await begin(chat, replace(question(chat), user_id=bea.id))).generation
    mine = (await begin(chat, question(chat))).generation
    other = (await begin(chat, question(chat, replace(KEY, text="other")))).generation
    for generation in (hers, mine, other):
        await age(chat, generation, DAY + AWHILE)
    await begin(chat, question(chat))
    kept = await scalars(chat, "SELECT id FROM generations WHERE ask_key IS NOT NULL")
    assert {hers.id, other.id} < set(kept)
    assert mine.id not in kept
    assert generations.KEY_LIFE == DAY


async def test_a_key_goes_with_its_session_and_its_user(chat: Chat) -> None:
    first = (await begin(chat, question(chat, session="s"))).generation
    await scalars(chat, "DELETE FROM sessions RETURNING id")
    assert await chat.store.asked_before(chat.user_id, KEY) is None
    second = (await begin(chat, question(chat, session="s"))).generation
    assert second.id != first.id
    await scalars(chat, "DELETE FROM users RETURNING id")
    assert await scalars(chat, "SELECT count(*) FROM generations") == [0]
    with pytest.raises(RunnelError) as refused:
        await begin(chat, question(chat))
    assert refused.value.code is Code.UNAUTHORIZED


async def test_a_refused_ask_leaves_no_session_behind(chat: Chat) -> None:
    await begin(chat, question(chat))
    with pytest.raises(RunnelError):
        await begin(chat, replace(question(chat), session=SessionRef(id="nobody's"), key=None))
    assert await scalars(chat, "SELECT count(*) FROM sessions") == [1]
