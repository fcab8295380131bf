"""What the three dialects make of an answer: frames, member by member."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnel.chat.channels import RunningAnswer, SessionState
from runnel.chat.entities import Generation, Status
from runnel.chat.notices import Asked, Typing
from runnel.edge.dialects.chat_ids import chat_id
from runnel.edge.dialects.completions import CompletionsDialect
from runnel.edge.dialects.session_channel import SessionDialect
from runnel.edge.dialects.sockets import (
    Answer,
    Asking,
    SocketDialect,
    encode,
    error_frame,
)
from runnel.edge.dialects.user_channel import UserDialect
from runnel.errors import Code, RunnelError
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

COMPLETIONS: Final = CompletionsDialect()
SESSION: Final = SessionDialect()
USER: Final = UserDialect()
DIALECTS: Final = (COMPLETIONS, SESSION, USER)
USAGE: Final = Usage(12, 34, "provider")
AT: Final = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
STAMP: Final = "2026-01-02T03:04:05.678000Z"
ASKED: Final = Asked("user", "session", None, "generation", "message", "question", "why?", AT)
NAMED: Final = replace(ASKED, session_name="trip")
START: Final = Start("generation", "session", "message", "question", "chat/test")
TOKEN: Final = Token("tök\n\x1e")
END: Final = End("stop", USAGE, "chat/test", "openai", "test", 3, 1250, 95)
ABORTED: Final = Aborted("user", USAGE)
FAILED: Final = Failed("upstream_error", "It broke.", retryable=True)
ROW: Final = Generation(
    id="generation",
    user_id="user",
    session_id="session",
    message_id="message",
    user_message_id="question",
    model="chat/test",
    provider="openai",
    provider_model="test",
    status=Status.COMPLETED,
    fence=1,
    created_at=AT,
    text="all of it",
)
METADATA: Final = {
    "tokens_used": 46,
    "processing_time": 1.25,
    "agent_used": "chat/test",
    "finish_reason": "stop",
}
ERROR: Final = {
    "type": "error",
    "code": "upstream_error",
    "message": "It broke.",
    "retryable": True,
    "generation_id": "generation",
}
RESET: Final = {
    "type": "reset",
    "generation_id": "generation",
    "text": "so far",
    "position": "2-0",
}


def read(frames: Sequence[bytes]) -> list[Any]:
    return [json.loads(frame) for frame in frames]


def told(dialect: SocketDialect, event: Event, asked: Asked = ASKED, **answer: Any) -> list[Any]:
    position = Position(2, 0) if isinstance(event, Reset) else Position(1, 7)
    return read(dialect.event(Answer(asked, own=True, **answer), event, position))


def ended(dialect: SocketDialect, end: Event, asked: Asked = ASKED, **answer: Any) -> list[Any]:
    about = Answer(asked, own=True, **answer)
    row = ROW if dialect.needs_row(about, end) else None
    return read(dialect.end(about, end, row))


def test_completions_frames_have_these_members() -> None:
    assert read(COMPLETIONS.connected("c", None)) == []
    assert read(COMPLETIONS.question(Answer(ASKED, own=True))) == []
    assert told(COMPLETIONS, START, echo="as sent") == [
        {"type": "start", "session_id": "as sent", "generation_id": "generation"}
    ]
    assert told(COMPLETIONS, START, NAMED) == [
        {"type": "start", "session_id": "session", "generation_id": "generation"}
    ]
    assert told(COMPLETIONS, TOKEN) == [{"type": "token", "text": TOKEN.text}]
    assert told(COMPLETIONS, Reset("so far")) == [RESET]
    assert ended(COMPLETIONS, END) == [{"type": "end", "full_text": "all of it"}]
    assert ended(COMPLETIONS, ABORTED) == [{"type": "aborted", "full_text": "all of it"}]
    assert ended(COMPLETIONS, FAILED) == [ERROR]


def test_session_frames_have_these_members() -> None:
    assert told(SESSION, START) == [
        {"type": "stream_start", "message_id": "message", "generation_id": "generation"}
    ]
    assert told(SESSION, TOKEN) == [
        {
            "type": "stream_chunk",
            "content": TOKEN.text,
            "message_id": "message",
            "position": "1-7",
        }
    ]
    assert told(SESSION, Reset("so far")) == [RESET]
    assert ended(SESSION, END) == [
        {"type": "stream_end", "message_id": "message", "metadata": METADATA}
    ]
    assert ended(SESSION, ABORTED) == [
        {"type": "aborted", "generation_id": "generation", "message_id": "message"}
    ]
    assert ended(SESSION, FAILED) == [ERROR]
    typing = Typing("user", "session", "connection", active=True)
    assert read(SESSION.typing(typing)) == [
        {"type": "typing", "active": True, "connection_id": "connection", "user_id": "user"}
    ]


def test_an_answer_that_is_shown_whole_is_one_frame() -> None:
    for event in (START, TOKEN, Reset("so far")):
        assert told(SESSION, event, whole=True) == []
    assert ended(SESSION, END, whole=True) == [
        {
            "type": "message",
            "message_id": "message",
            "content": "all of it",
            "metadata": METADATA,
        }
    ]
    assert ended(SESSION, ABORTED, whole=True) == ended(SESSION, ABORTED)
    assert ended(SESSION, FAILED, whole=True) == ended(SESSION, FAILED)


@pytest.mark.parametrize(
    ("running", "shown"),
    [
        (None, None),
        (
            RunningAnswer("generation", "message", None),
            {"generation_id": "generation", "message_id": "message", "position": None},
        ),
        (
            RunningAnswer("generation", "message", Position(2, 42)),
            {"generation_id": "generation", "message_id": "message", "position": "2-42"},
        ),
    ],
)
def test_who_is_connected_is_told_how_the_session_stands(
    running: RunningAnswer | None, shown: Any
) -> None:
    state = SessionState("session", "last", running)
    assert read(SESSION.connected("connection", state)) == [
        {
            "type": "connected",
            "session_id": "session",
            "connection_id": "connection",
            "last_message_id": "last",
            "running": shown,
        }
    ]


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("own", [True, False])
def test_a_question_is_told_to_the_others_and_to_whoever_gave_it_a_key(
    own: bool,  # noqa: FBT001 - a parameter of the test's
    key: str | None,
) -> None:
    saved = {
        "type": "message_saved",
        "message_id": "question",
        "client_message_id": key,
        "role": "user",
        "content": "why?",
    }
    frames = read(SESSION.question(Answer(replace(ASKED, key=key), own=own)))
    assert frames == ([] if own and key is None else [saved])


def test_user_frames_have_these_members() -> None:
    assert read(USER.connected("c", None)) == []
    assert read(USER.typing(Typing("user", "session", "connection", active=True))) == []
    task = {"task_id": "generation", "chat_id": "trip"}
    for own in (True, False):
        assert read(USER.question(Answer(NAMED, own=own))) == [
            {
                "type": "message",
                "message": {
                    "id": "question",
                    "chat_id": "trip",
                    "content": "why?",
                    "is_ai": False,
                    "timestamp": STAMP,
                },
            }
        ]
    assert told(USER, START, NAMED) == [{"type": "task", **task}]
    assert told(USER, TOKEN, NAMED) == [{"type": "token", "token": TOKEN.text, **task}]
    assert told(USER, Reset("so far"), NAMED) == [RESET]
    assert ended(USER, END, NAMED) == [
        {
            "type": "message",
            "message": {
                "id": "message",
                "chat_id": "trip",
                "content": "all of it",
                "is_ai": True,
                "timestamp": STAMP,
            },
        }
    ]
    assert ended(USER, ABORTED, NAMED) == [{"type": "aborted", **task}]
    assert ended(USER, FAILED, NAMED) == [ERROR | task]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (None, "session"),
        ("trip", "trip"),
        ("0", 0),
        ("123", 123),
        ("-7", -7),
        ("007", "007"),
        ("-0", "-0"),
        ("1.0", "1.0"),
        ("1e5", "1e5"),
        ("--1", "--1"),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**64 - 1), 2**64 - 1),
        (str(2**64), str(2**64)),
        (str(-(2**63)), -(2**63)),
        (str(-(2**63) - 1), str(-(2**63) - 1)),
        ("9" * 128, "9" * 128),
    ],
)
def test_a_chat_is_called_by_its_name_and_an_integer_as_a_number(
    name: str | None, shown: str | int
) -> None:
    asked = replace(ASKED, session_name=name)
    assert chat_id("session", name) == shown
    assert told(USER, START, asked)[0]["chat_id"] == shown


@settings(deadline=None)
@given(st.integers(-(2**63), 2**64 - 1))
def test_whatever_integer_comes_in_goes_out(number: int) -> None:
    frame = {"action": "send_message", "chat_id": number, "content": "?"}
    command = USER.command(frame)
    assert isinstance(command, Asking)
    named = replace(ASKED, session_name=command.body["session_id"])
    assert told(USER, START, named)[0]["chat_id"] == number


def test_what_a_dialect_has_no_words_for_is_not_told() -> None:
    call = ToolCall(0, "id", "name", "{}")
    for dialect in DIALECTS:
        assert told(dialect, call) == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_no_end_cannot_end(dialect: SocketDialect) -> None:
    with pytest.raises(ValueError, match="token"):
        dialect.end(Answer(ASKED, own=True), TOKEN, ROW)


@pytest.mark.parametrize("dialect", [SESSION, USER])
def test_the_frames_of_a_batch_are_written_once_for_all_devices(dialect: SocketDialect) -> None:
    batch = Batch(1, 0, (START, Token("a"), Token("b\nc"), END), frames={})
    own, other = Answer(NAMED, own=True, echo="x"), Answer(replace(NAMED, key="k"), own=False)
    first = encode(dialect, own, batch)
    assert len(read(first)) == 3, "the end is written apart"
    assert batch.frames is not None
    assert len(batch.frames) == 1
    kept = dict(batch.frames)
    assert list(encode(dialect, other, batch)) == list(first)
    assert batch.frames == kept


def test_what_is_shown_whole_is_kept_apart() -> None:
    batch = Batch(1, 0, (START, Token("a")), frames={})
    assert encode(SESSION, Answer(ASKED, own=True, whole=True), batch) == []
    assert len(encode(SESSION, Answer(ASKED, own=True), batch)) == 2
    assert list(encode(SESSION, Answer(ASKED, own=True, whole=True), batch)) == []


def test_each_event_of_a_batch_has_its_own_position() -> None:
    batch = Batch(3, 5, (Token("a"), ToolCall(0, None, None, ""), Token("b"), END), frames=None)
    frames = read(encode(SESSION, Answer(ASKED, own=True), batch))
    assert [frame["position"] for frame in frames] == ["3-5", "3-7"]


def test_the_echo_is_written_for_each_reader_anew() -> None:
    batch = Batch(1, 0, (START,), frames={})
    shown = [
        read(encode(COMPLETIONS, Answer(ASKED, own=True, echo=echo), batch))[0]["session_id"]
        for echo in ("one", "two", None)
    ]
    assert shown == ["one", "two", "session"]


def test_a_fault_says_what_it_is_and_no_more() -> None:
    assert read([error_frame(RunnelError(Code.NOT_FOUND, "No."))]) == [
        {"type": "error", "code": "not_found", "message": "No.", "retryable": False}
    ]
    full = RunnelError(Code.BUSY, "Wait.", retry_after=1, facts={"generation_id": "g"})
    assert read([error_frame(full, client_message_id="k", absent=None)]) == [
        {
            "type": "error",
            "code": "busy",
            "message": "Wait.",
            "retryable": True,
            "retry_after": 1,
            "generation_id": "g",
            "client_message_id": "k",
        }
    ]
