"""Counts what a database is asked, whichever way that goes: through SQLAlchemy, or briefly."""

import sqlite3
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from sqlalchemy import event

from runnel.store.engine import Database

#: Told of each statement: its text, its values, and of how many rows it was.
Told = Callable[[str, Sequence[object], int], None]


class _Cursor:
    def __init__(self, cursor: sqlite3.Cursor, told: Told) -> None:
        self._cursor = cursor
        self._told = told

    def execute(self, text: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        self._cursor.execute(text, values)
        if not text.startswith(("BEGIN", "COMMIT")):
            self._told(text, values, self._cursor.rowcount)
        return self._cursor

    def executemany(self, text: str, rows: Iterable[Sequence[Any]]) -> None:
        every = [*rows]
        self._cursor.executemany(text, every)
        self._told(text, [value for row in every for value in row], self._cursor.rowcount)


class _Connection:
    """SQLite's own, in which statements run at once."""

    def __init__(self, connection: sqlite3.Connection, told: Told) -> None:
        self._connection = connection
        self._told = told

    def cursor(self, kind: type[sqlite3.Cursor]) -> _Cursor:
        return _Cursor(self._connection.cursor(kind), self._told)

    def rollback(self) -> None:
        self._connection.rollback()


@contextmanager
def told_of_statements(database: Database, told: Told) -> Generator[None]:
    """Inside, of all statements but those that begin and end transactions."""

    def after(
        _connection: object,
        cursor: Any,
        text: str,
        values: Any,
        _context: object,
        many: bool,  # noqa: FBT001 - SQLAlchemy's signature
    ) -> None:
        if text.startswith("BEGIN"):
            return
        flat = [value for row in values for value in row] if many else values
        told(text, flat, cursor.rowcount)

    engines = [database.engine.sync_engine]
    brief = database._brief
    connection: Any = None
    if brief is not None and brief._connection is not None:
        engines.append(brief._engine.sync_engine)
        connection = brief._connection
        connection.direct = _Connection(connection.direct, told)
    straight = nullcontext() if database.is_sqlite else _told_of_postgres(told)
    for engine in engines:
        event.listen(engine, "after_cursor_execute", after)
    try:
        with straight:
            yield
    finally:
        for engine in engines:
            event.remove(engine, "after_cursor_execute", after)
        if connection is not None:
            connection.direct = connection.direct._connection


@contextmanager
def _told_of_postgres(told: Told) -> Generator[None]:
    """Of the statements that go to its driver at once."""
    from runnel.store.postgres_pool import PostgresConnection  # noqa: PLC0415 - only Postgres needs it

    fetch, run_all = PostgresConnection.fetch, PostgresConnection.run_all

    async def fetched(
        self: PostgresConnection, text: str, values: list[Any]
    ) -> Sequence[Sequence[Any]]:
        found = await fetch(self, text, values)
        told(text, values, len(found))
        return found

    async def ran(self: PostgresConnection, text: str, rows: list[list[Any]]) -> None:
        await run_all(self, text, rows)
        if len(rows) > 1:  # else by the other
            told(text, [value for row in rows for value in row], len(rows))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgresConnection, "fetch", fetched)
        patch.setattr(PostgresConnection, "run_all", ran)
        yield
