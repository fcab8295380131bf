"""SQLite on the loop itself, for transactions of a few rows: to hand one to a thread and back takes
many times longer than to run it. It must never wait: not for a lock, and not for the disk.
"""

import asyncio
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import URL, Dialect, StaticPool, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import await_only
from typing_extensions import override

from runnel.store.statements import DirectConnection
from runnel.store.tables import to_json

#: Texts of more characters are written by a thread: it takes a millisecond or two.
MOST_CHARACTERS: Final = 128 * 1024
#: Between two tries for the lock that another process holds.
_PAUSE_SECONDS: Final = 0.005


class SqliteConnection(DirectConnection):
    """One whose own connection, `direct`, runs statements on the loop."""

    direct: sqlite3.Connection

    @override
    async def fetch(self, text: str, values: list[Any]) -> Sequence[Sequence[Any]]:
        try:
            return self.direct.cursor(sqlite3.Cursor).execute(text, values).fetchall()
        except sqlite3.Error as error:
            raise _wrapped(error, text, self.speaks) from error

    @override
    async def kinds(self, text: str) -> None:
        return None  # in SQLite each value has its own

    @override
    async def run_all(self, text: str, rows: list[list[Any]]) -> None:
        try:
            self.direct.cursor(sqlite3.Cursor).executemany(text, rows)
        except sqlite3.Error as error:
            raise _wrapped(error, text, self.speaks) from error


class Brief:
    """One connection, whose transactions follow each other.

    Its commits write to the log file and wait for no disk; who owns it has to see that what
    gathers there is checkpointed.
    """

    def __init__(self, url: URL, *, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._engine = create_async_engine(
            url.set(drivername="sqlite+runnel"),
            poolclass=StaticPool,
            connect_args={"timeout": 0, "factory": _Connection},
            json_serializer=to_json,
        )
        event.listen(self._engine.sync_engine, "connect", _configure)
        self._connection: SqliteConnection | None = None
        self._lock = asyncio.Lock()
        self.writing: Final = Transaction(self, "BEGIN IMMEDIATE")
        self.reading: Final = Transaction(self, "BEGIN")
        #: For one statement, which is a transaction of its own.
        self.looking: Final = Transaction(self, None)

    async def begin(self, how: str | None) -> SqliteConnection:
        """Has to be followed by `end` or `undo`."""
        await self._lock.acquire()
        try:
            connection = await self._opened()
            if how is not None:
                await self._begin(connection, how)
        except BaseException as error:
            await self.undo(error)
            raise
        return connection

    async def end(self, connection: SqliteConnection, how: str | None) -> None:
        """Commits."""
        try:
            # SQLAlchemy knows of the transaction once a statement went through it.
            if connection.in_transaction():
                await connection.commit()
            elif how is not None:
                _run(connection, "COMMIT")
        except BaseException as error:
            await self.undo(error)
            raise
        self._lock.release()

    async def undo(self, error: BaseException) -> None:
        """Gives up what was begun."""
        try:
            await self._undo(error)
        finally:
            self._lock.release()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
        await self._engine.dispose()

    async def _opened(self) -> SqliteConnection:
        if self._connection is None:
            connection = SqliteConnection(self._engine)
            await connection.start()
            raw: Any = await connection.get_raw_connection()
            connection.direct = raw.driver_connection
            connection.speaks = connection.dialect
            self._connection = connection
        return self._connection

    async def _begin(self, connection: SqliteConnection, how: str) -> None:
        until = time.monotonic() + self._timeout_seconds
        while True:
            try:
                return _run(connection, how)
            except OperationalError as error:
                if not _is_busy(error) or time.monotonic() > until:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _undo(self, error: BaseException) -> None:
        connection = self._connection
        if connection is None:
            return
        if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError):
            # Whatever is wrong with the file, the next one looks at it anew.
            await self.close()
        elif connection.in_transaction():
            await connection.rollback()
        else:
            connection.direct.rollback()


class Transaction:
    """Commits at its end what it wrote. Raises DBAPIError."""

    def __init__(self, brief: Brief, how: str | None) -> None:
        self._brief = brief
        self._how = how
        self._connection: SqliteConnection | None = None

    async def __aenter__(self) -> SqliteConnection:
        self._connection = await self._brief.begin(self._how)
        return self._connection

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            await self._brief.undo(error)
        elif self._connection is not None:
            await self._brief.end(self._connection, self._how)


def _run(connection: SqliteConnection, statement: str) -> None:
    """What SQLAlchemy has no part in. Raises what it would."""
    try:
        connection.direct.cursor(sqlite3.Cursor).execute(statement)
    except sqlite3.Error as error:
        raise _wrapped(error, statement, connection.speaks) from error


def _wrapped(error: sqlite3.Error, statement: str, dialect: Dialect) -> BaseException:
    """The error as SQLAlchemy would have raised it, without the values."""
    return DBAPIError.instance(
        statement, None, error, sqlite3.Error, hide_parameters=True, dialect=dialect
    )


def _is_busy(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "wal_autocheckpoint=0",
    ):
        sqlite3.Cursor(connection).execute(f"PRAGMA {pragma}")


async def _nothing() -> None:
    return None


class _Cursor(sqlite3.Cursor):
    """What SQLAlchemy's asynchronous side expects of a cursor: that something is awaited."""

    @override
    def execute(self, sql: str, parameters: Any = ()) -> "_Cursor":
        await_only(_nothing())
        super().execute(sql, parameters)
        return self

    @override
    def executemany(self, sql: str, parameters: Iterable[Any]) -> "_Cursor":
        await_only(_nothing())
        super().executemany(sql, parameters)
        return self

    async def _async_soft_close(self) -> None:
        return None


class _Connection(sqlite3.Connection):
    @override
    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)


class DirectDialect(SQLiteDialect_pysqlite):
    """SQLite without a thread between, on SQLAlchemy's asynchronous side."""

    driver = "runnel"
    is_async = True
    supports_statement_cache = True


registry.register("sqlite.runnel", __name__, "DirectDialect")
