"""JSON as imports read it: a value at a time, within bounds that no file gets around."""

import io
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Protocol

import ijson
import orjson
from ijson.common import JSONError, ObjectBuilder

from runnel.errors import Code, RunnelError

_PIECE_BYTES: Final = 64 * 1024
#: A bracket weighs a hundred times what it takes in the file.
_MOST_VALUES: Final = 100_000
_ESCAPED: Final = re.compile(rb"\\.", re.DOTALL)
#: Python itself takes 4300 digits, half of which are in one of two pieces.
_LONG_NUMBER: Final = re.compile(rb"[0-9]{1000}")
#: Characters of what is wrong.
_MOST_TOLD: Final = 500
_OPENING: Final = frozenset({"start_map", "start_array"})
_CLOSING: Final = frozenset({"end_map", "end_array"})
Events = Iterator[tuple[str, Any]]


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class TooMuchError(Exception):
    """A bound that was met; its words say which."""


def invalid(place: str, what: str) -> RunnelError:
    """A fault of the file. Words of its own may be in it: they are cut, and drive no terminal."""
    told = f"{place}: {what}"[:_MOST_TOLD]
    return RunnelError(
        Code.INVALID_REQUEST, "".join(each if each.isprintable() else "\ufffd" for each in told)
    )


def loaded(line: bytes) -> object:
    """What a line says; None also for what is no JSON."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def value_of_line(line: bytes, place: str) -> object:
    """The same. Raises RunnelError `invalid_request` for a line with too many values."""
    # Each but the first has a comma before it, or is one of a few that are nested.
    if line.count(b",") < _MOST_VALUES:
        return loaded(line)
    with faults_at(place):
        Numbers().check(line)
        events = parsed(io.BytesIO(line))
        found = next_value(events)
        for _ in events:  # whatever stands behind it is a fault that the parser finds
            pass
        return found


def parsed(file: Readable) -> Events:
    """The events of a file, whose pieces Numbers has checked."""
    # Not `use_float`: with it the parser takes integers of 64 bits for too large.
    return ijson.basic_parse(file, buf_size=_PIECE_BYTES)


class Numbers:
    """Looks for numbers of very many digits, outside of texts: the parser would crash with one."""

    def __init__(self) -> None:
        self._in_text = False
        self._escape = b""

    def check(self, piece: bytes) -> None:
        """Raises TooMuchError; also where only a good part of the number is in the piece."""
        plain = _ESCAPED.sub(b"", self._escape + piece)
        self._escape = b"\\" if plain.endswith(b"\\") else b""
        parts = plain.split(b'"')
        if any(_LONG_NUMBER.search(part) for part in parts[self._in_text :: 2]):
            raise TooMuchError("a number behind it is too large")
        self._in_text ^= len(parts) % 2 == 0


@contextmanager
def faults_at(place: object) -> Generator[None]:
    """Whatever the parser finds is a fault of the file, at the place where it is by then."""
    try:
        yield
    except TooMuchError as error:
        raise invalid(str(place), str(error)) from None
    except StopIteration:
        raise invalid(str(place), "the file is cut") from None
    except (JSONError, UnicodeDecodeError) as error:
        why = str(error).split("\n")[0].removesuffix(".")
        raise invalid(str(place), f"no valid JSON, or cut, behind it ({why})") from None
    except InvalidOperation:
        raise invalid(str(place), "a number behind it is too large") from None


def keys(events: Events) -> Iterator[str]:
    """The keys of an object that has begun; its values are read between them."""
    while True:
        event, key = next(events)
        if event == "end_map":
            return
        yield key


def items(events: Events, name: str) -> Iterator[tuple[str, Any]]:
    """The first event of each item of an array."""
    if next(events)[0] != "start_array":
        raise invalid(name, "is an array")
    while (event := next(events))[0] != "end_array":
        yield event


def next_value(events: Events, first: tuple[str, Any] | None = None) -> Any:
    """The next value, whole. Any: it is JSON."""
    builder: Any = ObjectBuilder()
    depth = 0
    event, given = first or next(events)
    for _ in range(_MOST_VALUES):
        builder.event(event, float(given) if isinstance(given, Decimal) else given)
        depth += (event in _OPENING) - (event in _CLOSING)
        if not depth:
            return builder.value
        event, given = next(events)
    raise TooMuchError(f"has more than {_MOST_VALUES} values to it")
