"""The migrations make what the tables say, from nothing and from whatever was there; they go back."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, inspect, select, text

from answers import Chat, unpriced
from databases import MakeDatabase
from runnel.chat.entities import Ask, AskKey, SessionRef, Status, Turn
from runnel.chat.ports import Begun
from runnel.chat.sessions.searching import parse_query
from runnel.store import indexing, search
from runnel.store.engine import Database
from runnel.store.ids import new_id
from runnel.store.migrate import migrate
from runnel.store.schema import SCHEMA
from runnel.store.tables import SearchDocumentRow

ROOT: Final = Path(__file__).parents[2]
SCRIPTS: Final = ScriptDirectory(str(ROOT / "alembic"))
HEAD: Final = SCRIPTS.get_current_head()
EARLIER: Final = sorted(
    script.revision for script in SCRIPTS.walk_revisions() if script.revision != HEAD
)
#: Long ago, but not so long that a key would be free by now.
MOMENT: Final = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
_T = TypeVar("_T")


@pytest.fixture
def empty(databases: MakeDatabase) -> str:
    """The address of a database without any table."""
    return databases(empty=True)


async def inside(url: str, work: Callable[[Connection], _T]) -> _T:
    """What it makes of the database, in one transaction."""
    database = Database(url, pool_size=1, timeout_seconds=5)
    try:
        async with database.change() as connection:
            return await connection.run_sync(work)
    finally:
        await database.close()


async def migrated_to_head(url: str) -> None:
    database = Database(url, pool_size=1, timeout_seconds=5)
    await migrate(database)
    await database.close()


def upgrade(connection: Connection, revision: str) -> None:
    command.upgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.attributes["connection"] = connection
    return config


async def test_the_migrated_database_is_what_the_tables_say(database_url: str) -> None:
    def differences(connection: Connection) -> Any:
        options = {"include_name": _is_of_the_tables, "compare_type": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), SCHEMA)

    assert await inside(database_url, differences) == []


def _is_of_the_tables(name: str | None, kind: str, _: object) -> bool:
    """Not what the full-text search keeps beside them, which SQLAlchemy has no words for."""
    if kind == "index":
        return name != "ix_search_documents_words"
    return not (kind == "table" and name is not None and name.startswith("search_index"))


async def test_a_database_that_is_up_to_date_is_left_alone(
    empty: str, caplog: pytest.LogCaptureFixture
) -> None:
    await migrated_to_head(empty)
    await inside(empty, lambda connection: connection.execute(text("CREATE TABLE kept (id TEXT)")))
    caplog.clear()
    with caplog.at_level("INFO", logger="alembic"):
        await migrated_to_head(empty)
    assert "Running upgrade" not in caplog.text
    assert "kept" in await inside(empty, lambda connection: inspect(connection).get_table_names())


def test_the_files_are_named_by_their_revisions_and_the_last_is_the_newest() -> None:
    # By these names a start knows that there is nothing to apply.
    names = {Path(script.path).name for script in SCRIPTS.walk_revisions()}
    assert {name.partition("_")[0] for name in names} == {HEAD, *EARLIER}
    assert max(names).partition("_")[0] == HEAD


async def test_who_migrate_at_once_wait_for_each_other(empty: str) -> None:
    await asyncio.gather(*(migrated_to_head(empty) for _ in range(4)))
    assert await inside(empty, _revision) == HEAD


def test_alembic_by_hand_makes_the_same_and_finds_nothing_to_do(empty: str) -> None:
    for command_line in (("upgrade", "head"), ("check",)):
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *command_line],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": empty},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "No new upgrade operations detected" in done.stdout


async def test_all_of_it_can_be_undone(empty: str) -> None:
    def do_and_undo(connection: Connection) -> list[str]:
        upgrade(connection, "head")
        command.downgrade(_config(connection), "base")
        return inspect(connection).get_table_names()

    assert await inside(empty, do_and_undo) == ["alembic_version"]


async def test_who_goes_back_finds_what_was_not_indexed_yet(empty: str) -> None:
    await migrated_to_head(empty)
    async with Chat(empty) as chat:
        titled = (await chat.begin(chat.question("the question"))).generation
        await chat.indexing.catch_up()
        hidden = replace(chat.question("the hidden one"), stateless=True)
        await chat.begin(hidden)
        again = (await chat.begin(chat.question("another question"))).generation
        async with chat.database.write() as connection:
            await connection.execute(text("UPDATE sessions SET title = 'the title'"))
            for generation in (titled, again):
                title: dict[str | None, str] = {None: "the title"}
                await indexing.mark(connection, chat.user_id, generation.session_id, title)

    def go_back(connection: Connection) -> list[tuple[str, bool]]:
        command.downgrade(_config(connection), "0006")
        rows = connection.execute(select(SearchDocumentRow.message_id, SearchDocumentRow.words))
        return sorted((row.message_id or "", "title" in row.words) for row in rows)

    found = await inside(empty, go_back)
    assert found == sorted(
        [("", True), ("", True), (titled.user_message_id, False), (again.user_message_id, False)]
    )


@pytest.mark.parametrize("revision", EARLIER)
async def test_what_an_earlier_version_kept_is_all_there_and_is_gone_on_with(
    empty: str, revision: str
) -> None:
    old = Filled()

    def fill(connection: Connection) -> dict[str, list[dict[str, Any]]]:
        upgrade(connection, revision)
        old.fill(connection)
        return rows_of(connection)

    before = await inside(empty, fill)
    await migrated_to_head(empty)
    after = await inside(empty, rows_of)
    assert {name: len(rows) for name, rows in before.items()} == {
        name: len(after[name]) for name in before
    }
    for name, rows in before.items():
        kept = [{column: row[column] for column in rows[0]} for row in after[name]]
        assert kept == rows
    assert [(row["stem_id"], row["depth"]) for row in after["messages"]] == [
        place
        for chain in old.chains
        for place in ((chain[0], depth) for depth in range(len(chain)))
    ]
    async with Chat(empty) as chat:
        chat.user_id = old.user_id
        await _can_be_gone_on_with(chat, old, revision)


async def _can_be_gone_on_with(chat: Chat, old: "Filled", revision: str) -> None:
    [crashed] = await chat.store.interrupt_left_running(unpriced)
    assert (crashed.id, crashed.status, crashed.text) == (
        old.live_id,
        Status.INTERRUPTED,
        "so far",
    )
    session = SessionRef(id=old.session_ids[0])
    ask = Ask(user_id=old.user_id, text="and now?", session=session)
    begun = await chat.store.begin_ask(ask, chat.choose, "me")
    assert isinstance(begun, Begun)
    assert begun.turns == [
        *(turn for number in range(3) for turn in _exchange(number)),
        Turn("user", "and now?"),
    ]
    if revision < "0004":  # from then on whoever writes a message makes it found
        assert await _found(chat, "ANSWER 1") == [old.chains[0][3]]
    assert await _found(chat, '"so far"') == [old.chains[1][1]]
    if revision >= "0002":
        asked = replace(ask, key=AskKey("key of old", "f" * 64))
        assert asked.key is not None
        joined = await chat.store.asked_before(old.user_id, asked.key)
        assert joined is not None
        assert joined.text == "answer 2"


async def _found(chat: Chat, query: str) -> list[str | None]:
    """The ids of the messages in which it stands."""
    asked = parse_query(query)
    await chat.indexing.catch_up()
    async with chat.database.read() as connection:
        found = await connection.scalars(search.sessions_with(connection, chat.user_id, asked))
        texts = await search.matches(connection, chat.user_id, [*found], asked)
    return [text.message_id for text in texts]


def _exchange(number: int) -> tuple[Turn, Turn]:
    return Turn("user", f"question {number}"), Turn("assistant", f"answer {number}")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def rows_of(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Every row of the tables that an earlier version had, by their keys."""
    tables = _reflected(connection)
    return {
        name: [
            dict(row._mapping)
            for row in connection.execute(select(table).order_by(*table.primary_key))
        ]
        for name, table in tables.items()
        if name in Filled.TABLES
    }


