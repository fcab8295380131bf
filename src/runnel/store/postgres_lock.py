"""The lock of a server on Postgres."""

import asyncio
from typing import Any, Final

import structlog

from runnel.errors import AwayError, Code, RunnelError
from runnel.store import postgres
from runnel.store.engine import Database
from runnel.store.lock import taken_by_another

_log = structlog.stdlib.get_logger()
#: The number of the advisory lock: "runnel", and the first thing that is locked by it.
_SERVER: Final = 0x72756E6E656C00
#: A server that was killed holds its lock until Postgres has noticed.
_PATIENCE_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.1
_CHECK_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 1.0
#: A server whose machine has gone holds its lock for some 25 seconds, not for two hours.
_NOTICING: Final = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "idle_session_timeout": "0",
}


class PostgresServerLock:
    """Implements ServerLock by an advisory lock, on a connection of its own.

    It is lost with the connection, as when Postgres is started anew.
    """

    def __init__(self, database: Database) -> None:
        self._place = database.place
        self._connect = postgres.connector(
            database.url,
            timeout_seconds=database.timeout_seconds,
            command_seconds=database.timeout_seconds,
            **_NOTICING,
        )
        self._connection: Any = None  # the driver says nothing of its types
        self._taken = False

    async def acquire(self) -> None:
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        try:
            while not await self._take():
                if asyncio.get_running_loop().time() > deadline:
                    raise taken_by_another(self._place)
                await asyncio.sleep(_RETRY_SECONDS)
        except postgres.ERRORS as error:
            # Others had a connection a moment ago.
            raise AwayError(f"cannot open the database {self._place}: {error}") from None

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            try:
                await self._keep()
            except postgres.ERRORS:
                # Without a connection there is no lock. That Postgres is away others say.
                await self.release()

    async def _keep(self) -> None:
        if self._connection is not None:
            await self._connection.fetchval("SELECT 1")
            return
        taken = not await self._take()
        if taken and not self._taken:
            _log.error("database.taken", why=str(taken_by_another(self._place)))
        elif not taken:
            _log.info("database.lock_taken_again")
        self._taken = taken

    async def _take(self) -> bool:
        connection = await self._connect()
        taken = False
        try:
            taken = await connection.fetchval("SELECT pg_try_advisory_lock($1)", _SERVER)
        finally:
            if not taken:
                await _close(connection)
        self._connection = connection if taken else None
        return taken

    async def check(self) -> None:
        if self._taken:
            raise RunnelError(Code.STORE_UNAVAILABLE, str(taken_by_another(self._place)))

    async def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await _close(connection)


async def _close(connection: Any) -> None:
    try:
        await connection.close(timeout=_CLOSE_SECONDS)
    except postgres.ERRORS:
        connection.terminate()
