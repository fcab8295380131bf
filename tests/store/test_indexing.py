"""What was said is indexed soon after: all of it, once, and nothing of what is gone by then."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from answers import Chat
from runnel.accounts.passwords import random_password
from runnel.chat.entities import Ending, Generation, SessionRef, Status, Turn
from runnel.chat.sessions.changes import Changes
from runnel.chat.sessions.passages import Passage
from runnel.chat.sessions.ports import Wanted
from runnel.chat.sessions.purging import Marked
from runnel.chat.sessions.searching import parse_query
from runnel.events import Position, Usage
from runnel.store import documents, indexing
from runnel.store.accounts import SqlAccountStore
from runnel.store.documents import Document
from runnel.store.engine import Database
from runnel.store.ids import now
from runnel.store.indexing import Indexing
from runnel.store.purging import SqlPurging
from runnel.store.session_store import SqlSessions
from runnel.store.tables import MessageRow, SearchDocumentRow, SearchPendingRow, SessionRow
from waiting import POLL_SECONDS, POLLS, soon

USED: Final = Usage(1, 1, "estimated")


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[Chat]:
    async with Chat(database_url) as chat:
        yield chat


@asynccontextmanager
async def another_instance(chat: Chat) -> AsyncGenerator[Indexing]:
    """On the same database: on SQLite a command beside the server."""
    url = chat.database.url.render_as_string(hide_password=False)
    database = Database(url, pool_size=3, timeout_seconds=5)
    yield Indexing(database)
    await database.close()


async def another_user(chat: Chat) -> str:
    user = await SqlAccountStore(chat.database).add_user("bo", random_password(), "user", now())
    assert user is not None
    return user.id


async def say(chat: Chat, said: str, answer: str = "", **members: Any) -> Generation:
    """Answered, if there is an answer."""
    ask = replace(chat.question(said), **members)
    generation = (await chat.begin(ask)).generation
    if answer:
        ending = Ending(
            status=Status.COMPLETED,
            text=answer,
            position=Position(1, 1),
            usage=USED,
            finish_reason="stop",
        )
        await chat.store.finish(generation.id, 1, ending)
    return generation


def sessions_of(chat: Chat, by: Indexing | None = None) -> SqlSessions:
    by = by or chat.indexing
    return SqlSessions(by._database, by, idle_seconds=3600, clock=now)


async def search(chat: Chat, query: str, by: Indexing | None = None) -> list[str]:
    """What is shown of what is found, the newest session first."""
    wanted = Wanted(query=parse_query(query))
    found, _ = await sessions_of(chat, by).page(chat.user_id, wanted, None, 100)
    return [match.snippet for session in found for match in session.matches]


async def counts(chat: Chat) -> tuple[int | None, int | None]:
    """Of texts that pend, and of texts that are known."""
    async with chat.database.read() as connection:
        tables = (SearchPendingRow, SearchDocumentRow)
        pending, known = [
            await connection.scalar(select(func.count()).select_from(table)) for table in tables
        ]
    return pending, known


async def purge(chat: Chat, session_id: str) -> None:
    purging, marked = SqlPurging(chat.database), Marked(session_id, chat.user_id)
    assert await purging.mark(chat.user_id, session_id, now())
    await purging.delete_messages(marked, 500)
    await purging.delete_session(session_id)


class Held:
    """Who adds documents does it, and then waits inside the transaction."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waits = asyncio.Event()
        self.goes_on = asyncio.Event()
        self._add = documents.add
        monkeypatch.setattr(documents, "add", self._held)

    async def _held(self, connection: AsyncConnection, new: Sequence[Document]) -> None:
        await self._add(connection, new)
        self.waits.set()
        await self.goes_on.wait()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


def only_on_postgres(chat: Chat) -> None:
    if chat.database.is_sqlite:
        pytest.skip("SQLite lets one write at a time")


