"""Server-sent events (WHATWG HTML, section 9.2): events as frames of bytes, lines ended by LF.

Two dialects: `text` shows only the model's words, `events` shows everything. Neither joins
events, so a frame is never more than one of them.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import orjson

from runnel.edge.dialects.members import members
from runnel.events import Batch, Event, Start, Token, ToolCall

Format = Literal["text", "events"]
DONE: Final = b"data: [DONE]\n"
_RETRY_MS: Final = (1000, 3000)


class SseDialect(Protocol):
    """How one event is written. `key` names the bytes that it makes, for their cache."""

    @property
    def key(self) -> str: ...

    def frame(self, event: Event, epoch: int, offset: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class TextDialect:
    """The model's text as it is; on the good path nothing else but the end mark.

    `ids`: each frame carries its position, so that a reader can resume.
    """

    ids: bool

    @property
    def key(self) -> str:
        return "sse-text-ids" if self.ids else "sse-text"

    def frame(self, event: Event, epoch: int, offset: int) -> bytes:
        tail = _id(epoch, offset) if self.ids else b"\n"
        if isinstance(event, Token):
            # A line break inside a token becomes a further `data:` line of the same frame.
            return b"data: %b\n%b" % (event.text.encode().replace(b"\n", b"\ndata: "), tail)
        if isinstance(event, Start | ToolCall):
            return b""
        done = DONE + tail if event.terminal else b""
        if event.type == "end":
            return done
        return _named(event) + tail + done


@dataclass(frozen=True, slots=True)
class EventsDialect:
    """Every event by its name, as JSON, with its position."""

    @property
    def key(self) -> str:
        return "sse-events"

    def frame(self, event: Event, epoch: int, offset: int) -> bytes:
        frame = _named(event) + _id(epoch, offset)
        return frame + DONE + b"\n" if event.terminal else frame


def dialect_of(name: Format, *, ids: bool) -> SseDialect:
    return EventsDialect() if name == "events" else TextDialect(ids=ids)


def encode(dialect: SseDialect, batches: Sequence[Batch]) -> bytes:
    """The frames of batches, for one write."""
    if len(batches) == 1:
        return _encode(dialect, batches[0])
    return b"".join([_encode(dialect, batch) for batch in batches])


def retry_line() -> bytes:
    """How long a reader waits before it reconnects: spread, so that not all come back at once."""
    return b"retry: %d\n\n" % random.randint(*_RETRY_MS)  # noqa: S311 - a spread, no secret


def _encode(dialect: SseDialect, batch: Batch) -> bytes:
    kept = batch.frames
    frames = kept.get(dialect.key) if kept else None
    if frames is not None:
        return frames
    epoch, place = batch.epoch, batch.offset
    if len(batch.events) == 1:
        frames = dialect.frame(batch.events[0], epoch, place)
    else:
        frames = b"".join(
            [dialect.frame(event, epoch, place) for place, event in enumerate(batch.events, place)]
        )
    if kept is not None:
        kept[dialect.key] = frames
    return frames


def _named(event: Event) -> bytes:
    return b"event: %s\ndata: %s\n" % (event.type.encode(), orjson.dumps(members(event)))


def _id(epoch: int, offset: int) -> bytes:
    return b"id: %d-%d\n\n" % (epoch, offset)
