"""The database: how it is opened, and its two kinds of short transaction, `read` and `write`.

No transaction may be held while a stream runs.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import Connection, NullPool, event, make_url, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from runnel.errors import AwayError, RunnelError, StartupError
from runnel.store.brief import MOST_CHARACTERS, Brief
from runnel.store.briefly import BriefRead, BriefWrite
from runnel.store.faults import AWAY, translated
from runnel.store.line import Line
from runnel.store.tables import Base, to_json

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

    from runnel.store.postgres_pool import PostgresPool

_log = structlog.stdlib.get_logger()
_WRITES: Final = "runnel_writes"
#: Between two tries to make a new file of SQLite's what it is to be.
_WAL_PAUSE: Final = 0.01
#: After so many brief commits, a few megabytes, SQLite's log is taken into its file.
_CHECKPOINT_COMMITS: Final = 200


class Database:
    """The engine. SQLite gets foreign keys, WAL and a busy timeout, and waits to write at BEGIN.

    Postgres reads from one snapshot, and each statement has the timeout too.
    """

    def __init__(self, url: str, *, pool_size: int, timeout_seconds: float) -> None:
        self.url = make_url(url)
        if self.file is not None:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.timeout_seconds = timeout_seconds
        # SQLite lets one write at a time, and whoever waits for that asks again and again after
        # longer and longer pauses, without an order: of 600 questions at once half gave up.
        # Standing in line, none did. SQLAlchemy's pool has an order, but no patience with a long
        # line: of 1500 readers who came back at once, most gave up.
        places = max(1, pool_size - 1) if self.is_sqlite else pool_size
        self._readers = Line(places, timeout_seconds)
        self._writers = Line(1, timeout_seconds) if self.is_sqlite else self._readers
        self._brief: Brief | None = None
        self._pool: PostgresPool | None = None
        if self.is_sqlite:
            self.engine = self._sqlite_engine(pool_size)
            self._brief = Brief(self.url, timeout_seconds=timeout_seconds)
        else:
            self.engine = self._postgres_engine()
            self._pool = self._postgres_pool()
        self._commits = 0
        self._checkpointing: asyncio.Task[None] | None = None

    def _sqlite_engine(self, pool_size: int) -> AsyncEngine:
        engine = create_async_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=self.timeout_seconds,
            connect_args={"timeout": self.timeout_seconds},
            json_serializer=to_json,
        )
        event.listen(
            engine.sync_engine, "connect", partial(_configure_sqlite, self.timeout_seconds)
        )
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine

    def _postgres_engine(self) -> AsyncEngine:
        from runnel.store import postgres  # noqa: PLC0415 - only Postgres needs its driver

        engine = create_async_engine(
            self.url,
            poolclass=NullPool,  # for there is a pool of our own
            json_serializer=to_json,
            async_creator=postgres.connector(
                self.url,
                timeout_seconds=self.timeout_seconds,
                command_seconds=self.timeout_seconds,
            ),
        )
        sync_engine = engine.sync_engine
        event.listen(sync_engine, "before_cursor_execute", postgres.before_execute, retval=True)
        return engine

    def _postgres_pool(self) -> "PostgresPool":
        from runnel.store.postgres_pool import PostgresPool  # noqa: PLC0415 - as above

        return PostgresPool(self.engine, self._readers)

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def file(self) -> Path | None:
        """SQLite's file; None for what is not in one."""
        name = self.url.database
        return Path(name) if self.is_sqlite and name and name != ":memory:" else None

    @property
    def place(self) -> str:
        """Where it is, for messages: no password is in it."""
        if self.is_sqlite:
            return str(self.url.database)
        host = self.url.host or self.url.query.get("host") or "the local socket"
        return f"{self.url.database} on {host}{f':{self.url.port}' if self.url.port else ''}"

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that only reads, all of one moment. Raises RunnelError `store_unavailable`."""
        return self._read() if self._pool is None else self._pool.reading()

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that commits at its end. Raises RunnelError `store_unavailable`."""
        return self._write() if self._pool is None else self._pool.writing()

    def read_briefly(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """The same as `read`, for what finds a few rows at once. Inside nothing else is awaited."""
        return self.read() if self._brief is None else BriefRead(self._brief.reading)

    def look(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """The same, for one `Statement` alone."""
        if self._pool is not None:
            return self._pool.looking()
        return self.read() if self._brief is None else BriefRead(self._brief.looking)

    def write_briefly(self, characters: int = 0) -> AbstractAsyncContextManager[AsyncConnection]:
        """The same as `write`, for a few rows. `characters`: how long the texts in them are."""
        if self._brief is None or characters > MOST_CHARACTERS:
            return self.write()
        return BriefWrite(self._brief.writing, self._writers, self._committed)

    @asynccontextmanager
    async def _read(self) -> AsyncGenerator[AsyncConnection]:
        with translated():
            async with self._readers, self.engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def _write(self) -> AsyncGenerator[AsyncConnection]:
        with translated():
            async with self._writers, self.engine.connect() as connection:
                await connection.execution_options(**{_WRITES: True})
                async with connection.begin():
                    yield connection

    def _committed(self) -> None:
        self._commits += 1
        if self._commits % _CHECKPOINT_COMMITS == 0 and self._checkpointing is None:
            self._checkpointing = asyncio.create_task(self._checkpoint())

    async def _checkpoint(self) -> None:
        """Takes what was written briefly from SQLite's log into its file, by a thread."""
        try:
            async with self._readers, self.engine.connect() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                assert driver is not None
                await driver.execute_fetchall("PRAGMA wal_checkpoint(PASSIVE)")
                async with self._writers:
                    # Now that nobody writes all of it is taken, and the log begins anew; who
                    # writes first then waits for the disk, so this is done here.
                    await driver.execute_fetchall("PRAGMA wal_checkpoint(PASSIVE)")
                    await driver.execute_fetchall(f"PRAGMA user_version={self._commits}")
        except (DBAPIError, sqlite3.Error, *AWAY) as error:
            _log.warning("database.not_checkpointed", why=str(getattr(error, "orig", error)))
        finally:
            self._checkpointing = None

    @asynccontextmanager
    async def change(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction for a new schema: it commits at its end, and has all the time it needs.

        Raises RunnelError `store_unavailable`.
        """
        if self.is_sqlite:
            async with self.write() as connection:
                yield connection
            return
        from runnel.store import postgres  # noqa: PLC0415 - as above

        engine = create_async_engine(
            self.url,
            poolclass=NullPool,
            async_creator=postgres.connector(
                self.url, timeout_seconds=self.timeout_seconds, command_seconds=None
            ),
        )
        try:
            with translated():
                async with engine.begin() as connection:
                    yield connection
        finally:
            await engine.dispose()

    async def open(self) -> None:
        """Raises StartupError if it cannot be used, AwayError if that may pass by itself."""
        try:
            await self.check()
        except RunnelError as error:
            cause = error.__cause__
            why = getattr(cause, "orig", None) or cause or error.message
            passing = getattr(cause, "passing", not self.is_sqlite)
            kind = AwayError if passing else StartupError
            raise kind(f"cannot open the database {self.place}: {why}") from None

    async def check(self) -> None:
        """Raises RunnelError `store_unavailable` if the database does not answer."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        if self._checkpointing is not None:
            await self._checkpointing
        if self._brief is not None:
            await self._brief.close()
        if self._pool is not None:
            await self._pool.close()
        await self.engine.dispose()


def _configure_sqlite(seconds: float, connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: _begin_sqlite says when and how.
    connection.isolation_level = None
    cursor = connection.cursor()
    _use_wal(cursor, until=time.monotonic() + seconds)
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _use_wal(cursor: Any, *, until: float) -> None:
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # Of those who open a new file together SQLite tells some so at once, whatever the busy
            # timeout: each would wait for the other.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        else:
            return
        await_only(asyncio.sleep(_WAL_PAUSE))


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails at once if another wrote meanwhile,
    # whatever the busy timeout; one that takes the write lock first waits its turn.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def into(dialect: str, table: type[Base]) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that can say what is to happen with rows that are there already."""
    if dialect == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - 2 MB that only Postgres needs

    return postgresql.insert(table)
