"""What can go wrong, in words that know no transport.

Each edge maps a code to its own form (HTTP status, frame, close code, exit code) by one table.
"""

from enum import StrEnum
from typing import Final


class Code(StrEnum):
    """The stable names of errors, as clients see them."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    BUSY = "busy"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    SESSION_CLOSED = "session_closed"
    CONFLICT = "conflict"
    MESSAGE_TOO_LONG = "message_too_long"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    RATE_LIMITED = "rate_limited"
    UNKNOWN_MODEL = "unknown_model"
    MODEL_UNAVAILABLE = "model_unavailable"
    UPSTREAM_RATE_LIMITED = "upstream_rate_limited"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_INCOMPLETE = "upstream_incomplete"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    OVERLOADED = "overloaded"
    SHUTTING_DOWN = "shutting_down"
    STORE_UNAVAILABLE = "store_unavailable"
    STREAM_UNAVAILABLE = "stream_unavailable"
    INTERRUPTED = "interrupted"


#: Codes for which asking again, unchanged, may well succeed.
RETRYABLE: Final = frozenset(
    {
        Code.BUSY,
        Code.RATE_LIMITED,
        Code.MODEL_UNAVAILABLE,
        Code.UPSTREAM_RATE_LIMITED,
        Code.UPSTREAM_ERROR,
        Code.UPSTREAM_INCOMPLETE,
        Code.UPSTREAM_TIMEOUT,
        Code.OVERLOADED,
        Code.SHUTTING_DOWN,
        Code.STORE_UNAVAILABLE,
        Code.STREAM_UNAVAILABLE,
        Code.INTERRUPTED,
    }
)


class RunnelError(Exception):
    """An error whose message may be shown to the client: what is wrong and what to do.

    `field` names the part of the input at fault; `retry_after` is in seconds; `facts` are
    further members of the answer (JSON values), as `generation_id`.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        retryable: bool | None = None,
        retry_after: float | None = None,
        field: str | None = None,
        facts: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = code in RETRYABLE if retryable is None else retryable
        self.retry_after = retry_after
        self.field = field
        self.facts = facts or {}


class StartupError(Exception):
    """The server cannot start as configured; the message is the one line that says why."""


class AwayError(StartupError):
    """What the server needs does not answer, and may well do so soon: nothing has to be changed."""
