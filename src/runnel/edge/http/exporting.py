"""`POST /api/chat/export`: a session, or all that one has, as a download."""

import asyncio
import re
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from runnel.chat.sessions.exporting import Export, ExportFormat
from runnel.chat.sessions.refs import session_ref
from runnel.edge.deps import SIGNED_IN, AppParts, Caller
from runnel.edge.http.downloading import Download
from runnel.edge.http.shapes import Responses
from runnel.edge.route import UserRoute

_MEDIA_TYPES: Final = {
    ExportFormat.JSON: "application/json",
    ExportFormat.JSONL: "application/x-ndjson",
    ExportFormat.MARKDOWN: "text/markdown; charset=utf-8",
    ExportFormat.TEXT: "text/plain; charset=utf-8",
}
_EXTENSIONS: Final = {
    ExportFormat.JSON: "json",
    ExportFormat.JSONL: "jsonl",
    ExportFormat.MARKDOWN: "md",
    ExportFormat.TEXT: "txt",
}
#: A name of a session may hold a colon, which some systems take for a drive.
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")
_FILE: Final[Responses] = {
    200: {
        "description": "The file. It is whole only if the connection was not cut.",
        "content": {
            media_type.partition(";")[0]: {"schema": {"type": "string"}}
            for media_type in _MEDIA_TYPES.values()
        },
    }
}

router = APIRouter(
    prefix="/api/chat", route_class=UserRoute, tags=["sessions"], dependencies=[*SIGNED_IN]
)


class ExportBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    session_id: str | None = Field(
        default=None, description="A session's id or name; without it, all sessions."
    )
    format: ExportFormat = Field(
        description="`json` and `jsonl` can be imported again; the others are for people."
    )


@router.post("/export", response_class=Response, responses=_FILE)
async def export(parts: AppParts, caller: Caller, body: ExportBody) -> Response:
    """Download a session, or everything, with all branches. Two at a time.

    Where the download breaks off, the connection is cut, so that no part passes for the whole.
    """
    ref = session_ref(body.session_id, caller.username)
    closed = asyncio.Event()
    with ExitStack() as stack:
        stack.enter_context(parts.exporting.place(caller.user_id))
        found = await parts.exporting.begin(caller.user_id, ref, body.format)
        first = await anext(found.chunks)
        stack.enter_context(parts.watch.holding(caller, closed.set))
        return Download(
            first,
            found.chunks,
            filename=_filename(found, body.format),
            media_type=_MEDIA_TYPES[body.format],
            closed=closed,
            held=stack.pop_all(),
            send_timeout_seconds=parts.settings.send_timeout_seconds,
        )
    raise AssertionError  # ExitStack swallows nothing


def _filename(found: Export, form: ExportFormat) -> str:
    name = _UNSAFE.sub("_", found.name)
    return f"runnel-{name}-{datetime.now(UTC):%Y%m%d}.{_EXTENSIONS[form]}"