def _reflected(connection: Connection) -> dict[str, Table]:
    metadata = MetaData()
    metadata.reflect(connection, only=lambda name, _: not name.startswith("search_"))
    return dict(metadata.tables)


class Filled:
    """A user with two sessions: three questions with answers, and one that is being answered."""

    TABLES = frozenset(
        {
            "users",
            "logins",
            "refresh_tokens",
            "api_keys",
            "sessions",
            "messages",
            "generations",
            "checkpoints",
        }
    )

    def __init__(self) -> None:
        self.user_id, self.login_id = new_id(), new_id()
        self.session_ids = (new_id(), new_id())
        self.chains = [[new_id() for _ in range(6)], [new_id() for _ in range(2)]]
        self.live_id = new_id()

    def fill(self, connection: Connection) -> None:
        self._connection = connection
        self._tables = _reflected(connection)
        self._accounts()
        for session_id, name, chain in zip(
            self.session_ids, ("talk", None), self.chains, strict=True
        ):
            self._add(
                "sessions",
                id=session_id,
                user_id=self.user_id,
                name=name,
                leaf_id=chain[-1],
                started_at=MOMENT,
                last_activity=MOMENT,
                hidden=False,
            )
        self._talk()
        self._live()

    def _accounts(self) -> None:
        self._add(
            "users",
            id=self.user_id,
            name="Old",
            name_key="old",
            password_hash="hash",
            role="admin",
            created_at=MOMENT,
        )
        self._add(
            "logins",
            id=self.login_id,
            user_id=self.user_id,
            created_at=MOMENT,
            expires_at=MOMENT + timedelta(days=30),
        )
        self._add("refresh_tokens", id=new_id(), login_id=self.login_id, used_at=MOMENT)
        self._add(
            "api_keys",
            id=new_id(),
            user_id=self.user_id,
            name="key",
            prefix="rnl_abc",
            hash="a" * 64,
            created_at=MOMENT,
        )

    def _talk(self) -> None:
        turns = [turn for number in range(3) for turn in _exchange(number)]
        self._messages(self.session_ids[0], self.chains[0], turns)
        for number in range(3):
            question, answer = self.chains[0][2 * number : 2 * number + 2]
            self._generation(
                new_id(),
                self.session_ids[0],
                question,
                answer,
                status="completed",
                epoch=1,
                last_offset=2,
                finish_reason="stop",
                completion_tokens=5,
                usage_source="provider",
                cost=0.5,
                latency_ms=10,
                ask_key="key of old" if number == 2 else None,
                ask_fingerprint="f" * 64 if number == 2 else None,
            )

    def _live(self) -> None:
        chain = self.chains[1]
        self._messages(self.session_ids[1], chain, [Turn("user", "?"), Turn("assistant", "")])
        self._generation(
            self.live_id, self.session_ids[1], *chain, status="running", epoch=1, fence=1
        )
        for offset, piece in ((3, "so"), (5, " far")):
            self._add(
                "checkpoints",
                generation_id=self.live_id,
                epoch=1,
                last_offset=offset,
                text=piece,
            )

    def _messages(self, session_id: str, chain: list[str], turns: list[Turn]) -> None:
        parents = [None, *chain[:-1]]
        links = zip(chain, parents, turns, strict=True)
        for depth, (message_id, parent_id, turn) in enumerate(links):
            self._add(
                "messages",
                id=message_id,
                session_id=session_id,
                parent_id=parent_id,
                role=turn.role,
                content=turn.text,
                created_at=MOMENT,
                stem_id=chain[0],
                depth=depth,
            )

    def _generation(
        self, generation_id: str, session_id: str, question: str, answer: str, **more: Any
    ) -> None:
        values: dict[str, Any] = {
            "id": generation_id,
            "user_id": self.user_id,
            "session_id": session_id,
            "message_id": answer,
            "user_message_id": question,
            "model": "chat/told",
            "provider": "told",
            "provider_model": "told-1",
            "params": {"temperature": 0.5},
            "owner": new_id(),
            "fence": 1,
            "prompt_tokens": 3,
            "created_at": MOMENT,
        }
        self._add("generations", **values | more)

    def _add(self, which: str, /, **values: Any) -> None:
        """A row, with those of the values that the table has columns for."""
        table = self._tables[which]
        known = {column: value for column, value in values.items() if column in table.columns}
        self._connection.execute(table.insert().values(**known))


async def test_who_open_a_new_file_at_once_all_get_it(tmp_path: Path) -> None:
    for number in range(40):
        url = f"sqlite+aiosqlite:///{tmp_path / f'{number}.db'}"
        databases = [Database(url, pool_size=1, timeout_seconds=5) for _ in range(8)]
        try:
            await asyncio.gather(*(database.check() for database in databases))
        finally:
            for database in databases:
                await database.close()
