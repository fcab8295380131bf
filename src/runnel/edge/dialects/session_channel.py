"""`/ws/{session_id}`: the channel of one session, which all its connections see alike."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from runnel.chat.channels import SessionState
from runnel.chat.entities import Generation
from runnel.chat.notices import Typing
from runnel.edge.dialects.sockets import (
    Aborting,
    Answer,
    BeingTyped,
    Command,
    Frame,
    Resuming,
    asking,
    failed_frame,
    flag_member,
    invalid,
    kind_of,
    optional_text,
    refuse_unknown,
    reset_frame,
    text_member,
    write,
)
from runnel.events import Aborted, End, Event, Failed, Position, Reset, Start, Token

_MESSAGE: Final[Mapping[str, str | None]] = {
    "type": None,
    "content": "message",
    "stream": "stream",
    "model": "model",
    "params": "params",
    "attachments": "attachments",
    "client_message_id": "client_message_id",
    # The client's own; they are told to nobody.
    "metadata": None,
    "timestamp": None,
}


class SessionDialect:
    """Without `chunks` a connection is told that answers begin and end, and not their text."""

    def __init__(self, *, chunks: bool = True) -> None:
        self._chunks = chunks

    def asks(self, frame: Frame) -> bool:
        return kind_of(frame) == "message"

    def command(self, frame: Frame) -> Command:
        match kind_of(frame):
            case "message":
                text_member(frame, "content")
                return asking(frame, _MESSAGE)
            case "abort":
                refuse_unknown(frame, ("type", "generation_id"))
                return Aborting(optional_text(frame, "generation_id"))
            case "resume":
                refuse_unknown(frame, ("type", "generation_id", "after"))
                return Resuming(text_member(frame, "generation_id"), _after(frame))
            case "typing":
                refuse_unknown(frame, ("type", "active"))
                return BeingTyped(flag_member(frame, "active"))
            case _:
                raise invalid("type", "is message, resume, abort, typing or ping")

    def connected(self, connection_id: str, state: SessionState | None) -> Sequence[bytes]:
        assert state is not None
        running = state.running
        return [
            write(
                type="connected",
                session_id=state.session_id,
                connection_id=connection_id,
                last_message_id=state.last_message_id,
                running=running
                and {
                    "generation_id": running.generation_id,
                    "message_id": running.message_id,
                    "position": None if running.position is None else str(running.position),
                },
            )
        ]

    def typing(self, typing: Typing) -> Sequence[bytes]:
        return [
            write(
                type="typing",
                active=typing.active,
                connection_id=typing.origin,
                user_id=typing.user_id,
            )
        ]

    def question(self, answer: Answer) -> Sequence[bytes]:
        asked = answer.asked
        if answer.own and asked.key is None:
            return ()
        return [
            write(
                type="message_saved",
                message_id=asked.user_message_id,
                client_message_id=asked.key,
                role="user",
                content=asked.question,
            )
        ]

    def start(self, answer: Answer) -> Sequence[bytes]:
        if answer.whole:
            return ()
        asked = answer.asked
        return [
            write(
                type="stream_start",
                message_id=asked.message_id,
                generation_id=asked.generation_id,
            )
        ]

    def event(self, answer: Answer, event: Event, position: Position) -> Sequence[bytes]:
        if answer.whole:
            return ()
        message_id = answer.asked.message_id
        match event:
            case Start():
                return self.start(answer)
            case Token() if self._chunks:
                return [
                    write(
                        type="stream_chunk",
                        content=event.text,
                        message_id=message_id,
                        position=str(position),
                    )
                ]
            case Reset() if self._chunks:
                return [reset_frame(answer, event, position)]
            case _:
                return ()

    def needs_row(self, answer: Answer, end: Event) -> bool:
        return answer.whole and isinstance(end, End)

    def end(self, answer: Answer, end: Event, row: Generation | None) -> Sequence[bytes]:
        message_id = answer.asked.message_id
        match end:
            case End():
                if row is None:
                    return [
                        write(type="stream_end", message_id=message_id, metadata=_metadata(end))
                    ]
                return [
                    write(
                        type="message",
                        message_id=message_id,
                        content=row.text,
                        metadata=_metadata(end),
                    )
                ]
            case Aborted():
                generation_id = answer.asked.generation_id
                return [write(type="aborted", generation_id=generation_id, message_id=message_id)]
            case Failed():
                return [failed_frame(answer, end)]
            case _:
                raise ValueError(end.type)

    def cache_key(self, answer: Answer) -> str | None:
        if answer.whole:
            return "ws-session-whole"
        return "ws-session" if self._chunks else "ws-session-no-chunks"


def _after(frame: Frame) -> Position | None:
    text = optional_text(frame, "after")
    try:
        return None if text is None else Position.parse(text)
    except ValueError:
        raise invalid("after", "is a position as 1-42: that of the last chunk read") from None


def _metadata(end: End) -> dict[str, Any]:
    return {
        "tokens_used": end.usage.total_tokens,
        "processing_time": end.latency_ms / 1000,
        "agent_used": end.agent or end.model,
        "finish_reason": end.finish_reason,
    }
