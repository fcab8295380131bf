"""How Postgres is connected to, and which of its errors mean that it is away.

Loaded only where there is one: its driver takes 3 MB.
"""

import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, cast

import asyncpg
from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresError
from sqlalchemy import URL
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


def _before(error: BaseException) -> Iterator[BaseException]:
    """What was being dealt with when it came, and what was then, up to the first."""
    before = error.__cause__ or error.__context__
    while before is not None:
        yield before
        before = before.__cause__ or before.__context__


def without_nul(
    _connection: object,
    _cursor: object,
    statement: str,
    parameters: Any,  # a tuple, or a list of tuples
    _context: object,
    many: bool,  # noqa: FBT001 - SQLAlchemy's signature
) -> tuple[str, Any]:
    """Before a statement is executed: what no text in Postgres can hold is U+FFFD.

    So an id or a name with a NUL in it, which anybody may send, is found nowhere, as in SQLite.
    """
    if many:
        return statement, [_kept(each) for each in parameters]
    return statement, _kept(parameters)


def _kept(parameters: Any) -> Any:
    if any(isinstance(each, str) and "\0" in each for each in parameters):
        return tuple(
            each.replace("\0", "\ufffd") if isinstance(each, str) else each for each in parameters
        )
    return parameters
