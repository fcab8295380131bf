"""Positions as clients send them: `Last-Event-ID`, else `?after=`."""

from runnel.errors import Code, RunnelError
from runnel.events import Position


class MalformedPositionError(RunnelError):
    """What was sent is no position at all; one that the log does not have is no error."""

    def __init__(self, field: str) -> None:
        super().__init__(
            Code.INVALID_REQUEST,
            f"{field} is a position as EPOCH-OFFSET, as 1-42: the `id` of the last event read.",
            field=field,
        )


def position_of(last_event_id: str | None, after: str | None = None) -> Position | None:
    """Where a reader goes on; None to begin. An empty value is none, as for EventSource.

    The header comes first: a reader that reconnects sends it to the address it began with.
    Raises MalformedPositionError.
    """
    # The server leaves white space behind a header's value, which is no part of it.
    header = last_event_id and last_event_id.strip(" \t")
    for field, text in (("Last-Event-ID", header), ("after", after)):
        if text:
            try:
                return Position.parse(text)
            except ValueError:
                raise MalformedPositionError(field) from None
    return None
