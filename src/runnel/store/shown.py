"""What reads generations: as the chat core sees them, alone or in pages."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Row, String, bindparam, func, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import LIVE, Context, Failure, Generation, Status
from runnel.chat.ports import Seen
from runnel.errors import Code
from runnel.events import FinishReason, Position, Usage
from runnel.store import pages
from runnel.store.statements import Statement
from runnel.store.tables import CheckpointRow, GenerationRow, MessageRow, SessionRow

LIVE_STATES: Final = tuple(status.value for status in LIVE)
#: In the words of the index `uq_generations_live_session`: where values are bound, no database
#: sees that it is of use.
IS_LIVE: Final = GenerationRow.status.in_(
    [literal_column(f"'{status}'", String()) for status in ("queued", "running")]
)


_LIVE: Final = Statement(
    select(GenerationRow.id).where(GenerationRow.session_id == bindparam("session_id"), IS_LIVE)
)
_WITH_TEXT: Final = (
    select(
        GenerationRow,
        MessageRow.content,
        SessionRow.name.label("session_name"),
        SessionRow.stream_responses,
    )
    .join(MessageRow, MessageRow.id == GenerationRow.message_id)
    .join(SessionRow, SessionRow.id == GenerationRow.session_id)
)
_THIS: Final = _WITH_TEXT.where(GenerationRow.id == bindparam("generation_id"))
_ANY: Final = Statement(_THIS)
_OWN: Final = Statement(
    _THIS.where(GenerationRow.user_id == bindparam("own_user_id"), SessionRow.purged_at.is_(None))
)


async def live_in_session(connection: AsyncConnection, session_id: str) -> str | None:
    """The id of the generation that is being made in a session."""
    row = await _LIVE.first(connection, {"session_id": session_id})
    return row and row.id


async def asked_with(
    connection: AsyncConnection, user_id: str, key: str, since: datetime
) -> tuple[str, str] | None:
    """The generation that a key was used for, and the fingerprint of what was asked."""
    rows = await connection.execute(
        select(GenerationRow.id, GenerationRow.ask_fingerprint).where(
            GenerationRow.user_id == user_id,
            GenerationRow.ask_key == key,
            GenerationRow.created_at > since,
        )
    )
    row = rows.first()
    return (row.id, row.ask_fingerprint) if row else None


async def get(
    connection: AsyncConnection, generation_id: str, user_id: str | None = None
) -> Generation | None:
    """A generation with its text so far; with `user_id`, only if that user may see it."""
    if user_id is None:
        row = await _ANY.first(connection, {"generation_id": generation_id})
    else:
        which = {"generation_id": generation_id, "own_user_id": user_id}
        row = await _OWN.first(connection, which)
    return None if row is None else await _shown(connection, row)


async def page(
    connection: AsyncConnection, user_id: str, status: Status | None, cursor: str | None, limit: int
) -> tuple[list[Generation], str | None]:
    """A user's generations, newest first, and the cursor of the next page.

    Raises RunnelError `invalid_request` for a cursor that is none.
    """
    query = (
        select(
            GenerationRow.id,
            GenerationRow.created_at,
            (func.length(MessageRow.content) + _unfolded()).label("characters"),
        )
        .join(MessageRow, MessageRow.id == GenerationRow.message_id)
        .join(SessionRow, SessionRow.id == GenerationRow.session_id)
        .where(GenerationRow.user_id == user_id, SessionRow.purged_at.is_(None))
        .order_by(GenerationRow.created_at.desc(), GenerationRow.id.desc())
        .limit(limit + 1)
    )
    if status is not None:
        query = query.where(GenerationRow.status == status)
    if cursor is not None:
        query = query.where(
            tuple_(GenerationRow.created_at, GenerationRow.id) < tuple_(*pages.parse_moment(cursor))
        )
    found = (await connection.execute(query)).all()
    here = found[: pages.fitting([row.characters for row in found[:limit]])]
    following = None
    if len(here) < len(found):
        following = pages.moment(here[-1].created_at, here[-1].id)
    rows = await connection.execute(
        _WITH_TEXT.where(GenerationRow.id.in_([row.id for row in here])).order_by(
            GenerationRow.created_at.desc(), GenerationRow.id.desc()
        )
    )
    return [await _shown(connection, row) for row in rows.all()], following


_STANDS: Final = select(
    GenerationRow.id,
    GenerationRow.session_id,
    GenerationRow.status,
    GenerationRow.epoch,
    GenerationRow.last_offset,
    GenerationRow.needs_reader,
)
_OWN_STANDS: Final = Statement(
    _STANDS.join(SessionRow, SessionRow.id == GenerationRow.session_id).where(
        GenerationRow.id == bindparam("generation_id"),
        GenerationRow.user_id == bindparam("own_user_id"),
        SessionRow.purged_at.is_(None),
    )
)


async def see(connection: AsyncConnection, user_id: str, generation_id: str) -> Seen | None:
    """How a user's generation stands; None if there is none that this user may see."""
    which = {"generation_id": generation_id, "own_user_id": user_id}
    row = await _OWN_STANDS.first(connection, which)
    return None if row is None else _seen(row)


