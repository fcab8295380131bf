"""What reaches the log comes from anybody: it forges nothing, and takes no time."""

import time
from typing import cast

import pytest
import structlog

from runnel.telemetry.logs import _redactor
from runnel.telemetry.plain_lines import plain_lines

REDACT = _redactor(["a canary secret"])


def redacted(text: str) -> str:
    event = cast("dict[str, str]", REDACT(None, "info", {"path": text}))
    return event["path"]


@pytest.mark.parametrize(
    "text",
    [
        "-eyJ" * 16_000,
        "eyJ" + "a" * 64_000,
        "bearer " * 9_000,
        "bearer" + " " * 64_000,
        "sk-" * 21_000,
        "rnl_" * 16_000,
        ".-eyJa" * 10_000,
    ],
)
def test_no_text_takes_longer_than_its_length_to_clean(text: str) -> None:
    began = time.perf_counter()
    redacted(text)
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x a canary secret y", "x [secret] y"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [secret]"),
        ("?token=eyJhbGci.eyJzdWIi.c2ln&x", "?token=[secret]&x"),
        ("key rnl_0123456789abcdef.", "key [secret]."),
        ("sk-proj-0123456789", "[secret]"),
        ("desk-top asks", "desk-top asks"),
    ],
)
def test_what_is_or_looks_like_a_secret_is_cut_out(text: str, kept: str) -> None:
    assert redacted(text) == kept


@pytest.mark.parametrize("control", ["\r", "\n", "\x1b", "\x9b", "\x85", "\u2028", "\u202e"])
def test_what_would_forge_a_line_or_drive_a_terminal_is_escaped(control: str) -> None:
    assert control not in redacted(f"a{control}b")


@pytest.mark.parametrize("secret", ["a canary secret", "bearer abc"])
def test_a_secret_is_cut_out_wherever_in_a_line_it_is(secret: str) -> None:
    shown = REDACT(None, "info", {"path": "/", "status": 200, "why": ValueError(secret)})
    assert "[secret]" in str(cast("dict[str, object]", shown)["why"])
    assert "canary" not in str(shown)
    assert "abc" not in str(shown)


HEAD = {"timestamp": "2026-01-01T00:00:00Z", "level": "info", "logger": "runnel.edge.requests"}


@pytest.mark.parametrize(
    "event",
    [
        HEAD | {"event": "request", "status": 200, "ms": 1.5, "code": None, "ok": True},
        HEAD | {"event": "request", "path": "/a b", "key": "a=b", "quoted": "'", "empty": ""},
        HEAD | {"event": "request"},
        HEAD | {"event": "a name as long as no event has one of ours", "z": "last", "a": "first "},
        HEAD | {"event": 7, "level": "critical", "listed": ["a"], "tab": "a\tb"},
        HEAD | {"event": "failed", "exception": "Traceback\n  of it", "a": 1},
        HEAD | {"event": "failed", "stack": "Stack", "a": 1},
        HEAD | {"event": "named", "logger_name": "too"},
        {"event": "no more"},
    ],
)
def test_lines_are_as_structlog_writes_them(event: dict[str, object]) -> None:
    theirs = structlog.dev.ConsoleRenderer(colors=False)
    assert plain_lines()(None, "info", {**event}) == theirs(None, "info", {**event})