async def somebody_waits(chat: Chat) -> None:
    """Until a statement waits for another's lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    for _ in range(POLLS):
        async with chat.database.read() as connection:
            if await connection.scalar(waiting):
                return
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError


async def test_a_search_finds_what_was_said_just_before_and_nothing_pends_then(chat: Chat) -> None:
    await say(chat, "needle of a question", "needle of an answer")
    assert await counts(chat) == (3, 0)  # with the title
    assert await search(chat, "needle") == [
        "<mark>needle</mark> of a question",
        "<mark>needle</mark> of an answer",
        "<mark>needle</mark> of a question",
    ]
    assert await counts(chat) == (0, 3)


async def test_a_search_indexes_what_is_its_users_alone(chat: Chat) -> None:
    bo = await another_user(chat)
    await say(chat, "needle of bo", user_id=bo)
    await say(chat, "needle of ana")
    assert await search(chat, "needle") == ["<mark>needle</mark> of ana"] * 2
    assert await counts(chat) == (2, 2)


async def test_texts_of_all_lengths_are_all_indexed(chat: Chat) -> None:
    lengths = [1, 3, 900, 9000, 2, 9000, 90_000, 300_000, *[2] * 100, 5000, 5000, 5000]
    history = [Turn("user", f"needle {'a ' * length}") for length in lengths]
    await say(chat, "needle", history=history)
    await chat.indexing.catch_up()
    pending, _ = await counts(chat)
    async with chat.database.read() as connection:
        known = select(func.count(SearchDocumentRow.message_id.distinct()))
        assert (pending, await connection.scalar(known)) == (0, len(lengths) + 1)


async def test_it_is_indexed_without_a_search_too_and_what_was_left_behind(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "_GATHER_SECONDS", 0.01)
    await say(chat, "of one that was killed")
    async with another_instance(chat) as other:
        watching = asyncio.create_task(other.watch())
        await _until_pending(chat, 0)
        await say(chat, "of one that lives")
        other.tell()
        await _until_pending(chat, 0)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _until_pending(chat: Chat, number: int) -> None:
    for _ in range(POLLS):
        if (await counts(chat))[0] == number:
            return
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError


async def test_what_failed_is_tried_again(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[BaseException] = [ValueError("of the words"), OSError("away")]
    add = documents.add

    async def failing(connection: AsyncConnection, new: Sequence[Document]) -> None:
        await add(connection, new)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(documents, "add", failing)
    monkeypatch.setattr(indexing, "_GATHER_SECONDS", 0)
    monkeypatch.setattr(indexing, "_AGAIN_SECONDS", 0)
    await say(chat, "needle", "another needle")
    watching = asyncio.create_task(chat.indexing.watch())
    await soon(lambda: not failures)
    await _until_pending(chat, 0)
    assert await counts(chat) == (0, 3)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching


async def test_what_is_deleted_before_it_is_indexed_leaves_nothing(chat: Chat) -> None:
    bo = await another_user(chat)
    await say(chat, "needle of bo", "and its answer", user_id=bo)
    kept = await say(chat, "kept")
    gone = await say(chat, "needle", "needle answer", session=SessionRef(name="s"))
    await purge(chat, gone.session_id)
    await SqlAccountStore(chat.database).delete_user(bo)
    assert await counts(chat) == (2, 0)  # a question and its title, which were kept
    async with chat.database.write() as connection:
        await connection.execute(delete(MessageRow).where(MessageRow.id == kept.message_id))
        await connection.execute(delete(MessageRow).where(MessageRow.id == kept.user_message_id))
    await chat.indexing.catch_up()
    assert await counts(chat) == (0, 1)  # the kept session's title
    assert await search(chat, "needle") == []


async def test_what_is_purged_but_not_gone_yet_is_not_indexed(chat: Chat) -> None:
    gone = await say(chat, "needle", "needle answer")
    assert await SqlPurging(chat.database).mark(chat.user_id, gone.session_id, now())
    await chat.indexing.catch_up()
    assert await counts(chat) == (0, 0)


async def test_a_title_is_found_as_it_is_now_however_often_it_changed(chat: Chat) -> None:
    session = SessionRef(id=(await say(chat, "first words")).session_id)
    for title in ("second words", None, "third words"):
        await sessions_of(chat).change(chat.user_id, session, Changes(title=title))
    assert await search(chat, "words") == [
        "third <mark>words</mark>",
        "first <mark>words</mark>",
    ]
    await sessions_of(chat).change(chat.user_id, session, Changes(title=None))
    assert await search(chat, "third") == []
    assert await counts(chat) == (0, 1)


async def test_of_several_who_index_at_once_each_finds_all_and_nothing_is_there_twice(
    chat: Chat,
) -> None:
    for number in range(60):
        await say(chat, f"needle {number}", f"needle answer {number}")
    async with another_instance(chat) as other:
        found = await asyncio.gather(
            *(search(chat, "needle", by) for by in (chat.indexing, other) * 3),
            chat.indexing.catch_up(),
            other.catch_up(),
        )
    assert [len(each) for each in found[:6] if each] == [180] * 6
    assert await counts(chat) == (0, 180)


async def test_who_gets_an_id_that_was_used_before_is_not_taken_for_another(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another has indexed all of them meanwhile; in SQLite their ids are given again."""
    cut, cuts = documents.cut, 0

    async def cut_late(texts: Mapping[Any, str]) -> Mapping[Any, Sequence[Passage]]:
        nonlocal cuts
        cuts += 1
        if cuts == 1:
            await chat.indexing.catch_up()
            await say(chat, "new needle", "new needle answer")
        return await cut(texts)

    monkeypatch.setattr(documents, "cut", cut_late)
    await say(chat, "old needle", "old needle answer")
    await chat.indexing.catch_up()
    assert await counts(chat) == (0, 6)
    assert len(await search(chat, '"new needle"')) == 3
    assert len(await search(chat, '"old needle"')) == 3


