"""Queries of a session's messages, in pages: the active branch, or the whole tree."""

from collections.abc import Sequence
from typing import Any, Final, cast

from sqlalchemy import Integer, Row, String, and_, bindparam, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import Attachment, Role, Status
from runnel.chat.sessions.entities import Reactions, StoredMessage
from runnel.chat.sessions.ports import MessagePage
from runnel.store import attachments, pages, tree
from runnel.store.sessions import FoundSession
from runnel.store.shown import failure_of, usage_of
from runnel.store.statements import Statement
from runnel.store.tables import GenerationRow, MessageRow, SessionRow

Found = tuple[list[StoredMessage], str | None]
#: What is shown of the generation that made a message.
_MADE: Final = (
    GenerationRow.status,
    GenerationRow.model,
    GenerationRow.provider,
    GenerationRow.provider_model,
    GenerationRow.prompt_tokens,
    GenerationRow.completion_tokens,
    GenerationRow.usage_source,
    GenerationRow.cost,
    GenerationRow.finish_reason,
    GenerationRow.error_code,
    GenerationRow.error_message,
    GenerationRow.error_retryable,
    GenerationRow.error_retry_after,
    GenerationRow.first_token_ms,
    GenerationRow.latency_ms,
)


_STEMS: Final = tree.stems(
    bindparam("leaf_id", type_=String()), bindparam("first", type_=Integer())
)
_LENGTHS: Final = Statement(
    select(MessageRow.id, MessageRow.depth, func.length(MessageRow.content).label("characters"))
    .join(_STEMS, and_(MessageRow.stem_id == _STEMS.c.stem_id, MessageRow.depth <= _STEMS.c.upto))
    # Depths of a branch have no gap: the bound keeps the database from reading on.
    .where(
        # A cursor may be of another session's, or of nobody's.
        MessageRow.session_id == bindparam("own_session_id"),
        MessageRow.depth >= bindparam("first", type_=Integer()),
        MessageRow.depth <= bindparam("last", type_=Integer()),
    )
    .order_by(MessageRow.depth)
)
# Put together once: that takes longer than to run it.
_MESSAGES: Final = (
    select(
        MessageRow,
        SessionRow.project_id,
        GenerationRow.id.label("generation_id"),
        *_MADE,
        func.coalesce(GenerationRow.agent, GenerationRow.model).label("agent"),
    )
    .join(SessionRow, SessionRow.id == MessageRow.session_id)
    .outerjoin(GenerationRow, GenerationRow.message_id == MessageRow.id)
    .where(MessageRow.id.in_(bindparam("ids", expanding=True)))
    .order_by(MessageRow.depth, MessageRow.id)
)


async def on_branch(connection: AsyncConnection, session: FoundSession, page: MessagePage) -> Found:
    """From the root to the leaf; a cursor holds to the leaf that its first page had."""
    leaf_id, first = session.leaf_id, 0
    if page.cursor is not None:
        leaf_id, last = pages.parse_depth(page.cursor)
        first = last + 1
    if leaf_id is None:
        return [], None
    lengths = await _LENGTHS.rows(
        connection,
        {
            "leaf_id": leaf_id,
            "own_session_id": session.id,
            "first": first,
            "last": first + page.limit,
        },
    )
    here = lengths[: pages.fitting([row.characters for row in lengths[: page.limit]])]
    following = pages.depth(leaf_id, here[-1].depth) if len(here) < len(lengths) else None
    return await _messages(connection, [row.id for row in here]), following


async def in_tree(connection: AsyncConnection, session_id: str, page: MessagePage) -> Found:
    """All branches: by depth, and then by age, so that each comes behind its parent."""
    query = (
        select(MessageRow.id, MessageRow.depth, func.length(MessageRow.content).label("characters"))
        .where(MessageRow.session_id == session_id)
        .order_by(MessageRow.depth, MessageRow.id)
        .limit(page.limit + 1)
    )
    if page.cursor is not None:
        last_id, depth = pages.parse_depth(page.cursor)
        query = query.where(tuple_(MessageRow.depth, MessageRow.id) > tuple_(depth, last_id))
    lengths = (await connection.execute(query)).all()
    here = lengths[: pages.fitting([row.characters for row in lengths[: page.limit]])]
    following = pages.depth(here[-1].id, here[-1].depth) if len(here) < len(lengths) else None
    return await _messages(connection, [row.id for row in here]), following


async def _messages(connection: AsyncConnection, ids: Sequence[str]) -> list[StoredMessage]:
    rows = await connection.execute(_MESSAGES, {"ids": [*ids]})
    attached = await attachments.of_messages(connection, ids)
    return [_shown(row, attached.get(row.id, ())) for row in rows]


def _shown(
    row: Row[*tuple[Any, ...]],
    attached: Sequence[Attachment],
) -> StoredMessage:
    """Of a row that has the columns above."""
    return StoredMessage(
        id=row.id,
        session_id=row.session_id,
        project_id=row.project_id,
        parent_id=row.parent_id,
        generation_id=row.generation_id,
        role=cast("Role", row.role),
        content=row.content,
        status=Status(row.status or Status.COMPLETED),
        created_at=row.created_at,
        model=row.model,
        provider=row.provider,
        provider_model=row.provider_model,
        usage=usage_of(row),
        finish_reason=row.finish_reason,
        failure=failure_of(row),
        first_token_ms=row.first_token_ms,
        latency_ms=row.latency_ms,
        agent_used=row.agent,
        attachments=attached,
        reactions=Reactions(row.helpful, row.rating),
    )
