"""What the three dialects make of a client's frames: commands, or what is wrong, by its name."""

from typing import Any, Final

import pytest

from runnel.edge.dialects.completions import CompletionsDialect
from runnel.edge.dialects.session_channel import SessionDialect
from runnel.edge.dialects.sockets import (
    Aborting,
    Asking,
    BeingTyped,
    Command,
    Resuming,
    SocketDialect,
)
from runnel.edge.dialects.user_channel import UserDialect
from runnel.errors import Code, RunnelError
from runnel.events import Position

COMPLETIONS: Final = CompletionsDialect()
SESSION: Final = SessionDialect()
USER: Final = UserDialect()


def refused(dialect: SocketDialect, frame: dict[str, Any]) -> RunnelError:
    with pytest.raises(RunnelError) as error:
        dialect.command(frame)
    assert error.value.code is Code.INVALID_REQUEST
    assert not error.value.retryable
    return error.value


@pytest.mark.parametrize(
    ("dialect", "frame", "body"),
    [
        (COMPLETIONS, {"question": "why?"}, {"message": "why?"}),
        (COMPLETIONS, {"question": "why?", "type": "question"}, {"message": "why?"}),
        (
            COMPLETIONS,
            {
                "question": "why?",
                "session_id": "sessao-teste-1",
                "model": "chat/test",
                "params": {"seed": 1},
                "client_message_id": "k",
            },
            {
                "message": "why?",
                "session_id": "sessao-teste-1",
                "model": "chat/test",
                "params": {"seed": 1},
                "client_message_id": "k",
            },
        ),
        (
            SESSION,
            {
                "type": "message",
                "content": "why?",
                "metadata": {"any": ["thing"]},
                "timestamp": 5,
                "stream": False,
                "model": "chat/test",
                "params": {},
                "client_message_id": "k",
            },
            {
                "message": "why?",
                "stream": False,
                "model": "chat/test",
                "params": {},
                "client_message_id": "k",
            },
        ),
        (USER, {"action": "send_message", "content": "why?"}, {"message": "why?"}),
        (
            USER,
            {"action": "send_message", "chat_id": 123, "content": "why?", "model": "chat/test"},
            {"session_id": "123", "message": "why?", "model": "chat/test"},
        ),
        (
            USER,
            {"action": "send_message", "chat_id": -7, "content": "why?", "params": {"seed": 1}},
            {"session_id": "-7", "message": "why?", "params": {"seed": 1}},
        ),
        (
            USER,
            {
                "action": "send_message",
                "chat_id": "trip",
                "content": "?",
                "client_message_id": "k",
            },
            {"session_id": "trip", "message": "?", "client_message_id": "k"},
        ),
    ],
)
def test_a_question_is_the_same_under_three_names(
    dialect: SocketDialect, frame: dict[str, Any], body: dict[str, Any]
) -> None:
    command = dialect.command(frame)
    assert isinstance(command, Asking)
    assert command.body == body
    assert dialect.asks(frame)
    # What is null is as good as absent.
    nulls = dict.fromkeys(("params", "model", "client_message_id"))
    again = dialect.command(nulls | frame)
    assert isinstance(again, Asking)
    assert again.body == body


@pytest.mark.parametrize(
    ("dialect", "frame", "command"),
    [
        (COMPLETIONS, {"type": "abort"}, Aborting(None)),
        (SESSION, {"type": "abort"}, Aborting(None)),
        (SESSION, {"type": "abort", "generation_id": None}, Aborting(None)),
        (SESSION, {"type": "abort", "generation_id": "g"}, Aborting("g")),
        (SESSION, {"type": "resume", "generation_id": "g"}, Resuming("g", None)),
        (
            SESSION,
            {"type": "resume", "generation_id": "g", "after": "1-42"},
            Resuming("g", Position(1, 42)),
        ),
        (SESSION, {"type": "typing", "active": True}, BeingTyped(active=True)),
        (SESSION, {"type": "typing", "active": False}, BeingTyped(active=False)),
        (USER, {"action": "abort", "task_id": "g"}, Aborting("g")),
    ],
)
def test_what_else_a_frame_asks_for(
    dialect: SocketDialect, frame: dict[str, Any], command: Command
) -> None:
    assert dialect.command(frame) == command
    assert not dialect.asks(frame)


