"""What a purge leaves of a session: nothing but its usage. What it leaves of others: everything."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import func, insert, select, update

from answers import Chat
from runnel.chat.entities import Ask, AskKey, Ending, Fitted, Generation, SessionRef, Status, Turn
from runnel.chat.ports import Begun, Joined
from runnel.chat.reports import DayUsage
from runnel.chat.sessions.purging import Deleted, Marked
from runnel.errors import Code, RunnelError
from runnel.events import Position, Usage
from runnel.store.attachments import SqlAttachments
from runnel.store.ids import new_id, now
from runnel.store.purging import SqlPurging
from runnel.store.tables import (
    AttachmentRow,
    Base,
    CheckpointRow,
    GenerationRow,
    KeptUsageRow,
    MessageAttachmentRow,
    MessageRow,
    SearchDocumentRow,
    SessionRow,
)
from runnel.store.usage import SqlReports

FIRST: Final = date(2020, 1, 1)
LAST: Final = date(2100, 1, 1)
USED: Final = Usage(7, 3, "provider", cost=0.5)


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[Chat]:
    async with Chat(database_url) as chat:
        yield chat


async def ask(chat: Chat, session: str | None = "s", **members: Any) -> Generation:
    asked = replace(chat.question("q", session), **members)
    begun = await chat.store.begin_ask(asked, chat.choose, "me")
    assert isinstance(begun, Begun)
    return begun.generation


async def end(chat: Chat, generation: Generation, used: Usage = USED) -> Generation:
    ending = Ending(
        status=Status.COMPLETED,
        text="answer",
        position=Position(1, 1),
        usage=used,
        finish_reason="stop",
    )
    ended = await chat.store.finish(generation.id, 1, ending)
    assert ended is not None
    return ended


async def answered(chat: Chat, session: str = "s", used: Usage = USED) -> Generation:
    return await end(chat, await ask(chat, session), used)


async def count(chat: Chat, *tables: type[Base]) -> list[int]:
    async with chat.database.read() as connection:
        counts = [await connection.scalar(select(func.count()).select_from(one)) for one in tables]
    return [number or 0 for number in counts]


async def used(chat: Chat) -> Sequence[DayUsage]:
    return await SqlReports(chat.database).usage(chat.user_id, FIRST, LAST)


async def purge(chat: Chat, session_id: str, most: int = 500) -> list[Deleted]:
    purging = SqlPurging(chat.database)
    assert await purging.mark(chat.user_id, session_id, now())
    marked = Marked(session_id, chat.user_id)
    batches: list[Deleted] = []
    while (deleted := await purging.delete_messages(marked, most)).messages:
        batches.append(deleted)
    await purging.delete_session(session_id)
    return batches


async def hang_on(chat: Chat, generation: Generation) -> None:
    """A found word, an attachment and a checkpoint of an answer."""
    attachment_id = new_id()
    owner = chat.user_id.replace("-", "")
    async with chat.database.write() as connection:
        await connection.execute(
            insert(AttachmentRow).values(
                id=attachment_id,
                user_id=chat.user_id,
                session_id=generation.session_id,
                name="a.txt",
                media_type="text/plain",
                bytes=1,
                created_at=now(),
            )
        )
        await connection.execute(
            insert(MessageAttachmentRow).values(
                message_id=generation.user_message_id, attachment_id=attachment_id, ordinal=0
            )
        )
        for message_id in (None, generation.message_id):
            await connection.execute(
                insert(SearchDocumentRow).values(
                    session_id=generation.session_id,
                    message_id=message_id,
                    owner=owner,
                    begins=0,
                    ends=6,
                    words="canary",
                )
            )
        await connection.execute(
            insert(CheckpointRow).values(
                generation_id=generation.id, epoch=1, last_offset=1, text="ans"
            )
        )


async def test_all_that_hangs_on_a_session_goes_with_it_and_others_stay(chat: Chat) -> None:
    other = await answered(chat, "other")
    await hang_on(chat, other)
    tables = (
        SessionRow,
        MessageRow,
        GenerationRow,
        CheckpointRow,
        AttachmentRow,
        MessageAttachmentRow,
        SearchDocumentRow,
    )
    before = await count(chat, *tables)
    gone = [await answered(chat) for _ in range(3)]
    for generation in gone:
        await hang_on(chat, generation)
    await purge(chat, gone[0].session_id)
    assert await count(chat, *tables) == before
    async with chat.database.read() as connection:
        found = select(SearchDocumentRow.session_id)
        assert set(await connection.scalars(found)) == {other.session_id}
    assert (await chat.stored(other)).text == "answer"


async def test_a_long_session_with_branches_goes_in_bounded_batches(chat: Chat) -> None:
    history = [Turn("user", str(number)) for number in range(1100)]
    first = await end(chat, await ask(chat, history=history))
    session = SessionRef(id=first.session_id)
    for _ in range(3):
        again = Ask(chat.user_id, "", session, regenerates=first.message_id)
        begun = await chat.store.begin_ask(again, chat.choose, "me")
        assert isinstance(begun, Begun)
        await end(chat, begun.generation)
    batches = await purge(chat, first.session_id, most=100)
    assert [batch.messages for batch in batches] == [100] * 11 + [5]
    # The deepest first, so that no message is left without what it answers.
    assert len(batches[0].generation_ids) == 4
    assert await count(chat, SessionRow, MessageRow, GenerationRow) == [0, 0, 0]


async def test_usage_is_the_same_before_and_after(chat: Chat) -> None:
    kept = await answered(chat, "kept", Usage(1, 1, "provider"))
    purged = [
        await answered(chat, "one"),
        await answered(chat, "one", Usage(5, 5, "estimated")),
        await answered(chat, "two"),
        await answered(chat, "three", Usage(5, 5, "estimated")),
    ]
    async with chat.database.write() as connection:
        for generation, moment in zip(
            [*purged, kept],
            [
                datetime(2024, 2, 29, tzinfo=UTC),
                datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC),
                datetime(2024, 2, 29, 12, tzinfo=UTC),
                datetime(2024, 3, 1, tzinfo=UTC),
                datetime(2024, 2, 29, 13, tzinfo=UTC),
            ],
            strict=True,
        ):
            await connection.execute(
                update(GenerationRow)
                .where(GenerationRow.id == generation.id)
                .values(created_at=moment)
            )
    before = await used(chat)
    assert [(day.day, day.generations, day.cost) for day in before] == [
        (date(2024, 3, 1), 1, None),
        (date(2024, 2, 29), 4, 1.0),
    ]
    for session_id in {generation.session_id for generation in purged}:
        await purge(chat, session_id, most=2)
        assert await used(chat) == before
    await purge(chat, kept.session_id)
    assert await used(chat) == before
    assert await count(chat, GenerationRow, KeptUsageRow) == [0, 2]
    reports = SqlReports(chat.database)
    assert await reports.usage(chat.user_id, date(2024, 3, 1), LAST) == before[:1]


async def test_two_that_purge_the_same_count_its_usage_once(chat: Chat) -> None:
    generation, *_ = [await answered(chat) for _ in range(20)]
    before = await used(chat)
    purging = SqlPurging(chat.database)
    assert await purging.mark(chat.user_id, generation.session_id, now())
    marked = Marked(generation.session_id, chat.user_id)

    async def delete() -> int:
        total = 0
        while (deleted := await purging.delete_messages(marked, 3)).messages:
            total += deleted.messages
        return total

    assert sum(await asyncio.gather(delete(), delete(), delete())) == 40
    assert await used(chat) == before


async def test_a_marked_session_is_found_by_nobody_and_its_name_is_free(chat: Chat) -> None:
    purging = SqlPurging(chat.database)
    gone = await ask(chat)
    assert not await purging.mark("somebody else", gone.session_id, now())
    assert await purging.mark(chat.user_id, gone.session_id, now())
    assert not await purging.mark(chat.user_id, gone.session_id, now())
    assert await chat.store.generation(chat.user_id, gone.id) is None
    assert await chat.store.see(chat.user_id, gone.id) is None
    assert await chat.store.generations(chat.user_id, None, None, 10) == ([], None)
    # What is making it finds that it is to stop.
    assert (await chat.store.begin_epoch(gone.id, 1, Fitted(1))).abort_by == "user"
    assert (await ask(chat)).session_id != gone.session_id


async def test_the_key_of_a_purged_question_is_free(chat: Chat) -> None:
    key = AskKey("key", "fingerprint", SessionRef(name="s"))
    gone = await end(chat, await ask(chat, key=key))
    joined = await chat.store.begin_ask(replace(chat.question("q", "s"), key=key), chat.choose, "")
    assert isinstance(joined, Joined)
    assert await SqlPurging(chat.database).mark(chat.user_id, gone.session_id, now())
    assert await chat.store.asked_before(chat.user_id, key) is None
    assert (await ask(chat, key=key)).id != gone.id


async def test_hidden_sessions_are_not_purged_by_their_id_but_with_their_user(chat: Chat) -> None:
    hidden = await ask(chat, session=None, stateless=True)
    shown = await ask(chat)
    purging = SqlPurging(chat.database)
    assert not await purging.mark(chat.user_id, hidden.session_id, now())
    some = await purging.mark_some(chat.user_id, now(), 1)
    assert len(some) == 1
    every = await purging.mark_some(chat.user_id, now(), 10)
    assert {each.session_id for each in every} == {hidden.session_id, shown.session_id}
    assert await purging.mark_some("somebody else", now(), 10) == []


async def test_a_mark_that_is_there_keeps_its_times(chat: Chat) -> None:
    generation = await ask(chat)
    closed, purged = now() - timedelta(days=2), now() - timedelta(days=1)
    async with chat.database.write() as connection:
        await connection.execute(update(SessionRow).values(closed_at=closed))
    purging = SqlPurging(chat.database)
    assert await purging.mark(chat.user_id, generation.session_id, purged)
    await purging.mark_some(chat.user_id, now(), 10)
    async with chat.database.read() as connection:
        rows = await connection.execute(select(SessionRow.closed_at, SessionRow.purged_at))
        assert [tuple(row) for row in rows] == [(closed, purged)]


async def test_a_session_that_is_not_marked_is_not_deleted(chat: Chat) -> None:
    generation = await answered(chat)
    purging = SqlPurging(chat.database)
    await purging.delete_session(generation.session_id)
    marked = Marked(generation.session_id, chat.user_id)
    assert (await purging.delete_messages(marked, 10)).messages == 0
    assert await count(chat, SessionRow, MessageRow) == [1, 2]


async def test_for_who_is_being_deleted_nothing_is_begun_on_any_instance(chat: Chat) -> None:
    purging, files = SqlPurging(chat.database), SqlAttachments(chat.database)
    until = now() + timedelta(minutes=1)
    await purging.leave(chat.user_id, until)
    await purging.stay(chat.user_id, until - timedelta(seconds=1))  # another's broke off
    for refused in (ask(chat), files.refuse_leaving(chat.user_id)):
        with pytest.raises(RunnelError) as leaving:
            await refused
        assert (leaving.value.code, leaving.value.retryable) == (Code.CONFLICT, False)
    await purging.stay(chat.user_id, until)  # it broke off
    await ask(chat, "one")
    # Whoever was deleting it has gone in mid-work, long ago.
    await purging.leave(chat.user_id, now() - timedelta(seconds=1))
    await ask(chat, "another")
    await files.refuse_leaving(chat.user_id)
