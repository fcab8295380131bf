"""What an import makes of sessions: all found, all in place, or nothing of them left."""

import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import func, select, text

from planting import Files
from runnel.accounts.entities import User
from runnel.chat.entities import Status
from runnel.chat.sessions.import_reading import read_export
from runnel.chat.sessions.importing import Imported, Importing
from runnel.chat.sessions.records import SessionRecord
from runnel.chat.sessions.searching import parse_query
from runnel.errors import Code, RunnelError
from runnel.events import Position
from runnel.store import search, shown
from runnel.store.accounts import SqlAccountStore
from runnel.store.cleaning import SqlCleaning
from runnel.store.engine import Database
from runnel.store.ids import now
from runnel.store.importing import SqlImports
from runnel.store.purging import SqlPurging
from runnel.store.tables import (
    AttachmentRow,
    GenerationRow,
    MessageRow,
    SearchDocumentRow,
    SessionRow,
)

LINES: Final = (Path(__file__).parents[1] / "cli" / "export.jsonl").read_bytes()
TABLES: Final = (SessionRow, MessageRow, GenerationRow, AttachmentRow, SearchDocumentRow)
Json = dict[str, Any]
Change = Callable[[list[Json]], None]


class House:
    """A database with a user, and what the user's imports said."""

    def __init__(self, database: Database, user: User) -> None:
        self.database = database
        self.user = user
        self.files = Files({})
        self.refused: list[str] = []

    async def take(self, records: list[Json], user: User | None = None) -> Imported:
        who = user or self.user
        export = b"".join(json.dumps(each).encode() + b"\n" for each in records)
        importing = Importing(
            SqlImports(self.database), self.files, who.id, who.username, self.refused.append
        )
        return await importing.run(read_export(io.BytesIO(export)))

    async def counts(self) -> list[int]:
        async with self.database.read() as connection:
            return [
                await connection.scalar(select(func.count()).select_from(table)) or 0
                for table in TABLES
            ]


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    database = Database(database_url, pool_size=2, timeout_seconds=5)
    user = await SqlAccountStore(database).add_user("ada", "", "user", now())
    assert user
    yield House(database, user)
    await database.close()


def records() -> list[Json]:
    return [json.loads(line) for line in LINES.splitlines()]


def another(number: int) -> list[Json]:
    """The same session under other ids, without the file's ends."""
    renamed = LINES.replace(b"01a21f32-0000", b"01a21f32-%04d" % number)
    changed = [json.loads(line) for line in renamed.splitlines()][1:-1]
    changed[0]["name"] = f"talk{number}"
    return changed


async def test_titles_and_messages_are_found(house: House) -> None:
    await house.take(records())
    async with house.database.read() as connection:
        for words in ("coracao", "title", "what is in"):
            query = search.sessions_with(connection, house.user.id, parse_query(words))
            assert (await connection.scalars(query)).all() == [records()[1]["session_id"]], words


async def test_an_answer_that_was_being_made_is_interrupted_as_by_a_crash(house: House) -> None:
    given = records()
    made = given[5]["generation"]
    made |= {"status": "running", "finish_reason": None, "position": "2-7", "latency_ms": None}
    made["usage"] |= {"completion_tokens": None, "source": None, "cost": None}
    await house.take(given)
    async with house.database.read() as connection:
        found = await shown.get(connection, made["generation_id"], house.user.id)
    assert found
    assert found.status is Status.INTERRUPTED
    assert found.text == given[5]["content"]
    assert found.end == Position(3, 1)
    assert found.terminal().type == "failed"
    assert found.usage
    assert (found.usage.prompt_tokens, found.usage.source) == (12, "estimated")


def _set(index: int, **fields: Any) -> Change:
    return lambda given: given[index].update(fields)


def _generation(index: int, **fields: Any) -> Change:
    return lambda given: given[index]["generation"].update(fields)


def _usage(index: int, **fields: Any) -> Change:
    return lambda given: given[index]["generation"]["usage"].update(fields)


def _cut(given: list[Json]) -> None:
    del given[-1]


def _swapped(first: int, second: int) -> Change:
    def swap(given: list[Json]) -> None:
        given[first], given[second] = given[second], given[first]

    return swap


