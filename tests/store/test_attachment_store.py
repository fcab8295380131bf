"""What the store knows of attachments: whose they are, where they are used, how much a user has."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from answers import Chat
from runnel.chat.entities import Attachment, Ending, Status
from runnel.chat.ports import Begun
from runnel.errors import Code, RunnelError
from runnel.events import Position, Usage
from runnel.store import attachments, sessions, tree
from runnel.store.attachments import SqlAttachments
from runnel.store.ids import new_id, now

MOST = 1_000_000
ENDED = Ending(Status.COMPLETED, "a", Position(1, 1), Usage(1, 1, "estimated"), "stop")


class Files:
    """A user's attachments, over a real database."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.store = SqlAttachments(chat.database)

    async def add(self, name: str = "a.txt", *, size: int = 3, most: int = MOST) -> Attachment:
        made = Attachment(new_id(), name, "text/plain", size, None, None, size, now())
        await self.store.add(self.chat.user_id, made, most)
        return made

    async def ask(self, session: str) -> Begun:
        return await self.chat.begin(self.chat.question("q", session))

    async def use(self, begun: Begun, *used: Attachment) -> None:
        made = begun.generation
        async with self.chat.database.write() as connection:
            ids = [each.id for each in used]
            await attachments.use(connection, made.session_id, made.user_message_id, ids)

    async def asked_with(self, session_id: str | None, *ids: str) -> list[Attachment]:
        async with self.chat.database.read() as connection:
            return await attachments.asked_with(connection, self.chat.user_id, session_id, ids)


@pytest.fixture
async def files(database_url: str) -> AsyncIterator[Files]:
    async with Chat(database_url) as chat:
        yield Files(chat)


async def test_an_attachment_is_found_by_its_user_alone(files: Files) -> None:
    made = await files.add()
    assert await files.store.find(files.chat.user_id, made.id) == made
    assert await files.store.find(new_id(), made.id) is None
    assert await files.store.find(files.chat.user_id, "no id") is None


async def test_what_is_used_belongs_to_its_session_and_stands_in_order(files: Files) -> None:
    first, second = await files.add("first"), await files.add("second")
    begun = await files.ask("here")
    await files.use(begun, second, first)
    session_id, message_id = begun.generation.session_id, begun.generation.user_message_id
    expected = {message_id: [replace(each, session_id=session_id) for each in (second, first)]}
    async with files.chat.database.read() as connection:
        assert await attachments.of_messages(connection, [message_id]) == expected
        assert await attachments.of_messages(connection, [begun.generation.message_id]) == {}
        ids = await attachments.ids_of_sessions(connection, [session_id])
        assert sorted(ids) == sorted([first.id, second.id])


async def test_a_prompt_reads_only_what_its_own_messages_have(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await files.add()
    asked: list[Begun] = []
    for _ in range(3):
        asked.append(await files.ask("here"))
        await files.use(asked[-1], made)
        await files.chat.store.finish(asked[-1].generation.id, 1, ENDED)
    shown: list[Any] = []
    show = attachments._attachment

    def counted(row: Any) -> Attachment:
        shown.append(row)
        return show(row)

    monkeypatch.setattr(attachments, "_attachment", counted)
    async with files.chat.database.read() as connection:
        leaf = await tree.place(connection, asked[-1].generation.message_id)
        assert leaf is not None
        branch = await sessions.branch(connection, leaf, 2)
    assert [len(turn.attachments) for turn in branch.turns] == [1, 0]
    assert len(shown) == 1


async def test_a_question_names_its_users_own_in_its_own_order(files: Files) -> None:
    first, second = await files.add("first"), await files.add("second")
    assert await files.asked_with(None, second.id, first.id) == [second, first]
    with pytest.raises(RunnelError) as refused:
        await files.asked_with(None, first.id, new_id())
    assert (refused.value.code, refused.value.field) == (Code.NOT_FOUND, "attachments")


async def test_what_one_session_has_no_other_is_given(files: Files) -> None:
    made = await files.add()
    here, there = await files.ask("here"), await files.ask("there")
    await files.use(here, made)
    assert await files.asked_with(here.generation.session_id, made.id)
    for session_id in (there.generation.session_id, None):
        with pytest.raises(RunnelError) as refused:
            await files.asked_with(session_id, made.id)
        assert refused.value.code is Code.CONFLICT
    with pytest.raises(RunnelError) as refused:
        await files.use(there, made)
    assert refused.value.code is Code.CONFLICT


async def test_a_message_loses_what_is_deleted(files: Files) -> None:
    gone, stays = await files.add("gone"), await files.add("stays")
    begun = await files.ask("here")
    await files.use(begun, gone, stays)
    await files.store.delete([gone.id, new_id()])
    message_id = begun.generation.user_message_id
    async with files.chat.database.read() as connection:
        [left] = (await attachments.of_messages(connection, [message_id]))[message_id]
        assert left.id == stays.id
        assert await attachments.ids_of_user(connection, files.chat.user_id) == [stays.id]


async def test_the_oldest_that_nobody_used_are_named_so_many_at_a_time(files: Files) -> None:
    first, second, used = [await files.add() for _ in range(3)]
    await files.use(await files.ask("here"), used)
    soon = now() + timedelta(hours=1)
    assert await files.store.unused(soon, 10) == [first.id, second.id]
    assert await files.store.unused(soon, 1) == [first.id]
    assert await files.store.unused(first.created_at, 10) == []


async def test_a_user_has_so_many_bytes_and_no_more(files: Files) -> None:
    made = await files.add(size=MOST // 4)
    with pytest.raises(RunnelError) as refused:
        await files.add(size=MOST // 4)
    assert refused.value.code is Code.PAYLOAD_TOO_LARGE
    assert "delete some" in refused.value.message
    await files.store.delete([made.id])
    await files.add(size=MOST // 4)


async def test_a_user_who_has_gone_gets_none(files: Files) -> None:
    made = Attachment(new_id(), "a", "text/plain", 1, None, None, 1, now())
    with pytest.raises(RunnelError) as refused:
        await files.store.add(new_id(), made, MOST)
    assert refused.value.code is Code.UNAUTHORIZED


async def test_of_files_that_come_at_once_no_more_are_taken_than_one_after_the_other(
    files: Files,
) -> None:
    at_once = [files.add(size=MOST // 8) for _ in range(12)]
    came = await asyncio.gather(*at_once, return_exceptions=True)
    taken = [each for each in came if isinstance(each, Attachment)]
    refused = [each.code for each in came if isinstance(each, RunnelError)]
    assert (len(taken), refused) == (3, [Code.PAYLOAD_TOO_LARGE] * 9)
