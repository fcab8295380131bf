"""How exports for people look: who spoke, when, and where a branch leaves another."""

import base64
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import pytest

from planting import Files
from runnel.chat.entities import SessionRef
from runnel.chat.sessions.exporting import ExportFormat, Exporting
from runnel.chat.sessions.import_reading import read_export
from runnel.chat.sessions.importing import Importing
from runnel.store.accounts import SqlAccountStore
from runnel.store.engine import Database
from runnel.store.exporting import SqlExports
from runnel.store.ids import now
from runnel.store.importing import SqlImports

Json = dict[str, Any]
Tell = Callable[[ExportFormat], Awaitable[str]]
TIME: Final = "2026-01-31T12:00:00.000123Z"
CONTENT: Final = b"x" * 1234


def full(name: str) -> str:
    """`m1` as an id."""
    return f"01a21f32-0000-7000-8000-{ord(name[0]):09d}{int(name[1:]):03d}"


SESSION: Final[Json] = {
    "type": "session",
    "session_id": full("s1"),
    "name": "a:talk",
    "title": "A title\n# of two lines",
    "title_by": "user",
    "project_id": "p",
    "started_at": TIME,
    "last_activity": TIME.replace("01-31", "02-01"),
    "closed_at": None,
    "settings": {
        "model_preference": None,
        "language": None,
        "stream_responses": True,
        "system_prompt": None,
    },
    "metadata": {"user_agent": None, "ip_address": None, "client_version": None},
    "active_message_id": full("m2"),
}
FILE: Final[Json] = {
    "type": "attachment",
    "attachment_id": full("f1"),
    "name": "no tes.txt",
    "media_type": "text/plain",
    "bytes": len(CONTENT),
    "width": None,
    "height": None,
    "characters": 3,
    "created_at": TIME,
    "data": base64.b64encode(CONTENT).decode(),
}


def said(name: str, parent: str | None, role: str, content: str, status: str | None = None) -> Json:
    return {
        "type": "message",
        "message_id": full(name),
        "session_id": full("s1"),
        "parent_id": parent and full(parent),
        "role": role,
        "content": content,
        "timestamp": TIME.replace("00.", f"0{name[1]}."),
        "reactions": {"helpful": None, "rating": None},
        "attachments": [full("f1")] if name == "m1" else [],
        "generation": status and made(name, status),
    }


def made(name: str, status: str) -> Json:
    error = {"code": "upstream_error", "message": "It\nfailed.", "retryable": True}
    return {
        "generation_id": full(name.replace("m", "g")),
        "user_message_id": full("m1"),
        "model": "chat/test",
        "provider": "openai",
        "provider_model": "test",
        "agent": None,
        "params": {},
        "context": None,
        "status": status,
        "position": "1-1",
        "finish_reason": "stop",
        "aborted_by": None,
        "error": error | {"retry_after": None} if status == "failed" else None,
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "source": "provider", "cost": None},
        "created_at": TIME,
        "first_token_ms": None,
        "latency_ms": None,
    }


TALK: Final[list[Json]] = [
    {"runnel_export": 1},
    SESSION,
    FILE,
    said("m1", None, "user", "What?\n### User · 2026"),
    said("m2", "m1", "assistant", "An answer.", "completed"),
    said("m3", "m1", "assistant", "Another: ```\n```py\nprint(1)", "aborted"),
    said("m4", "m3", "assistant", "", "failed"),
    said("m5", None, "system", "Be kind."),
    said("m6", "m5", "user", ""),
    {"type": "end"},
]


@pytest.fixture
async def talk(database_url: str) -> AsyncIterator[Tell]:
    """Tells the talk above, in a format, with ids as they are in it."""
    database = Database(database_url, pool_size=2, timeout_seconds=5)
    user = await SqlAccountStore(database).add_user("ada", "", "user", now())
    assert user
    files = Files({})
    importing = Importing(SqlImports(database), files, user.id, user.username, pytest.fail)
    lines = "\n".join(map(json.dumps, TALK)).encode()
    await importing.run(read_export(io.BytesIO(lines)))

    async def tell(form: ExportFormat) -> str:
        export = await Exporting(SqlExports(database), files).begin(user.id, SessionRef(), form)
        told = b"".join([each async for each in export.chunks]).decode()
        for name in ("s1", *(f"m{number}" for number in range(1, 7))):
            told = told.replace(full(name), name)
        return told

    yield tell
    await database.close()


async def test_markdown_tells_the_active_branch_and_then_what_grows_beside_it(talk: Tell) -> None:
    assert (
        await talk(ExportFormat.MARKDOWN)
        == """\
# A title # of two lines

- Session: s1 (a:talk)
- Begun: 2026-01-31 12:00:00 UTC
- Last activity: 2026-02-01 12:00:00 UTC
- Project: p

<!-- message m1 -->
### User · 2026-01-31 12:00:01 UTC

Attached: no tes.txt (text/plain, 1,234 bytes)

What?
### User · 2026

<!-- message m2 -->
### Assistant (chat/test) · 2026-01-31 12:00:02 UTC

An answer.

---

## Another beginning

<!-- message m5 -->
### System · 2026-01-31 12:00:05 UTC

Be kind.

<!-- message m6 -->
### User · 2026-01-31 12:00:06 UTC

---

## Another branch, after User, 2026-01-31 12:00:01 UTC: “What? ### User · 2026…”

<!-- message m3 -->
### Assistant (chat/test, aborted) · 2026-01-31 12:00:03 UTC

Another: ```
```py
print(1)
```

<!-- message m4 -->
### Assistant (chat/test, failed: It failed.) · 2026-01-31 12:00:04 UTC
"""
    )


async def test_text_tells_the_same(talk: Tell) -> None:
    assert (
        await talk(ExportFormat.TEXT)
        == """\
A title # of two lines
======================
Session: s1 (a:talk)
Begun: 2026-01-31 12:00:00 UTC
Last activity: 2026-02-01 12:00:00 UTC
Project: p

--- User, 2026-01-31 12:00:01 UTC, message m1 ---
[attached: no tes.txt (text/plain, 1,234 bytes)]
What?
### User · 2026

--- Assistant (chat/test), 2026-01-31 12:00:02 UTC, message m2 ---
An answer.


====== Another beginning ======

--- System, 2026-01-31 12:00:05 UTC, message m5 ---
Be kind.

--- User, 2026-01-31 12:00:06 UTC, message m6 ---


====== Another branch, after User, 2026-01-31 12:00:01 UTC: “What? ### User · 2026…” ======

--- Assistant (chat/test, aborted), 2026-01-31 12:00:03 UTC, message m3 ---
Another: ```
```py
print(1)

--- Assistant (chat/test, failed: It failed.), 2026-01-31 12:00:04 UTC, message m4 ---
"""
    )
