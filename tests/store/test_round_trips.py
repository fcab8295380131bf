"""Export → import → export is equal byte by byte, whatever was said, from one database to another."""

import asyncio
import io
import re
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from databases import BACKENDS, Backend, making_databases
from planting import Files, Garden
from runnel.accounts.entities import User
from runnel.chat.entities import SessionRef
from runnel.chat.sessions.exporting import ExportFormat, Exporting
from runnel.chat.sessions.import_reading import read_export
from runnel.chat.sessions.importing import Imported, Importing
from runnel.store.accounts import SqlAccountStore
from runnel.store.engine import Database
from runnel.store.exporting import SqlExports
from runnel.store.ids import now
from runnel.store.importing import SqlImports
from runnel.store.tables import (
    AttachmentRow,
    Base,
    GenerationRow,
    MessageAttachmentRow,
    MessageRow,
    SessionRow,
)

# What a database keeps: no NUL, and no half of a pair.
TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)
    | st.sampled_from(["\u2028\u2029\x85", "😀" * 50, "\ufffd", "```\n# no heading", "x" * 70_000]),
    min_size=1,
    max_size=8,
)


_MESSAGE: Final = re.compile(rb"^--- .*, message ([0-9a-f-]{36}) ---$", re.MULTILINE)


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[tuple[Database, User]]:
    database = Database(url, pool_size=2, timeout_seconds=5)
    try:
        user = await SqlAccountStore(database).add_user("ada", "", "user", now())
        assert user
        yield database, user
    finally:
        await database.close()


async def exported(database: Database, user: User, files: Files, form: ExportFormat) -> bytes:
    export = await Exporting(SqlExports(database), files).begin(user.id, SessionRef(), form)
    return b"".join([chunk async for chunk in export.chunks])


async def imported(database: Database, user: User, files: Files, export: bytes) -> Imported:
    refused: list[str] = []
    importing = Importing(SqlImports(database), files, user.id, user.username, refused.append)
    done = await importing.run(read_export(io.BytesIO(export)))
    assert refused == []
    return done


async def there_and_back(urls: list[str], seed: int, texts: list[str]) -> None:
    """From the first database through the second into the third; both formats agree on the way."""
    json, lines = ExportFormat.JSON, ExportFormat.JSONL
    async with (
        opened(urls[0]) as (first, ada),
        opened(urls[1]) as (second, eve),
        opened(urls[2]) as (third, bob),
    ):
        files, copies, more = Files({}), Files({}), Files({})
        await Garden(seed, texts).plant(first, ada.id, files, sessions=3, messages=40)
        document = await exported(first, ada, files, json)
        lines_of_first = await exported(first, ada, files, lines)
        await imported(second, eve, copies, document)
        assert copies.kept == files.kept
        assert await exported(second, eve, copies, json) == document
        assert await exported(second, eve, copies, lines) == lines_of_first
        await imported(third, bob, more, lines_of_first)
        assert more.kept == files.kept
        assert await exported(third, bob, more, lines) == lines_of_first
        assert await exported(third, bob, more, json) == document
        for database, user in ((first, ada), (second, eve)):
            told = await exported(database, user, files, ExportFormat.TEXT)
            assert sorted(_MESSAGE.findall(told)) == sorted(ids_of(lines_of_first))


def ids_of(export: bytes) -> list[bytes]:
    """The ids of messages; each is told once to people, wherever it stands in its tree."""
    records = map(orjson.loads, export.split(b"\n")[:-1])
    return [each["message_id"].encode() for each in records if each.get("type") == "message"]


@pytest.mark.parametrize("middle", BACKENDS)
@settings(
    max_examples=5,
    deadline=None,
    # To shrink a fault takes longer than a test may; its seed and texts are printed as they are.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32), texts=TEXTS)
def test_what_was_exported_comes_back_byte_by_byte(
    migrated: Path, middle: Backend, seed: int, texts: list[str]
) -> None:
    with TemporaryDirectory() as folder, ExitStack() as stack:
        ways: tuple[Backend, ...] = ("sqlite", middle, "sqlite")
        urls = [
            stack.enter_context(making_databases(backend, Path(folder), migrated))()
            for backend in ways
        ]
        asyncio.run(there_and_back(urls, seed, texts))


#: Whose it is here and since when, which child goes on with a stem, and what only matters while an answer is made.
LEFT_BEHIND: Final[dict[type[Base], set[str]]] = {
    SessionRow: {"user_id", "imported_at"},
    MessageRow: {"stem_id"},
    GenerationRow: {
        "user_id",
        "owner",
        "fence",
        "lease_until",
        "ask_key",
        "ask_fingerprint",
        "abort_requested_at",
    },
    AttachmentRow: {"user_id"},
    MessageAttachmentRow: set(),
}


async def rows_of(database: Database, table: type[Base]) -> list[tuple[object, ...]]:
    left = LEFT_BEHIND[table]
    columns = [column for column in table.__table__.columns if column.name not in left]
    async with database.read() as connection:
        rows = await connection.execute(select(*columns).order_by(*table.__table__.primary_key))
        return [tuple(row) for row in rows]


async def test_every_column_comes_back_but_those_that_are_named_here(
    migrated: Path, tmp_path: Path
) -> None:
    with making_databases("sqlite", tmp_path, migrated) as make:
        async with opened(make()) as (first, ada), opened(make()) as (second, eve):
            files, copies = Files({}), Files({})
            await Garden(7, ["a", "b"]).plant(first, ada.id, files, sessions=5, messages=60)
            await imported(
                second, eve, copies, await exported(first, ada, files, ExportFormat.JSON)
            )
            for table in LEFT_BEHIND:
                rows = await rows_of(first, table)
                assert rows
                assert await rows_of(second, table) == rows