NOBODY: Final = "01a21f32-0000-7000-8000-000000000099"
QUESTION: Final = "01a21f32-0000-7000-8000-000000000010"
LAST: Final = "01a21f32-0000-7000-8000-000000000013"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set(3, parent_id=LAST), "is no message of its session before it"),
        (_set(3, parent_id=QUESTION), "is no message of its session before it"),
        (_set(6, parent_id=NOBODY), "is no message of its session before it"),
        (_generation(5, user_message_id=NOBODY), "is no message of its session before it"),
        (_set(6, session_id=NOBODY), "line 7: session_id: is not that of the session"),
        (_set(3, attachments=[NOBODY]), "it is none of the session's"),
        (_set(3, attachments=[QUESTION, QUESTION]), "line 4: attachments: one is named twice"),
        (_set(1, active_message_id=NOBODY), "active_message_id: is none of its messages"),
        (_set(1, active_message_id=None), "active_message_id: is none of its messages"),
        (_set(1, name="me"), "line 2: name: "),
        (_set(1, name="ADA"), "line 2: name: "),
        (_set(1, name=NOBODY), "line 2: name: "),
        (_set(2, data="!"), "line 3: data: is no base64"),
        (_set(2, bytes=3), "line 3: data: has 21 bytes, and not 3"),
        (_swapped(2, 3), "attachments come before messages"),
        (_swapped(1, 2), "line 2: stands before the first session"),
        (_set(4, role="user"), "line 5: generation: is of an assistant's message only"),
        (_generation(5, position=None), "line 6: generation.position: is missing"),
        (_generation(5, finish_reason=None), "line 6: generation.finish_reason: is missing"),
        (_generation(5, status="failed"), "line 6: generation.error: is missing"),
        (
            _generation(5, context={"messages": 1}),
            "line 6: generation.context.left_out: is missing",
        ),
        (_set(2, name="../a\u202etxt.exe"), "line 3: name: no attachment can be called that"),
        (_usage(5, cost=1.7e308), "line 6: generation.usage.cost: "),
        (_set(2, name=""), "line 3: name: no attachment can be called that"),
        (_cut, "the file is cut"),
    ],
)
async def test_of_a_session_with_a_fault_nothing_is_left(
    house: House, change: Change, said: str
) -> None:
    given = records()
    change(given)
    with pytest.raises(RunnelError) as refused:
        await house.take(given)
    assert refused.value.code is Code.INVALID_REQUEST
    assert said in refused.value.message
    assert await house.counts() == [0, 0, 0, 0, 0]
    assert house.files.kept == {}


async def test_sessions_before_a_fault_are_there(house: House) -> None:
    faulty = another(2)
    faulty[-1]["parent_id"] = NOBODY
    given = records()
    with pytest.raises(RunnelError):
        await house.take([given[0], *another(1), *faulty, given[-1]])
    assert (await house.counts())[:4] == [1, 4, 2, 1]
    assert len(house.files.kept) == 1


@pytest.mark.parametrize(
    ("index", "field", "kind"),
    [(3, "message_id", "message"), (2, "attachment_id", "attachment")],
)
async def test_what_exists_elsewhere_refuses_its_session_and_no_other(
    house: House, index: int, field: str, kind: str
) -> None:
    given = records()
    await house.take(given)
    taken, free = another(1), another(2)
    taken[index - 1][field] = given[index][field]
    done = await house.take([given[0], *taken, *free, given[-1]])
    assert (done.sessions, done.messages, done.refused) == (1, 4, 1)
    assert house.refused == [
        f"line 2: session {taken[0]['session_id']}: its {kind} {given[index][field]} exists already"
    ]
    assert (await house.counts())[:4] == [2, 8, 4, 2]


async def test_a_generation_that_exists_refuses_its_session(house: House) -> None:
    given = records()
    await house.take(given)
    taken = another(1)
    known = given[4]["generation"]["generation_id"]
    taken[3]["generation"]["generation_id"] = known
    await house.take([given[0], *taken, given[-1]])
    assert house.refused[0].endswith(f"its generation {known} exists already")
    assert (await house.counts())[:4] == [1, 4, 2, 1]


async def test_ids_that_are_twice_in_the_file_refuse_their_session(house: House) -> None:
    given = records()
    given[6]["message_id"] = given[5]["message_id"]
    done = await house.take(given)
    assert (done.sessions, done.refused) == (0, 1)
    assert house.refused[0].endswith(f"its message {given[5]['message_id']} is there twice")
    assert await house.counts() == [0, 0, 0, 0, 0]
    given = records()
    done = await house.take([*given[:-1], *given[1:]])
    assert (done.sessions, done.refused) == (1, 1)
    assert house.refused[1].endswith("it exists already")