async def test_a_search_waits_for_what_another_instance_just_indexes(
    chat: Chat, held: Held
) -> None:
    only_on_postgres(chat)
    await say(chat, "needle")
    async with another_instance(chat) as other:
        background = asyncio.create_task(other.catch_up())
        await held.waits.wait()
        searching = asyncio.create_task(search(chat, "needle"))
        await somebody_waits(chat)
        held.goes_on.set()
        assert await searching == ["<mark>needle</mark>"] * 2
        await background


async def test_who_deletes_waits_for_who_indexes_and_nothing_is_left(
    chat: Chat, held: Held
) -> None:
    only_on_postgres(chat)
    gone = await say(chat, "needle", "needle answer")
    background = asyncio.create_task(chat.indexing.catch_up())
    await held.waits.wait()
    purging = asyncio.create_task(purge(chat, gone.session_id))
    await somebody_waits(chat)
    held.goes_on.set()
    await asyncio.gather(background, purging)
    assert await counts(chat) == (0, 0)


Delete = Callable[[Chat, AsyncConnection, Generation], Any]


async def _messages(_: Chat, connection: AsyncConnection, gone: Generation) -> None:
    """As a purge does."""
    session = select(SessionRow.id).where(SessionRow.id == gone.session_id)
    await connection.execute(session.with_for_update())
    for message_id in (gone.message_id, gone.user_message_id):
        await connection.execute(delete(MessageRow).where(MessageRow.id == message_id))


async def _session(_: Chat, connection: AsyncConnection, gone: Generation) -> None:
    await connection.execute(delete(SessionRow).where(SessionRow.id == gone.session_id))


async def _user(chat: Chat, connection: AsyncConnection, _: Generation) -> None:
    await connection.execute(text("DELETE FROM users WHERE id = :id"), {"id": chat.user_id})


@pytest.mark.parametrize("deleting", [_messages, _session, _user])
async def test_who_indexes_waits_for_who_deletes_and_passes_over_what_is_gone(
    chat: Chat, deleting: Delete
) -> None:
    only_on_postgres(chat)
    gone = await say(chat, "needle", "needle answer")
    async with chat.database.write() as connection:
        await deleting(chat, connection, gone)
        background = asyncio.create_task(chat.indexing.catch_up())
        await somebody_waits(chat)
    await background
    pending, known = await counts(chat)
    assert (pending, known) == (0, 1 if deleting is _messages else 0)  # the title


async def test_who_asks_and_who_ends_an_answer_wait_for_nobody_who_indexes(
    chat: Chat, held: Held
) -> None:
    only_on_postgres(chat)
    session = SessionRef(name="s")
    await say(chat, "first", "first answer", session=session)
    background = asyncio.create_task(chat.indexing.catch_up())
    await held.waits.wait()
    await say(chat, "second", "second answer", session=session)
    await sessions_of(chat).change(chat.user_id, session, Changes(title="third"))
    held.goes_on.set()
    await background
    assert await search(chat, "third") == ["<mark>third</mark>"]
    assert await search(chat, "second answer") == ["<mark>second</mark> <mark>answer</mark>"]


async def test_who_deletes_and_who_indexes_never_wait_in_a_circle(chat: Chat) -> None:
    for _ in range(5):
        made = [await say(chat, f"needle {number}", "needle answer") for number in range(20)]
        bo = await another_user(chat)
        for number in range(20):
            await say(chat, f"needle {number}", user_id=bo)
        async with another_instance(chat) as other:
            await asyncio.gather(
                other.catch_up(),
                chat.indexing.catch_up(),
                SqlAccountStore(chat.database).delete_user(bo),
                *(purge(chat, each.session_id) for each in reversed(made)),
            )
            await other.catch_up()
        assert await counts(chat) == (0, 0)


async def test_the_words_of_an_answer_that_pends_go_with_a_hidden_session(chat: Chat) -> None:
    """It was hidden after its question, by whatever."""
    asked = await say(chat, "needle", "needle answer")
    async with chat.database.write() as connection:
        hide = update(SessionRow).where(SessionRow.id == asked.session_id).values(hidden=True)
        await connection.execute(hide)
    assert await search(chat, "needle") == []
    assert await counts(chat) == (0, 0)
