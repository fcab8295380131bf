"""Events as entries of a Redis Stream hold them: a JSON array, in which a token is a string."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

import orjson

from runnel.events import (
    Aborted,
    Batch,
    End,
    Event,
    Failed,
    Position,
    Reset,
    Start,
    Token,
    ToolCall,
    Usage,
)
from runnel.streamlog.batches import batch_of

_KINDS: Final[dict[str, type[Event]]] = {
    kind.type: kind for kind in (Start, ToolCall, Reset, End, Aborted, Failed)
}
#: By kind. What a newer instance has added to an event is left out.
_FIELDS: Final = {kind: [field.name for field in fields(kind)] for kind in _KINDS.values()}
_USAGE: Final = [field.name for field in fields(Usage)]


def encoded(events: Sequence[Event]) -> bytes:
    return orjson.dumps(
        [event.text if isinstance(event, Token) else _members(event) for event in events]
    )


def _members(event: Event) -> dict[str, Any]:
    return {"type": event.type, **{name: getattr(event, name) for name in _FIELDS[type(event)]}}


def decoded(id_: bytes, entry: bytes, *, shared: bool) -> Batch:
    """The batch whose last event stands at `id_`."""
    last = Position.parse(id_.decode())
    items = orjson.loads(entry)
    events = [Token(item) if isinstance(item, str) else _event(item) for item in items]
    return batch_of(last.epoch, last.offset + 1 - len(events), events, shared=shared)


def _event(members: dict[str, Any]) -> Event:
    kind = _KINDS[members["type"]]
    known = {name: members[name] for name in _FIELDS[kind] if name in members}
    if "usage" in known:
        usage = known["usage"]
        known["usage"] = Usage(**{name: usage[name] for name in _USAGE if name in usage})
    return kind(**known)