async def test_a_name_that_another_session_has_refuses_it(house: House) -> None:
    given = records()
    await house.take(given)
    taken = another(1)
    taken[0]["name"] = given[1]["name"]
    done = await house.take([given[0], *taken, given[-1]])
    assert done.refused == 1
    assert house.refused[0].endswith("another session has its name, a:talk")
    eve = await SqlAccountStore(house.database).add_user("eve", "", "user", now())
    assert (await house.take([given[0], *taken, given[-1]], eve)).sessions == 1


async def test_what_was_closed_long_ago_is_not_purged_as_soon_as_it_is_there(house: House) -> None:
    given = records()
    session_id, before = given[1]["session_id"], now()
    given[1]["closed_at"] = given[1]["last_activity"]
    await house.take(given)
    cleaning = SqlCleaning(house.database)
    assert await cleaning.mark_closed(before, now(), 10) == []
    [marked] = await cleaning.mark_closed(now() + timedelta(seconds=1), now(), 10)
    assert marked.session_id == session_id


async def test_what_nobody_went_on_with_is_not_closed_as_soon_as_it_is_there(house: House) -> None:
    given = records()
    given[1]["closed_at"] = None
    before = now()
    await house.take(given)
    cleaning = SqlCleaning(house.database)
    assert await cleaning.close(before, now(), 10) == 0
    assert await cleaning.close(now() + timedelta(seconds=1), now(), 10) == 1


async def test_a_session_that_is_purged_while_it_is_imported_is_not_shown(house: House) -> None:
    store, session = SqlImports(house.database), _session()
    assert await store.begin(house.user.id, session)
    [marked] = await SqlPurging(house.database).mark_some(house.user.id, now(), 10)
    with pytest.raises(RunnelError) as refused:
        await store.finish(house.user.id, session, 0)
    assert refused.value.code is Code.CONFLICT
    assert await SqlCleaning(house.database).marked("", 10) == [marked]
    async with house.database.read() as connection:
        assert await connection.scalar(select(SessionRow.hidden))


async def test_nor_is_a_file_left_that_is_written_behind_the_purge(house: House) -> None:
    keep = house.files.keep

    async def purged(attachment: Any, content: bytes) -> None:
        await SqlPurging(house.database).mark_some(house.user.id, now(), 10)
        await keep(attachment, content)

    house.files.keep = purged
    done = await house.take(records())
    assert (done.sessions, done.refused) == (0, 1)
    assert house.files.kept == {}


def _session() -> SessionRecord:
    given = records()
    given[1] |= {"active_message_id": None, "name": None}
    [only] = read_export(io.BytesIO(b"\n".join(json.dumps(given[n]).encode() for n in (0, 1, -1))))
    assert isinstance(only.record, SessionRecord)
    return only.record


async def test_a_long_session_comes_in_many_transactions_in_one_tree(house: House) -> None:
    given = records()
    session: Json = given[1]
    first: Json = given[6] | {"attachments": [], "generation": None}
    messages: list[Json] = []
    for number in range(1001):
        # Two beginnings, and each message has two below it now and then, in other transactions.
        parent = None if number in {0, 500} else messages[number - (3 if number % 7 == 0 else 1)]
        messages.append(
            first
            | {
                "message_id": f"01a21f32-0001-7000-8000-{number:012d}",
                "parent_id": parent and parent["message_id"],
            }
        )
    session["active_message_id"] = messages[-1]["message_id"]
    done = await house.take([given[0], session, *messages, given[-1]])
    assert done.messages == 1001
    async with house.database.read() as connection:
        wrong = await connection.scalar(
            text(
                "SELECT count(*) FROM messages JOIN messages AS parent"
                " ON parent.id = messages.parent_id WHERE messages.depth <> parent.depth + 1"
                " OR (messages.stem_id <> parent.stem_id AND messages.stem_id <> messages.id)"
            )
        )
        stems = await connection.scalar(select(func.count(MessageRow.stem_id.distinct())))
        heads = await connection.scalar(
            select(func.count()).where(MessageRow.stem_id == MessageRow.id)
        )
        # Of those below one message, one goes on with its stem.
        forks = await connection.scalar(
            text(
                "SELECT sum(children - 1) FROM (SELECT count(*) AS children FROM messages"
                " WHERE parent_id IS NOT NULL GROUP BY parent_id) AS counted"
            )
        )
    assert wrong == 0
    assert stems == heads == (forks or 0) + 2