@pytest.mark.parametrize(
    ("dialect", "frame", "field"),
    [
        (COMPLETIONS, {}, "type"),
        (COMPLETIONS, {"type": "message", "content": "why?"}, "type"),
        (COMPLETIONS, {"type": ["abort"]}, "type"),
        (COMPLETIONS, {"question": None}, "question"),
        (COMPLETIONS, {"question": ""}, "question"),
        (COMPLETIONS, {"question": 5}, "question"),
        (COMPLETIONS, {"question": "?", "message": "?"}, "message"),
        (COMPLETIONS, {"question": "?", "temperature": 1}, "temperature"),
        (COMPLETIONS, {"question": "?", "stream": True}, "stream"),
        (COMPLETIONS, {"type": "abort", "generation_id": "g"}, "generation_id"),
        (SESSION, {}, "type"),
        (SESSION, {"type": 5}, "type"),
        (SESSION, {"type": "question"}, "type"),
        (SESSION, {"type": "message"}, "content"),
        (SESSION, {"type": "message", "content": ["?"]}, "content"),
        (SESSION, {"type": "message", "content": ""}, "content"),
        (SESSION, {"type": "message", "content": "?", "session_id": "s"}, "session_id"),
        (SESSION, {"type": "message", "content": "?", "message": "?"}, "message"),
        (SESSION, {"type": "abort", "generation_id": 5}, "generation_id"),
        (SESSION, {"type": "abort", "task_id": "g"}, "task_id"),
        (SESSION, {"type": "resume"}, "generation_id"),
        (SESSION, {"type": "resume", "generation_id": 5}, "generation_id"),
        (SESSION, {"type": "resume", "generation_id": "g", "after": 5}, "after"),
        (SESSION, {"type": "resume", "generation_id": "g", "after": ""}, "after"),
        (SESSION, {"type": "resume", "generation_id": "g", "after": "0-1"}, "after"),
        (SESSION, {"type": "resume", "generation_id": "g", "after": "1-01"}, "after"),
        (SESSION, {"type": "resume", "generation_id": "g", "after": "1-٣"}, "after"),
        (SESSION, {"type": "resume", "generation_id": "g", "from": "1-1"}, "from"),
        (SESSION, {"type": "typing"}, "active"),
        (SESSION, {"type": "typing", "active": 1}, "active"),
        (SESSION, {"type": "typing", "active": True, "who": "me"}, "who"),
        (USER, {}, "action"),
        (USER, {"type": "message", "content": "?"}, "action"),
        (USER, {"action": ["abort"]}, "action"),
        (USER, {"action": "send_message", "chat_id": 1}, "content"),
        (USER, {"action": "send_message", "chat_id": 1, "content": 1}, "content"),
        (USER, {"action": "send_message", "chat_id": 1.5, "content": "?"}, "chat_id"),
        (USER, {"action": "send_message", "chat_id": True, "content": "?"}, "chat_id"),
        (USER, {"action": "send_message", "chat_id": ["1"], "content": "?"}, "chat_id"),
        (USER, {"action": "send_message", "session_id": "1", "content": "?"}, "session_id"),
        (USER, {"action": "send_message", "content": "?", "stream": True}, "stream"),
        (USER, {"action": "abort"}, "task_id"),
        (USER, {"action": "abort", "task_id": 5}, "task_id"),
        (USER, {"action": "abort", "task_id": "g", "chat_id": 1}, "chat_id"),
    ],
)
def test_what_is_wrong_is_called_as_the_frame_calls_it(
    dialect: SocketDialect, frame: dict[str, Any], field: str
) -> None:
    error = refused(dialect, frame)
    assert error.field == field
    assert error.message.startswith(f"{field}: ")


def test_a_field_in_the_wrong_place_is_told_its_place() -> None:
    error = refused(USER, {"action": "send_message", "content": "?", "temperature": 1})
    assert error.message == 'temperature: belongs into `params`: {"params": {"temperature": …}}'
