"""Reads exports back, `json` or `jsonl`, a record at a time: strictly, with the place of a fault.

What is read at a time has a bound, whatever is in the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

import orjson
from pydantic import TypeAdapter, ValidationError

from runnel.chat.sessions.import_values import (
    Events,
    Numbers,
    TooMuchError,
    faults_at,
    invalid,
    items,
    keys,
    loaded,
    next_value,
    parsed,
    value_of_line,
)
from runnel.chat.sessions.records import VERSION, GivenAttachment, MessageRecord, SessionRecord
from runnel.errors import RunnelError

Record = SessionRecord | GivenAttachment | MessageRecord
#: Of one record: an answer of GENERATION_MAX_BYTES fits in, each character escaped.
MOST_BYTES: Final = 64 * 1024 * 1024
_HEADER: Final = "runnel_export"
_HEADER_BYTES: Final = 4096
_MARK: Final = b"\xef\xbb\xbf"
_KINDS: Final[dict[str, TypeAdapter[Record]]] = {
    "session": TypeAdapter(SessionRecord),
    "attachment": TypeAdapter(GivenAttachment),
    "message": TypeAdapter(MessageRecord),
}
_FIRST: Final = "a session's fields stand before its `attachments` and `messages`"
_ARRAYS: Final = {"attachments": "attachment", "messages": "message"}


@dataclass(frozen=True, slots=True)
class Given:
    """A record, and where in the file it stands, as people find it."""

    place: str
    record: Record


def read_export(file: BinaryIO) -> Iterator[Given]:
    """The sessions of a file in their order, each before its attachments, these before its messages.

    Raises RunnelError `invalid_request`, saying where, for what is no export that can be read.
    """
    source = _Source(file)
    return _lines(source) if source.is_lines else _document(source)


class _Source:
    """A file that gives no more than MOST_BYTES until it is told that a record was whole."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ahead = file.readline(_HEADER_BYTES).removeprefix(_MARK)
        self._since = 0
        self._numbers = Numbers()

    @property
    def is_lines(self) -> bool:
        """Whether the first line is all of an object, and one that has no sessions in it."""
        header = loaded(self._ahead)
        return isinstance(header, dict) and "sessions" not in header

    def line(self) -> bytes:
        ahead, self._ahead = self._ahead, b""
        return ahead or self._file.readline(MOST_BYTES + 1)

    def read(self, size: int) -> bytes:
        """As ijson wants it."""
        if self._since > MOST_BYTES:
            raise TooMuchError(f"has more than {MOST_BYTES} bytes to it")
        ahead, self._ahead = self._ahead[:size], self._ahead[size:]
        piece = ahead or self._file.read(size)
        self._since += len(piece)
        self._numbers.check(piece)
        return piece

    def whole(self) -> None:
        self._since = 0


def _lines(source: _Source) -> Iterator[Given]:
    _check_version(loaded(source.line()), "line 1")
    number, ended = 1, False
    while line := source.line():
        number += 1
        place = f"line {number}"
        if not line.strip():
            continue
        if ended:
            raise invalid(place, "stands behind the end of the export")
        if len(line) > MOST_BYTES:
            raise invalid(place, f"is longer than {MOST_BYTES} bytes")
        fields = value_of_line(line, place)
        if not isinstance(fields, dict):
            raise invalid(place, "is no JSON object: the file is cut, or was changed")
        kind = cast("dict[str, object]", fields).pop("type", None)
        if kind == "end":
            ended = True
        elif isinstance(kind, str) and kind in _KINDS:
            yield Given(place, _record(kind, cast("object", fields), place))
        else:
            raise invalid(place, "has a `type` that is none of session, attachment, message, end")
    if not ended:
        raise invalid(
            f"line {number}", 'the file is cut behind it: its last line is {"type":"end"}'
        )


def _document(source: _Source) -> Iterator[Given]:
    place = _Place()
    with faults_at(place):
        yield from _sessions(parsed(source), source, place)


@dataclass(slots=True)
class _Place:
    session: int = 0
    kind: str = ""
    number: int = 0

    def __str__(self) -> str:
        if not self.session:
            return "the beginning"
        within = f", {self.kind} {self.number}" if self.kind else ""
        return f"session {self.session}{within}"


def _sessions(events: Events, source: _Source, place: _Place) -> Iterator[Given]:
    version: object = None
    if next(events)[0] != "start_map":
        raise _foreign()
    for key in keys(events):
        if key == _HEADER:
            version = next_value(events)
            _check_version({_HEADER: version}, "the beginning")
        elif version is None:
            raise _foreign()
        elif key == "sessions":
            for event in items(events, "sessions"):
                if event != ("start_map", None):
                    raise invalid("sessions", "are objects")
                place.session += 1
                yield from _session(events, source, place)
                place.kind, place.number = "", 0
        else:
            raise invalid("the beginning", f"`{key}` is no field of an export")
    for _ in events:  # whatever stands behind it is a fault that the parser finds
        pass
    if not isinstance(version, int):
        raise _foreign()


def _session(events: Events, source: _Source, place: _Place) -> Iterator[Given]:
    fields: dict[str, Any] | None = {}
    for key in keys(events):
        kind = _ARRAYS.get(key)
        if kind is None:
            if fields is None:
                raise invalid(str(place), f"{key}: {_FIRST}")
            fields[key] = next_value(events)
            continue
        if fields is not None:
            yield Given(str(place), _record("session", fields, str(place)))
            fields = None
        source.whole()
        place.kind, place.number = kind, 0
        for event in items(events, key):
            place.number += 1
            value = next_value(events, event)
            yield Given(str(place), _record(kind, value, str(place)))
            source.whole()
    if fields is not None:
        yield Given(str(place), _record("session", fields, str(place)))


def _record(kind: str, fields: object, place: str) -> Record:
    try:
        # As text once more: what is strict of JSON has times and enumerations as words.
        return _KINDS[kind].validate_json(orjson.dumps(fields))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise invalid(
            place, f"{field or 'it'}: {_said(kind, fault['type'], fault['msg'])}"
        ) from None
    except TypeError as error:
        raise invalid(place, f"holds what cannot be kept: {error}") from None


def _said(record: str, fault: str, message: str) -> str:
    match fault:
        case "unexpected_keyword_argument":
            return "is no field of it"
        case "missing":
            return f"is missing ({_FIRST})" if record == "session" else "is missing"
        case _:
            return message.removeprefix("Value error, ")


def _check_version(header: object, place: str) -> None:
    version = cast("dict[str, object]", header).get(_HEADER) if isinstance(header, dict) else None
    if type(version) is not int:
        raise _foreign()
    if version != VERSION:
        raise invalid(
            place,
            f"this is an export of format {version}, and this version of Runnel reads {VERSION}:"
            " import it with the version that wrote it, or a newer one",
        )


def _foreign() -> RunnelError:
    return invalid(
        "the beginning", f'this is no export of Runnel\'s in json or jsonl: no "{_HEADER}" in it'
    )
