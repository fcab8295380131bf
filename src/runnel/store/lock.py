"""One server a database: two would each end the other's answers as interrupted."""

from typing import Protocol

from filelock import FileLock, Timeout

from runnel.errors import StartupError
from runnel.store.engine import Database


class ServerLock(Protocol):
    """Held while the server lives; let go of when its process ends, however it ends."""

    async def acquire(self) -> None:
        """Raises StartupError if another server has it."""
        ...

    async def watch(self) -> None:
        """Runs for ever: takes again a lock that was lost."""
        ...

    async def check(self) -> None:
        """Raises RunnelError `store_unavailable` if another server has it by now."""
        ...

    async def release(self) -> None: ...


def server_lock(database: Database, *, many: bool) -> ServerLock:
    """`many`: instances share the database, and each answer has its owner in it."""
    if many:
        return NoServerLock()
    if database.is_sqlite:
        return FileServerLock(database)
    from runnel.store.postgres_lock import PostgresServerLock  # noqa: PLC0415 - needs the driver

    return PostgresServerLock(database)


class NoServerLock:
    """Implements ServerLock for instances that share a database: everybody has it."""

    async def acquire(self) -> None:
        return

    async def watch(self) -> None:
        return

    async def check(self) -> None:
        return

    async def release(self) -> None:
        return


class FileServerLock:
    """Implements ServerLock by a file beside SQLite's, which cannot be lost."""

    def __init__(self, database: Database) -> None:
        self._place = database.place
        self._lock = FileLock(f"{database.file}.lock")

    async def acquire(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise taken_by_another(self._place) from None

    async def watch(self) -> None:
        return

    async def check(self) -> None:
        return

    async def release(self) -> None:
        self._lock.release()


def taken_by_another(place: str) -> StartupError:
    """What is said to whoever comes second."""
    return StartupError(
        f"another server is running on {place}; stop it, or give this one another DATABASE_URL"
    )
