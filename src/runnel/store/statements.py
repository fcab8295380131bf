"""Statements of what every question does, compiled once: on SQLite, to take one the whole way
through SQLAlchemy takes ten times longer than to run it.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Delete, Dialect, Insert, Select, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.compiler import SQLCompiler

Values = Mapping[str, Any]  # Any: of whatever types the columns are
Process = Callable[[Any], Any]


_AnyStatement = Select[*tuple[Any, ...]] | Insert | Update | Delete


class DirectConnection(AsyncConnection):
    """A connection to SQLite on whose own one, `direct`, statements may be run at once."""

    direct: sqlite3.Connection
    speaks: Dialect


class Statement:
    """One statement, whose values have the same names each time; rows show columns by name."""

    def __init__(self, statement: _AnyStatement) -> None:
        self.statement = statement
        self._compiled: _Compiled | None = None

    async def first(self, connection: AsyncConnection, values: Values) -> Any:
        """The first row, or None."""
        if not isinstance(connection, DirectConnection):
            return (await connection.execute(self.statement, values)).first()
        rows = self._run(connection, values)
        return rows[0] if rows else None

    async def rows(self, connection: AsyncConnection, values: Values) -> Sequence[Any]:
        if not isinstance(connection, DirectConnection):
            return (await connection.execute(self.statement, values)).all()
        return self._run(connection, values)

    async def run(self, connection: AsyncConnection, *values: Values) -> None:
        """Once for each of the values."""
        if not isinstance(connection, DirectConnection):
            await connection.execute(self.statement, [*values])
            return
        compiled = self._compiled_for(connection.speaks, values[0])
        cursor = connection.direct.cursor(sqlite3.Cursor)
        try:
            cursor.executemany(compiled.text, map(compiled.bound, values))
        except sqlite3.Error as error:
            raise wrapped(error, compiled.text, connection.speaks) from error

    def _run(self, connection: DirectConnection, values: Values) -> list[Any]:
        compiled = self._compiled_for(connection.speaks, values)
        cursor = connection.direct.cursor(sqlite3.Cursor)
        try:
            found = cursor.execute(compiled.text, compiled.bound(values)).fetchall()
        except sqlite3.Error as error:
            raise wrapped(error, compiled.text, connection.speaks) from error
        return compiled.shown(found)

    def _compiled_for(self, dialect: Dialect, values: Values) -> "_Compiled":
        if self._compiled is None:
            self._compiled = _compiled(self.statement, dialect, values)
        return self._compiled


@dataclass(frozen=True, slots=True)
class _Compiled:
    """For one dialect. `binds` are the names of the values in their order, with what makes of each
    what the driver takes; `made` what the columns are made of.
    """

    text: str
    binds: Sequence[tuple[str, Process | None]]
    fixed: Mapping[str, Any]
    row: Callable[..., Any]
    made: Sequence[tuple[int, Process]]

    def bound(self, values: Values) -> list[Any]:
        fixed = self.fixed
        return [
            fixed[name]
            if name in fixed
            else (values[name] if process is None else process(values[name]))
            for name, process in self.binds
        ]

    def shown(self, found: Sequence[tuple[Any, ...]]) -> list[Any]:
        rows: list[Any] = []
        for each in found:
            columns = [*each]
            for place, process in self.made:
                columns[place] = process(columns[place])
            rows.append(self.row(*columns))
        return rows


def _compiled(statement: _AnyStatement, dialect: Dialect, values: Values) -> _Compiled:
    keys = [*values] if isinstance(statement, Insert | Update) else None
    compiled = statement.compile(dialect=dialect, column_keys=keys)
    assert isinstance(compiled, SQLCompiler)
    assert compiled.positiontup is not None
    # Neither defaults that are made in Python nor lists of values are among them.
    assert not [*compiled.insert_prefetch, *compiled.update_prefetch]
    assert not compiled.post_compile_params
    types = {name: bind.type.dialect_impl(dialect) for name, bind in compiled.binds.items()}
    takes = {name: types[name].bind_processor(dialect) for name in compiled.positiontup}
    fixed = {
        name: take(value) if take else value
        for name, take in takes.items()
        if name not in values
        for value in (compiled.params[name],)
    }
    columns: list[ColumnElement[Any]] = [*statement.exported_columns]
    names: list[str] = [str(column.key) for column in columns]
    gives = [
        column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
    ]
    return _Compiled(
        compiled.string,
        [(name, takes[name]) for name in compiled.positiontup],
        fixed,
        namedtuple("Row", names),  # noqa: PYI024 # pyright: ignore[reportUntypedNamedTuple] - its names come with the statement
        [(place, give) for place, give in enumerate(gives) if give is not None],
    )


def wrapped(error: sqlite3.Error, statement: str, dialect: Dialect) -> BaseException:
    """The error as SQLAlchemy would have raised it, without the values."""
    return DBAPIError.instance(
        statement, None, error, sqlite3.Error, hide_parameters=True, dialect=dialect
    )
