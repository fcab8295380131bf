"""What the three dialects of WebSockets share: what a frame asks for, and how frames are written.

A dialect is a pure mapping, as for server-sent events: a client's frame to a command, an answer's
events to frames. Every frame is one JSON text.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from runnel.chat.channels import SessionState
from runnel.chat.entities import Generation
from runnel.chat.notices import Asked, Typing
from runnel.edge.fields import unknown_field
from runnel.errors import Code, RunnelError
from runnel.events import Batch, Event, Failed, Position, Reset

Frame = Mapping[str, Any]
#: JSON holds no line break of its own, so that one can stand between frames.
_BETWEEN: Final = b"\n"


@dataclass(frozen=True, slots=True)
class Asking:
    """A question: the members of edge.asking.AskBody, and how the frame names them."""

    body: Mapping[str, Any]
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Aborting:
    """None: whatever is running there."""

    generation_id: str | None


@dataclass(frozen=True, slots=True)
class Resuming:
    generation_id: str
    after: Position | None


@dataclass(frozen=True, slots=True)
class BeingTyped:
    active: bool


Command = Asking | Aborting | Resuming | BeingTyped


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer on its way to one connection, which may have asked for it.

    `echo` is the session as the connection named it in its question. `whole`: it is shown when it
    has ended.
    """

    asked: Asked
    own: bool
    echo: str | None = None
    whole: bool = False


class SocketDialect(Protocol):
    """One wire format. Frames that are written are bytes of JSON, none or several of them."""

    def asks(self, frame: Frame) -> bool:
        """Whether a frame is a question, be it a wrong one."""
        ...

    def command(self, frame: Frame) -> Command:
        """What a frame asks for. Raises RunnelError `invalid_request`, naming the field."""
        ...

    def connected(self, connection_id: str, state: SessionState | None) -> Sequence[bytes]:
        """What a connection is told first; `state` is that of its session, if it has one."""
        ...

    def typing(self, typing: Typing) -> Sequence[bytes]:
        """Somebody else types, or has stopped."""
        ...

    def question(self, answer: Answer) -> Sequence[bytes]:
        """What is told of an answer before it begins."""
        ...

    def start(self, answer: Answer) -> Sequence[bytes]:
        """What tells which answer the next frames belong to."""
        ...

    def event(self, answer: Answer, event: Event, position: Position) -> Sequence[bytes]:
        """One event that is no end."""
        ...

    def needs_row(self, answer: Answer, end: Event) -> bool:
        """Whether this end says something that only the row tells, as the whole text."""
        ...

    def end(self, answer: Answer, end: Event, row: Generation | None) -> Sequence[bytes]:
        """The end, for which `row` is given if it was needed."""
        ...

    def cache_key(self, answer: Answer) -> str | None:
        """Names the frames of an answer's events that are the same for all connections."""
        ...


class OfNoSession:
    """What a dialect leaves out that is not of one session: how that stands, and who types there."""

    def connected(self, connection_id: str, state: SessionState | None) -> Sequence[bytes]:
        del connection_id, state
        return ()

    def typing(self, typing: Typing) -> Sequence[bytes]:
        del typing
        return ()


def encode(dialect: SocketDialect, answer: Answer, batch: Batch) -> Sequence[bytes]:
    """The frames of a batch, but for an end."""
    key = dialect.cache_key(answer)
    if key is None or batch.frames is None:
        return _encode(dialect, answer, batch)
    joined = batch.frames.get(key)
    if joined is None:
        frames = _encode(dialect, answer, batch)
        batch.frames[key] = _BETWEEN.join(frames)
        return frames
    return joined.split(_BETWEEN) if joined else ()


def end_of(dialect: SocketDialect, answer: Answer, ended: Generation) -> Sequence[bytes]:
    """The end that a row tells."""
    end = ended.terminal()
    return dialect.end(answer, end, ended if dialect.needs_row(answer, end) else None)


def _encode(dialect: SocketDialect, answer: Answer, batch: Batch) -> Sequence[bytes]:
    return [
        frame
        for index, event in enumerate(batch.events)
        if not event.terminal
        for frame in dialect.event(answer, event, Position(batch.epoch, batch.offset + index))
    ]


def write(**members: object) -> bytes:
    """One frame."""
    return orjson.dumps(members, option=orjson.OPT_UTC_Z)


def reset_frame(answer: Answer, reset: Reset, position: Position) -> bytes:
    return write(
        type="reset",
        generation_id=answer.asked.generation_id,
        text=reset.text,
        position=str(position),
    )


def error_frame(error: RunnelError, **more: object) -> bytes:
    """A fault after which the connection goes on. `retry_after` is in seconds."""
    members: dict[str, object] = {
        "type": "error",
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
    }
    if error.retry_after is not None:
        members["retry_after"] = error.retry_after
    if "generation_id" in error.facts:
        members["generation_id"] = error.facts["generation_id"]
    return write(**members, **{name: value for name, value in more.items() if value is not None})


def failed_frame(answer: Answer, failed: Failed, **more: object) -> bytes:
    return write(
        type="error",
        code=failed.code,
        message=failed.message,
        retryable=failed.retryable,
        generation_id=answer.asked.generation_id,
        **more,
    )


def asking(frame: Frame, names: Mapping[str, str | None]) -> Asking:
    """A question from a frame whose members are called so, by the names that AskBody has for them.

    What has no such name is taken, and not used. Raises RunnelError `invalid_request`.
    """
    refuse_unknown(frame, names)
    body = {
        ours: frame[theirs]
        for theirs, ours in names.items()
        if ours is not None and frame.get(theirs) is not None
    }
    back = {ours: theirs for theirs, ours in names.items() if ours is not None}
    return Asking(body, back)


def refuse_unknown(frame: Frame, names: Iterable[str]) -> None:
    for name in frame:
        if name not in names:
            raise invalid(name, unknown_member(name))


def unknown_member(name: str) -> str:
    return unknown_field(name).replace("this request", "this frame")


def invalid(field: str, message: str) -> RunnelError:
    return RunnelError(Code.INVALID_REQUEST, f"{field}: {message}", field=field)


def text_member(frame: Frame, name: str) -> str:
    """A member that has to be there, and a text."""
    value = frame.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(name, "has to be there, as a text")
    return value


def optional_text(frame: Frame, name: str) -> str | None:
    if frame.get(name) is None:
        return None
    if not isinstance(frame[name], str):
        raise invalid(name, "is a text")
    return text_member(frame, name)


def flag_member(frame: Frame, name: str) -> bool:
    value = frame.get(name)
    if not isinstance(value, bool):
        raise invalid(name, "has to be there, as true or false")
    return value


def kind_of(frame: Frame) -> str:
    """What a frame calls itself."""
    kind = frame.get("type")
    return kind if isinstance(kind, str) else ""
