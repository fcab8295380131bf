"""How Postgres is connected to, and which of its errors mean that it is away.

Loaded only where there is one: its driver takes 3 MB.
"""

import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, cast

import asyncpg
from asyncpg.exceptions import (
    IntegrityConstraintViolationError,
    InterfaceError,
    InternalClientError,
    InvalidCachedStatementError,
    PostgresError,
    SyntaxOrAccessError,
)
from sqlalchemy import URL, Dialect
from sqlalchemy.exc import DBAPIError, InternalError

#: SQLSTATE (Postgres, appendix A), by its class or whole: 08 no connection, 53 no resources, 58
#: the system's errors, 57P shutting down or starting, 57014 cancelled by a timeout of the
#: server's, 40 rolled back for another's sake, 55P03 no lock in time, 25P03 and 25P04 a
#: transaction that took too long, 28 and 3D a database that lets nobody in.
_AWAY: Final = ("08", "53", "58", "57P", "57014", "40", "55P03", "25P0", "28", "3D")
#: Any: the driver says nothing of its types.
_Connect = Callable[[], Awaitable[Any]]
_connect: Final = cast("Any", asyncpg).connect


#: Of those, what keeps a new connection out for now, and not until somebody changes something.
_PASSING: Final = ("08", "53", "58", "57P")
_NO_TLS: Final = "rejected SSL upgrade"


class CannotConnectError(ConnectionError):
    """Postgres cannot be reached, or lets nobody in. Its text says why, without any password.

    `passing`: it may well let somebody in soon, with nothing changed.
    """

    def __init__(self, why: str, *, passing: bool) -> None:
        super().__init__(why)
        self.passing = passing


#: What the driver raises of itself while Postgres is away.
ERRORS: Final = (OSError, PostgresError, InterfaceError)
#: All that it raises but for what the system does.
DRIVER_ERRORS: Final = (PostgresError, InterfaceError, InternalClientError)


def connector(
    url: URL, *, timeout_seconds: float, command_seconds: float | None, **settings: str
) -> _Connect:
    """Makes connections as libpq's addresses name them, `sslmode` and all.

    A statement that takes longer than `command_seconds` is given up: TimeoutError. `settings` are
    Postgres' own, for the connection.
    """
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)

    async def connect() -> Any:
        try:
            return await _connect(
                dsn,
                timeout=timeout_seconds,
                command_timeout=command_seconds,
                server_settings={"application_name": "runnel", **settings},
            )
        except TimeoutError:
            raise CannotConnectError("it does not answer in time", passing=True) from None
        except (OSError, ValueError, PostgresError, InterfaceError) as error:
            # Not chained: of an address that it does not understand the driver shows too much.
            raise CannotConnectError(str(error), passing=_passes(error)) from None

    return connect


def _passes(error: Exception) -> bool:
    if isinstance(error, OSError):
        # Refused, out of reach, its name not yet known: all of it happens while things start.
        wrong = isinstance(error, ssl.SSLCertVerificationError) or _NO_TLS in str(error)
        return not wrong
    state: str | None = getattr(error, "sqlstate", None)
    return state is not None and state.startswith(_PASSING)


def is_away(error: DBAPIError) -> bool:
    """Whether asking again may well succeed; a statement that is wrong in itself does not."""
    if error.connection_invalidated:
        return True
    cause = getattr(error.orig, "__cause__", None)
    if isinstance(error, InternalError) and isinstance(cause, InternalClientError):
        # To roll back what was given up fails while the driver is still busy cancelling it.
        return any(isinstance(each, TimeoutError) for each in _before(error))
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state is not None and state.startswith(_AWAY)


def is_gone(error: BaseException) -> bool:
    """Whether the connection is, that somebody had."""
    if isinstance(error, DBAPIError):
        return bool(error.connection_invalidated)
    return isinstance(error, ConnectionError)


def is_outdated(error: BaseException) -> bool:
    """Whether the schema has changed behind a statement that was prepared."""
    orig = error.orig if isinstance(error, DBAPIError) else None
    return isinstance(getattr(orig, "__cause__", None), InvalidCachedStatementError)


def wrapped(error: Exception, statement: str, dialect: Dialect, *, gone: bool) -> BaseException:
    """The driver's error as SQLAlchemy would have raised it, without the values."""
    dbapi: Any = dialect.dbapi
    kinds: dict[type[Exception], Any] = {
        IntegrityConstraintViolationError: dbapi.IntegrityError,
        SyntaxOrAccessError: dbapi.ProgrammingError,
        InterfaceError: dbapi.InterfaceError,
        InternalClientError: dbapi.InternalError,
    }
    kind: Any = next((kinds[each] for each in kinds if isinstance(error, each)), dbapi.Error)
    own: Exception = kind(error.args[0], error)  # as text it would show values
    own.__cause__ = error
    return DBAPIError.instance(
        statement,
        None,
        own,
        dbapi.Error,
        hide_parameters=True,
        connection_invalidated=gone,
        dialect=dialect,
    )


def _before(error: BaseException) -> Iterator[BaseException]:
    """What was being dealt with when it came, and what was then, up to the first."""
    before = error.__cause__ or error.__context__
    while before is not None:
        yield before
        before = before.__cause__ or before.__context__


def before_execute(
    _connection: object,
    _cursor: object,
    statement: str,
    parameters: Any,  # a tuple, or a list of tuples
    _context: object,
    many: bool,  # noqa: FBT001 - SQLAlchemy's signature
) -> tuple[str, Any]:
    """Before SQLAlchemy executes a statement: `without_nul`."""
    if many:
        return statement, [tuple(without_nul(each)) for each in parameters]
    return statement, tuple(without_nul(parameters))


def without_nul(values: Sequence[Any]) -> Sequence[Any]:
    """What no text in Postgres can hold is U+FFFD.

    So an id or a name with a NUL in it, which anybody may send, is found nowhere, as in SQLite.
    """
    if any(isinstance(each, str) and "\0" in each for each in values):
        return [each.replace("\0", "\ufffd") if isinstance(each, str) else each for each in values]
    return values
