"""One server a database: two would each end the other's answers as interrupted."""

from filelock import FileLock, Timeout

from runnel.errors import StartupError
from runnel.store.engine import Database

#: Advisory locks of Postgres are numbers, which mean what we say: "runnel" and what it is for.
MIGRATION = 0x72756E6E656C01


class ServerLock:
    """An exclusive lock beside SQLite's file, held while the server lives.

    The system lets go of it when the process ends, however it ends.
    """

    def __init__(self, database: Database) -> None:
        file = database.file
        self._lock = None if file is None else FileLock(f"{file}.lock")
        self._file = file

    def acquire(self) -> None:
        """Raises StartupError if another server has it."""
        if self._lock is None:
            return
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise StartupError(
                f"another server is running on {self._file}; stop it, or give this one another"
                " DATABASE_URL"
            ) from None

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()
