"""Statements of what every question does, compiled once: to take one the whole way through
SQLAlchemy takes, on SQLite, ten times longer than to run it.
"""

from abc import abstractmethod
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Delete, Dialect, Insert, Select, Update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.compiler import SQLCompiler

Values = Mapping[str, Any]  # Any: of whatever types the columns are
Process = Callable[[Any], Any]


_AnyStatement = Select[*tuple[Any, ...]] | Insert | Update | Delete


class DirectConnection(AsyncConnection):
    """A connection whose driver may be asked at once, past SQLAlchemy. Raises what that would."""

    speaks: Dialect

    @abstractmethod
    async def fetch(self, text: str, values: list[Any]) -> Sequence[Sequence[Any]]:
        """The rows that a statement gives."""

    @abstractmethod
    async def kinds(self, text: str) -> Sequence[object] | None:
        """Of the columns that a statement gives, by the driver's own names; None if it has none."""

    @abstractmethod
    async def run_all(self, text: str, rows: list[list[Any]]) -> None:
        """A statement, once for each row of values."""


class Statement:
    """One statement, whose values have the same names each time; rows show columns by name."""

    def __init__(self, statement: _AnyStatement) -> None:
        self.statement = statement
        self._compiled: dict[str, _Compiled] = {}

    async def first(self, connection: AsyncConnection, values: Values) -> Any:
        """The first row, or None."""
        if not isinstance(connection, DirectConnection):
            return (await connection.execute(self.statement, values)).first()
        rows = await self.rows(connection, values)
        return rows[0] if rows else None

    async def rows(self, connection: AsyncConnection, values: Values) -> Sequence[Any]:
        if not isinstance(connection, DirectConnection):
            return (await connection.execute(self.statement, values)).all()
        compiled = self._known(connection) or await self._compile(connection, values)
        return compiled.shown(await connection.fetch(compiled.text, compiled.bound(values)))

    async def run(self, connection: AsyncConnection, *values: Values) -> None:
        """Once for each of the values."""
        if not isinstance(connection, DirectConnection):
            await connection.execute(self.statement, [*values])
            return
        compiled = self._known(connection) or await self._compile(connection, values[0])
        await connection.run_all(compiled.text, [compiled.bound(each) for each in values])

    def _known(self, connection: DirectConnection) -> "_Compiled | None":
        return self._compiled.get(connection.speaks.name)

    async def _compile(self, connection: DirectConnection, values: Values) -> "_Compiled":
        dialect = connection.speaks
        statement = self.statement
        keys = [*values] if isinstance(statement, Insert | Update) else None
        if isinstance(statement, Insert):
            statement = statement.inline()  # nobody asks for what Postgres makes of itself
        compiled = statement.compile(dialect=dialect, column_keys=keys)
        assert isinstance(compiled, SQLCompiler)
        columns: list[ColumnElement[Any]] = [*statement.exported_columns]
        kinds = await connection.kinds(compiled.string) or [None] * len(columns)
        made = self._compiled[dialect.name] = _compiled(compiled, columns, kinds, values)
        return made


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

    def shown(self, found: Sequence[Sequence[Any]]) -> list[Any]:
        rows: list[Any] = []
        for each in found:
            columns = [*each]
            for place, process in self.made:
                columns[place] = process(columns[place])
            rows.append(self.row(*columns))
        return rows


def _compiled(
    compiled: SQLCompiler,
    columns: Sequence[ColumnElement[Any]],
    kinds: Sequence[object],
    values: Values,
) -> _Compiled:
    dialect = compiled.dialect
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
    names: list[str] = [str(column.key) for column in columns]
    gives = [
        column.type.dialect_impl(dialect).result_processor(dialect, kind)
        for column, kind in zip(columns, kinds, strict=True)
    ]
    return _Compiled(
        compiled.string,
        [(name, takes[name]) for name in compiled.positiontup],
        fixed,
        namedtuple("Row", names),  # noqa: PYI024 # pyright: ignore[reportUntypedNamedTuple] - its names come with the statement
        [(place, give) for place, give in enumerate(gives) if give is not None],
    )
