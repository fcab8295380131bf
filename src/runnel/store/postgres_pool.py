"""Postgres' connections, kept open, and the transactions on them: begun and ended by the driver, and
statements that are compiled go to it at once. Through SQLAlchemy's own pool each transaction took
three more questions to Postgres, to see whether it is there, and more time than what it was for.

Loaded only where there is one, as its driver is.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from typing_extensions import override

from runnel.store import postgres
from runnel.store.faults import translate
from runnel.store.line import Line
from runnel.store.statements import DirectConnection, Values

#: Whatever stands between may forget a connection that says nothing for minutes, and tell nobody.
#: (A look, which has no BEGIN, fails on one whose end has not been read yet.)
_FRESH_SECONDS: Final = 30.0
#: All that one row shows is of one moment: the row itself, its checkpoints, its message.
_READING: Final = {"isolation": "repeatable_read", "readonly": True}
_WRITING: Final = {"isolation": "read_committed"}


class PostgresPool:
    """As many connections as `line` has places, opened when they are needed.

    One that Postgres has closed meanwhile is not given to anybody.
    """

    def __init__(self, engine: AsyncEngine, line: Line) -> None:
        # What begins and ends transactions is here: SQLAlchemy is to know of none.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._line = line
        self._kept: list[PostgresConnection] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """All that is read is of one moment."""
        return _Transaction(self, _READING)

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Commits at its end."""
        return _Transaction(self, _WRITING)

    def looking(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """For one statement, which is a transaction of its own."""
        return _Transaction(self, None)

    async def begin(self, how: Values | None) -> "PostgresConnection":
        """Has to be followed by `end` or `undo`. Raises DBAPIError, OSError."""
        await self._line.__aenter__()
        while True:
            kept = self._kept.pop() if self._kept else None
            try:
                connection = kept or await self._opened()
            except BaseException as error:
                self._line.leave(error)
                raise
            try:
                await connection.begin_as(how)
            except BaseException as error:
                if kept is None or not postgres.is_gone(error):
                    self._leave_once_closed(connection, error)
                    raise
                # Nothing was done yet, and another, or a new one, may be well.
                self._drop(connection)
            else:
                return connection

    async def end(self, connection: "PostgresConnection") -> None:
        """Commits."""
        try:
            await connection.end()
        except BaseException as error:
            await self.undo(connection, error)
            raise
        self._give_back(connection)
        self._line.leave(None)

    async def undo(self, connection: "PostgresConnection", error: BaseException) -> None:
        """Gives up what was begun."""
        if postgres.is_outdated(error):  # what the others have prepared is, too
            self._drop_kept()
        well = False
        try:
            # Who was cancelled, or has waited too long, does not wait for the driver once more.
            waits = isinstance(error, Exception) and not isinstance(error, OSError)
            well = waits and await connection.undo()
        finally:
            if well:
                self._give_back(connection)
                self._line.leave(error)
            else:
                self._leave_once_closed(connection, error)

    async def close(self) -> None:
        self._closed = True
        self._drop_kept()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _opened(self) -> "PostgresConnection":
        connection = PostgresConnection(self._engine)
        await connection.start()
        raw: Any = await connection.get_raw_connection()
        connection.direct = raw.driver_connection
        connection.speaks = connection.dialect
        connection.used_at = time.monotonic()
        return connection

    def _give_back(self, connection: "PostgresConnection") -> None:
        if self._closed or connection.direct.is_closed():
            self._drop(connection)
        else:
            connection.used_at = time.monotonic()
            self._kept.append(connection)

    def _leave_once_closed(self, connection: "PostgresConnection", error: BaseException) -> None:
        """Only then may the next in line open one."""
        self._drop(connection).add_done_callback(lambda _: self._line.leave(error))

    def _drop_kept(self) -> None:
        for connection in self._kept:
            self._drop(connection)
        self._kept.clear()

    def _drop(self, connection: "PostgresConnection") -> asyncio.Task[None]:
        task = asyncio.create_task(connection.drop())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task


class PostgresConnection(DirectConnection):
    """One to Postgres. `direct` is the driver's; `used_at`, of the process's clock."""

    direct: Any  # the driver says nothing of its types
    used_at: float
    _transaction: Any = None

    async def begin_as(self, how: Values | None) -> None:
        """Raises DBAPIError, OSError."""
        if how is not None:
            await self._ask(self._start(how), "BEGIN")
        elif self.direct.is_closed() or time.monotonic() - self.used_at > _FRESH_SECONDS:
            await self._ask(self.direct.execute("SELECT 1"), "SELECT 1")

    async def end(self) -> None:
        """Raises DBAPIError, OSError."""
        if self.in_transaction():  # so SQLAlchemy says of whatever went through it
            await self.commit()
        if (transaction := self._transaction) is not None:
            await self._ask(self._commit(transaction), "COMMIT")
            self._transaction = None

    async def undo(self) -> bool:
        """Whether it can be used again."""
        if self.invalidated or self.direct.is_closed():
            return False
        try:
            if self.in_transaction():
                await self.rollback()
            if (transaction := self._transaction) is not None:
                await transaction.rollback()
                self._transaction = None
        except Exception:  # noqa: BLE001 - what went wrong before is what counts
            return False
        return True

    async def drop(self) -> None:
        """Whatever it is doing."""
        with suppress(SQLAlchemyError, *postgres.ERRORS):  # it may be gone already
            await self.invalidate()
        await self.close()

    @override
    async def fetch(self, text: str, values: list[Any]) -> Sequence[Sequence[Any]]:
        kept = postgres.without_nul(values)
        return await self._ask(self.direct.fetch(text, *kept), text)

    @override
    async def kinds(self, text: str) -> Sequence[object]:
        prepared = await self._ask(self.direct.prepare(text), text)
        return [column.type.oid for column in prepared.get_attributes()]

    @override
    async def run_all(self, text: str, rows: list[list[Any]]) -> None:
        if len(rows) == 1:
            await self.fetch(text, rows[0])
        else:
            kept = [postgres.without_nul(row) for row in rows]
            await self._ask(self.direct.executemany(text, kept), text)

    async def _start(self, how: Values) -> None:
        self._transaction = self.direct.transaction(**how)
        await self._transaction.start()

    async def _commit(self, transaction: Any) -> None:
        # Here, for where the connection is gone it raises before it is awaited.
        await transaction.commit()

    async def _ask(self, question: Any, text: str) -> Any:
        try:
            return await question
        except postgres.DRIVER_ERRORS as error:
            raise postgres.wrapped(
                error, text, self.speaks, gone=self.direct.is_closed()
            ) from error


class _Transaction(AbstractAsyncContextManager[AsyncConnection]):
    """Its faults are translated."""

    def __init__(self, pool: PostgresPool, how: Values | None) -> None:
        self._pool = pool
        self._how = how

    @override
    async def __aenter__(self) -> AsyncConnection:
        try:
            self._connection = await self._pool.begin(self._how)
        except Exception as error:
            translate(error)
            raise
        return self._connection

    @override
    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            await self._pool.undo(self._connection, error)
            translate(error)
            return
        try:
            await self._pool.end(self._connection)
        except Exception as fault:
            translate(fault)
            raise
