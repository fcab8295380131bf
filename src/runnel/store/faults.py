"""What is wrong with a database, in the words that whoever asked is told."""

import sqlite3
from typing import Final

import structlog
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from runnel.errors import Code, RunnelError

_log = structlog.stdlib.get_logger()
AWAY: Final = (PoolTimeoutError, OSError)


class translated:  # noqa: N801 - reads as a statement
    """Turns a database that is away, locked or exhausted into RunnelError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        translate(error)


def translate(error: BaseException | None) -> None:
    """The same, of what was raised. Raises RunnelError `store_unavailable`, or nothing."""
    if _is_away(error):
        # The driver's words alone: the statement's values are what people wrote.
        _log.warning("database.unavailable", why=str(getattr(error, "orig", error)))
        raise RunnelError(
            Code.STORE_UNAVAILABLE,
            "The database does not answer. Try again shortly.",
            retry_after=1,
        ) from error


def _is_away(error: BaseException | None) -> bool:
    if isinstance(error, AWAY):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        # A plain DatabaseError is a file that is no database, or a broken one.
        return isinstance(error, OperationalError | InterfaceError) or type(error) is DatabaseError
    from runnel.store import postgres  # noqa: PLC0415 - only Postgres needs its driver

    return postgres.is_away(error)
