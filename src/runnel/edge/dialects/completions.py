"""`/ws/chat/completions`: one question a frame, one answer at a time."""

from collections.abc import Mapping, Sequence
from typing import Final, assert_never

from runnel.chat.entities import Generation
from runnel.edge.dialects.sockets import (
    Aborting,
    Answer,
    Command,
    Frame,
    OfNoSession,
    asking,
    failed_frame,
    invalid,
    kind_of,
    refuse_unknown,
    reset_frame,
    text_member,
    write,
)
from runnel.events import Aborted, End, Event, Failed, Position, Reset, Start, Token, ToolCall

_QUESTION: Final[Mapping[str, str | None]] = {
    "type": None,
    "question": "message",
    "session_id": "session_id",
    "model": "model",
    "params": "params",
    "attachments": "attachments",
    "client_message_id": "client_message_id",
}


class CompletionsDialect(OfNoSession):
    def asks(self, frame: Frame) -> bool:
        return "question" in frame

    def command(self, frame: Frame) -> Command:
        if self.asks(frame):
            text_member(frame, "question")
            return asking(frame, _QUESTION)
        if kind_of(frame) == "abort":
            refuse_unknown(frame, ("type",))
            return Aborting(None)
        raise invalid("type", 'send {"question": "…"}, or {"type": "abort"}')

    def question(self, answer: Answer) -> Sequence[bytes]:
        del answer
        return ()

    def start(self, answer: Answer) -> Sequence[bytes]:
        session_id = answer.echo or answer.asked.session_id
        generation_id = answer.asked.generation_id
        return [write(type="start", session_id=session_id, generation_id=generation_id)]

    def event(self, answer: Answer, event: Event, position: Position) -> Sequence[bytes]:
        match event:
            case Start():
                return self.start(answer)
            case Token():
                return [write(type="token", text=event.text)]
            case Reset():
                return [reset_frame(answer, event, position)]
            case _:
                return ()

    def needs_row(self, answer: Answer, end: Event) -> bool:
        del answer
        return not isinstance(end, Failed)

    def end(self, answer: Answer, end: Event, row: Generation | None) -> Sequence[bytes]:
        match end:
            case Failed():
                return [failed_frame(answer, end)]
            case End() | Aborted():
                assert row is not None
                return [write(type=end.type, full_text=row.text)]
            case Start() | Token() | ToolCall() | Reset():
                raise ValueError(end.type)
            case _:
                assert_never(end)

    def cache_key(self, answer: Answer) -> str | None:
        del answer  # it has one reader
        return None