async def see_all(connection: AsyncConnection, ids: Collection[str]) -> list[Seen]:
    """How generations stand, whosever they are."""
    rows = await connection.execute(_STANDS.where(GenerationRow.id.in_(ids)))
    return [_seen(row) for row in rows]


def _seen(row: Any) -> Seen:
    position = None if row.status in LIVE_STATES else Position(row.epoch, row.last_offset)
    return Seen(row.id, row.session_id, position, row.needs_reader)


async def checkpointed(
    connection: AsyncConnection, generation_id: str, epoch: int
) -> tuple[str, Position | None]:
    """The text of a live generation that is kept, and the position of the last of it."""
    rows = await connection.execute(
        select(CheckpointRow.text, CheckpointRow.last_offset)
        .where(CheckpointRow.generation_id == generation_id, CheckpointRow.epoch == epoch)
        .order_by(CheckpointRow.last_offset)
    )
    pieces = rows.all()
    if not pieces:
        return "", None
    return "".join(piece.text for piece in pieces), Position(epoch, pieces[-1].last_offset)


def _unfolded() -> ColumnElement[int]:
    """How many characters of a live generation's text are not in its message yet."""
    return (
        select(func.coalesce(func.sum(func.length(CheckpointRow.text)), 0))
        .where(
            CheckpointRow.generation_id == GenerationRow.id,
            CheckpointRow.epoch == GenerationRow.epoch,
        )
        .correlate(GenerationRow)
        .scalar_subquery()
    )


async def _shown(
    connection: AsyncConnection, row: Row[GenerationRow, str, str | None, bool]
) -> Generation:
    if row.status in LIVE_STATES:
        text, position = await checkpointed(connection, row.id, row.epoch)
    else:
        text, position = row.content, Position(row.epoch, row.last_offset)
    return of_row(
        row, row.session_name, stream_responses=row.stream_responses, text=text, position=position
    )


def of_row(
    row: Row[*tuple[Any, ...]],
    session_name: str | None,
    *,
    stream_responses: bool,
    text: str,
    position: Position | None,
) -> Generation:
    """Of a row that has the columns of GenerationRow, and what stands elsewhere."""
    return Generation(
        id=row.id,
        user_id=row.user_id,
        session_id=row.session_id,
        message_id=row.message_id,
        user_message_id=row.user_message_id,
        model=row.model,
        provider=row.provider,
        provider_model=row.provider_model,
        status=Status(row.status),
        fence=row.fence,
        created_at=row.created_at,
        session_name=session_name,
        stream_responses=stream_responses,
        epoch=row.epoch,
        needs_reader=row.needs_reader,
        text=text,
        position=position,
        context=None if row.context is None else Context(**row.context),
        finish_reason=cast("FinishReason | None", row.finish_reason),
        usage=usage_of(row),
        failure=failure_of(row),
        aborted_by=row.aborted_by,
        first_token_ms=row.first_token_ms,
        latency_ms=row.latency_ms,
        agent=row.agent,
    )


def usage_of(row: Row[*tuple[Any, ...]]) -> Usage | None:
    """Of a row that has the columns; None for what no model has made, or has not yet."""
    if row.completion_tokens is None or row.usage_source is None:
        return None
    return Usage(row.prompt_tokens, row.completion_tokens, row.usage_source, row.cost)


def failure_of(row: Row[*tuple[Any, ...]]) -> Failure | None:
    """Of a row that has the columns."""
    if row.error_code is None:
        return None
    return Failure(
        Code(row.error_code),
        row.error_message or "",
        row.error_retryable or False,
        row.error_retry_after,
    )
