"""Exports of what a user has, as streams of bytes that take the same memory however long."""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from runnel.chat.entities import SessionRef
from runnel.chat.sessions.export_json import json_document, json_lines
from runnel.chat.sessions.export_pages import ExportStore, FileReader, Pages, Whole
from runnel.chat.sessions.export_text import markdown, text
from runnel.errors import Code, RunnelError

#: How many exports one user may read at a time from one instance.
MOST_AT_A_TIME: Final = 2
_RETRY_SECONDS: Final = 10


class ExportFormat(StrEnum):
    """`json` and `jsonl` can be imported again; the others are for people."""

    JSON = "json"
    JSONL = "jsonl"
    MARKDOWN = "markdown"
    TEXT = "text"


_WRITERS: Final[
    Mapping[ExportFormat, Callable[[Pages, AsyncGenerator[Whole]], AsyncGenerator[bytes]]]
] = {
    ExportFormat.JSON: json_document,
    ExportFormat.JSONL: json_lines,
    ExportFormat.MARKDOWN: markdown,
    ExportFormat.TEXT: text,
}


@dataclass(frozen=True, slots=True)
class Export:
    """An export that can be read once. `name` says of what: a session's name or id, or `sessions`.

    Reading `chunks` raises RunnelError where it cannot go on: what was read then is not whole.
    """

    name: str
    chunks: AsyncGenerator[bytes]


class Exporting:
    """Begins exports."""

    def __init__(self, store: ExportStore, files: FileReader) -> None:
        self._store = store
        self._pages = Pages(store, files)
        self._reading = dict[str, int]()

    async def begin(self, user_id: str, ref: SessionRef, form: ExportFormat) -> Export:
        """One session's, or everything of a user where none is named.

        Raises RunnelError `not_found`, or `store_unavailable`.
        """
        if ref == SessionRef():
            first = await self._store.sessions(user_id, None)
            sessions = self._pages.sessions(user_id, first)
            return Export("sessions", _WRITERS[form](self._pages, sessions))
        whole = await self._store.session(user_id, ref)
        if whole is None:
            raise RunnelError(Code.NOT_FOUND, "There is no such session.")
        name = whole.session.name or whole.session.session_id
        return Export(name, _WRITERS[form](self._pages, _only(whole)))

    @contextmanager
    def place(self, user_id: str) -> Generator[None]:
        """Inside, a user reads an export. Raises RunnelError `rate_limited` where it reads enough."""
        reading = self._reading.get(user_id, 0)
        if reading >= MOST_AT_A_TIME:
            raise RunnelError(
                Code.RATE_LIMITED,
                f"At most {MOST_AT_A_TIME} exports at a time. Wait for one to end.",
                retry_after=_RETRY_SECONDS,
            )
        self._reading[user_id] = reading + 1
        try:
            yield
        finally:
            self._reading[user_id] -= 1
            if not self._reading[user_id]:
                del self._reading[user_id]


async def _only(whole: Whole) -> AsyncGenerator[Whole]:
    yield whole
