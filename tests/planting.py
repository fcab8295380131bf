"""Sessions of every kind, planted into a database: trees with forks, answers in all states."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert

from runnel.chat.attachments.names import file_name
from runnel.chat.entities import INTERRUPTED, Status
from runnel.store.engine import Database
from runnel.store.ids import new_id
from runnel.store.tables import (
    AttachmentRow,
    GenerationRow,
    MessageAttachmentRow,
    MessageRow,
    SessionRow,
)

_BEGINNING = datetime(2026, 1, 31, 12, tzinfo=UTC)
_ROWS_AT_A_TIME = 500
_ROLES = ("user", "assistant", "system")


@dataclass
class Files:
    """The bytes of attachments, in memory."""

    kept: dict[str, bytes]

    async def read(self, attachment_id: str) -> bytes | None:
        return self.kept.get(attachment_id)

    async def keep(self, attachment: Any, content: bytes) -> None:
        self.kept[attachment.attachment_id] = content

    async def delete(self, attachment_ids: Sequence[str]) -> None:
        for attachment_id in attachment_ids:
            self.kept.pop(attachment_id, None)


class Garden:
    """Makes rows by a seed. `texts` are what is said, over and over."""

    def __init__(self, seed: int, texts: Sequence[str]) -> None:
        self._random = random.Random(seed)
        self._texts = [*texts, ""]

    async def plant(
        self, database: Database, user_id: str, files: Files, *, sessions: int, messages: int
    ) -> list[str]:
        """So many sessions, each with up to so many messages; their ids."""
        return [
            await self._session(database, user_id, files, number, messages)
            for number in range(sessions)
        ]

    async def _session(
        self, database: Database, user_id: str, files: Files, number: int, most: int
    ) -> str:
        session_id = new_id()
        rows = self._messages(session_id, self._random.randint(0, most))
        attachments = self._attachments(session_id, user_id, files) if rows else []
        linked = [
            {"message_id": row["id"], "attachment_id": each["id"], "ordinal": ordinal}
            for row in self._some(rows, 3)
            for ordinal, each in enumerate(self._some(attachments, 3))
        ]
        made = [self._generation(user_id, row, rows) for row in rows if row["role"] == "assistant"]
        made = [each for each in made if each is not None]
        session = self._row(session_id, user_id, number)
        session["leaf_id"] = self._random.choice(rows)["id"] if rows else None
        planted: list[tuple[Any, list[dict[str, Any]]]] = [
            (SessionRow, [session]),
            (AttachmentRow, attachments),
            (MessageRow, rows),
            (GenerationRow, made),
            (MessageAttachmentRow, linked),
        ]
        for table, values in planted:
            for begin in range(0, len(values), _ROWS_AT_A_TIME):
                async with database.write() as connection:
                    await connection.execute(insert(table), values[begin : begin + _ROWS_AT_A_TIME])
        return session_id

    def _row(self, session_id: str, user_id: str, number: int) -> dict[str, Any]:
        begun = self._time()
        return {
            "id": session_id,
            "user_id": user_id,
            "name": self._maybe(f"name:{number}.{self._random.randrange(10**9)}"),
            "hidden": False,
            # Some begin at the same moment.
            "started_at": begun if number % 3 else _BEGINNING,
            "last_activity": self._time(),
            "closed_at": self._maybe(self._time()),
            "title": self._maybe(self._text()),
            "title_by": self._maybe(self._random.choice(("question", "asking", "model", "user"))),
            "project_id": self._maybe("a project"),
            "model_preference": self._maybe("chat/test"),
            "language": self._maybe("pt-BR"),
            "stream_responses": self._random.random() < 0.5,
            "system_prompt": self._maybe(self._text()),
            "user_agent": self._maybe("curl/8"),
            "ip_address": self._maybe("::1"),
            "client_version": self._maybe(self._text()),
        }

    def _messages(self, session_id: str, count: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        continued: set[str] = set()
        for _ in range(count):
            parent = self._parent(rows)
            message_id = new_id()
            goes_on = parent is not None and parent["id"] not in continued
            if parent is not None:
                continued.add(parent["id"])
            rows.append(
                {
                    "id": message_id,
                    "session_id": session_id,
                    "parent_id": parent and parent["id"],
                    "role": self._random.choice(_ROLES),
                    "content": self._text(),
                    "created_at": self._time(),
                    "stem_id": parent["stem_id"] if parent and goes_on else message_id,
                    "depth": 0 if parent is None else parent["depth"] + 1,
                    "helpful": self._random.choice((None, True, False)),
                    "rating": self._random.choice((None, 1, 5)),
                }
            )
        return rows

    def _parent(self, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Mostly the last; now and then any of them, or another beginning."""
        if not rows or self._random.random() < 0.05:
            return None
        return self._random.choice(rows) if self._random.random() < 0.2 else rows[-1]

    def _generation(
        self, user_id: str, row: dict[str, Any], rows: Sequence[dict[str, Any]]
    ) -> dict[str, Any] | None:
        question = next((each for each in rows if each["id"] == row["parent_id"]), None)
        if question is None:
            return None
        status = self._random.choice([each for each in Status if each.terminal])
        broken = status in (Status.FAILED, Status.INTERRUPTED)
        return {
            "id": new_id(),
            "user_id": user_id,
            "session_id": row["session_id"],
            "message_id": row["id"],
            "user_message_id": question["id"],
            "model": "chat/test",
            "provider": "openai",
            "provider_model": "test",
            "params": self._random.choice(
                ({}, {"temperature": 0.1, "stop": ["\u2028", "b"]}, {"seed": -(2**63)})
            ),
            "context": self._maybe(
                {"messages": 3, "left_out": 2, "attachments_cut": 1, "attachments_left_out": 0}
            ),
            "agent": self._maybe("node"),
            "status": status,
            "owner": new_id(),
            "fence": self._random.randint(1, 4),
            "epoch": self._random.randint(1, 3),
            "last_offset": self._random.randint(1, 10**6),
            "finish_reason": "stop" if status is Status.COMPLETED else None,
            "aborted_by": "user" if status is Status.ABORTED else None,
            "error_code": INTERRUPTED.code if broken else None,
            "error_message": self._text() if broken else None,
            "error_retryable": True if broken else None,
            "error_retry_after": self._maybe(0.1) if broken else None,
            "prompt_tokens": self._random.randrange(10**6),
            "completion_tokens": self._random.randrange(10**6),
            "usage_source": self._random.choice(("provider", "estimated")),
            "cost": self._maybe(self._random.random() / 7),
            "created_at": self._time(),
            "first_token_ms": self._maybe(12),
            "latency_ms": self._maybe(900),
        }

    def _attachments(self, session_id: str, user_id: str, files: Files) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        for _ in range(self._random.randint(0, 4)):
            content = self._text().encode()
            attachment_id = new_id()
            files.kept[attachment_id] = content
            made.append(
                {
                    "id": attachment_id,
                    "user_id": user_id,
                    "session_id": session_id,
                    "name": file_name(self._text()),
                    "media_type": "text/plain",
                    "bytes": len(content),
                    "width": None,
                    "height": None,
                    "characters": self._maybe(3),
                    "created_at": self._time(),
                }
            )
        return made

    def _some(self, values: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
        return self._random.sample(values, self._random.randint(0, min(most, len(values))))

    def _text(self) -> str:
        return self._random.choice(self._texts)

    def _time(self) -> datetime:
        micros = self._random.choice((0, 1, 120_000, self._random.randrange(10**15)))
        return _BEGINNING + timedelta(microseconds=micros)

    def _maybe(self, value: Any) -> Any:
        return value if self._random.random() < 0.6 else None
