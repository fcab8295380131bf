"""Pages of long lists: where one ends, and the cursors that the next begins behind.

A cursor names the last row of a page by what the list is sorted by, so that rows which come or go
meanwhile neither repeat nor hide others.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from runnel.errors import Code, RunnelError

#: A page ends once its texts have so many characters, or with its first text.
PAGE_CHARACTERS: Final = 1024 * 1024
_ID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_MOMENT: Final = re.compile(rf"([0-9]{{1,17}})-({_ID})")
_DEPTH: Final = re.compile(rf"({_ID})\.([0-9]{{1,9}})")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def fitting(lengths: Sequence[int]) -> int:
    """How many of the first texts make a page."""
    total = 0
    for number, length in enumerate(lengths):
        total += length
        if number and total > PAGE_CHARACTERS:
            return number
    return len(lengths)


def moment(at: datetime, row_id: str) -> str:
    """The cursor behind a row of a list that is sorted by a time, and then by ids."""
    return f"{(at - _EPOCH) // _MICROSECOND}-{row_id}"


def parse_moment(cursor: str) -> tuple[datetime, str]:
    """Raises RunnelError `invalid_request`."""
    at, row_id = _parsed(_MOMENT, cursor)
    try:
        return _EPOCH + int(at) * _MICROSECOND, row_id
    except OverflowError:
        raise _no_cursor() from None


def depth(row_id: str, at: int) -> str:
    """The cursor behind a depth of a tree: of a leaf's branch, or behind a message of that depth."""
    return f"{row_id}.{at}"


def parse_depth(cursor: str) -> tuple[str, int]:
    """Raises RunnelError `invalid_request`."""
    row_id, at = _parsed(_DEPTH, cursor)
    return row_id, int(at)


def _parsed(pattern: re.Pattern[str], cursor: str) -> tuple[str, str]:
    match = pattern.fullmatch(cursor)
    if match is None:
        raise _no_cursor()
    return match[1], match[2]


def _no_cursor() -> RunnelError:
    return RunnelError(
        Code.INVALID_REQUEST, "The cursor is no `next_cursor` of a page.", field="cursor"
    )
