"""`/ws/{user_id}`: the channel of one user over all chats, several of which may run at once."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from runnel.chat.entities import Generation
from runnel.chat.notices import Asked
from runnel.edge.dialects.chat_ids import chat_id
from runnel.edge.dialects.sockets import (
    Aborting,
    Answer,
    Command,
    Frame,
    OfNoSession,
    asking,
    failed_frame,
    invalid,
    refuse_unknown,
    reset_frame,
    text_member,
    write,
)
from runnel.events import Aborted, End, Event, Failed, Position, Reset, Start, Token

_MESSAGE: Final[Mapping[str, str | None]] = {
    "action": None,
    "chat_id": "session_id",
    "content": "message",
    "model": "model",
    "params": "params",
    "attachments": "attachments",
    "client_message_id": "client_message_id",
}


class UserDialect(OfNoSession):
    def asks(self, frame: Frame) -> bool:
        return frame.get("action") == "send_message"

    def command(self, frame: Frame) -> Command:
        match frame.get("action"):
            case "send_message":
                text_member(frame, "content")
                return asking({**frame, "chat_id": _chat(frame)}, _MESSAGE)
            case "abort":
                refuse_unknown(frame, ("action", "task_id"))
                return Aborting(text_member(frame, "task_id"))
            case _:
                raise invalid("action", "is send_message or abort")

    def question(self, answer: Answer) -> Sequence[bytes]:
        asked = answer.asked
        return [
            _message(asked, asked.user_message_id, asked.question, asked.asked_at, is_ai=False),
        ]

    def start(self, answer: Answer) -> Sequence[bytes]:
        asked = answer.asked
        return [write(type="task", task_id=asked.generation_id, chat_id=_chat_id(asked))]

    def event(self, answer: Answer, event: Event, position: Position) -> Sequence[bytes]:
        task = {"task_id": answer.asked.generation_id, "chat_id": _chat_id(answer.asked)}
        match event:
            case Start():
                return self.start(answer)
            case Token():
                return [write(type="token", token=event.text, **task)]
            case Reset():
                return [reset_frame(answer, event, position)]
            case _:
                return ()

    def needs_row(self, answer: Answer, end: Event) -> bool:
        del answer
        return isinstance(end, End)

    def end(self, answer: Answer, end: Event, row: Generation | None) -> Sequence[bytes]:
        asked = answer.asked
        match end:
            case End():
                assert row is not None
                return [_message(asked, asked.message_id, row.text, asked.asked_at, is_ai=True)]
            case Aborted():
                return [write(type="aborted", task_id=asked.generation_id, chat_id=_chat_id(asked))]
            case Failed():
                task = {"task_id": asked.generation_id, "chat_id": _chat_id(asked)}
                return [failed_frame(answer, end, **task)]
            case _:
                raise ValueError(end.type)

    def cache_key(self, answer: Answer) -> str | None:
        del answer
        return "ws-user"


def _chat_id(asked: Asked) -> str | int:
    return chat_id(asked.session_id, asked.session_name)


def _chat(frame: Frame) -> str | None:
    chat = frame.get("chat_id")
    if isinstance(chat, int) and not isinstance(chat, bool):
        return str(chat)
    if chat is None or isinstance(chat, str):
        return chat
    raise invalid("chat_id", "is a text, or an integer of 64 bits")


def _message(
    asked: Asked, message_id: str, content: str, timestamp: datetime, *, is_ai: bool
) -> bytes:
    message = {
        "id": message_id,
        "chat_id": _chat_id(asked),
        "content": content,
        "is_ai": is_ai,
        "timestamp": timestamp,
    }
    return write(type="message", message=message)
