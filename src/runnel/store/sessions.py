"""Queries of sessions and their trees of messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import Role, SessionRef, Turn
from runnel.errors import Code, RunnelError
from runnel.store.ids import new_id, now
from runnel.store.tables import MessageRow, SessionRow


@dataclass(frozen=True, slots=True)
class FoundSession:
    """A session, and the last message of its active branch, None in an empty one."""

    id: str
    name: str | None
    leaf_id: str | None


async def find_or_create(
    connection: AsyncConnection, user_id: str, ref: SessionRef, *, hidden: bool = False
) -> FoundSession:
    """The session meant, made if it may be. Raises RunnelError `not_found` for an unknown id."""
    if ref.id is None and ref.name is None:
        return await _create(connection, user_id, None, hidden=hidden)
    found = await find(connection, user_id, ref)
    if found is not None:
        return found
    if ref.name is None:
        raise RunnelError(Code.NOT_FOUND, "There is no such session.")
    try:
        async with connection.begin_nested():
            return await _create(connection, user_id, ref.name)
    except IntegrityError:  # another ask made it meanwhile
        found = await find(connection, user_id, ref)
        if found is None:  # or its user has gone
            raise
        return found


async def find(connection: AsyncConnection, user_id: str, ref: SessionRef) -> FoundSession | None:
    """A user's own session by its id or its name; a hidden one is not found."""
    which = SessionRow.id == ref.id if ref.id else SessionRow.name == ref.name
    rows = await connection.execute(
        select(SessionRow.id, SessionRow.name, SessionRow.leaf_id).where(
            SessionRow.user_id == user_id, which, SessionRow.hidden.is_(False)
        )
    )
    row = rows.first()
    return FoundSession(row.id, row.name, row.leaf_id) if row else None


async def _create(
    connection: AsyncConnection, user_id: str, name: str | None, *, hidden: bool = False
) -> FoundSession:
    session_id, time = new_id(), now()
    await connection.execute(
        insert(SessionRow).values(
            id=session_id,
            user_id=user_id,
            name=name,
            hidden=hidden,
            started_at=time,
            last_activity=time,
        )
    )
    return FoundSession(session_id, name, None)


async def branch(connection: AsyncConnection, leaf_id: str, most: int) -> list[Turn]:
    """The turns from the root down to a leaf, empty ones left out.

    Of a longer branch the last `most`, and all system turns before them: they hold for it all.
    """
    cte = (
        select(MessageRow.id, MessageRow.parent_id, MessageRow.role, literal(1).label("depth"))
        .where(MessageRow.id == leaf_id)
        .cte("branch", recursive=True)
    )
    cte = cte.union_all(
        select(MessageRow.id, MessageRow.parent_id, MessageRow.role, cte.c.depth + 1).join(
            cte, MessageRow.id == cte.c.parent_id
        )
    )
    rows = await connection.execute(
        select(cte.c.role, MessageRow.content)
        .join(MessageRow, MessageRow.id == cte.c.id)
        .where(MessageRow.content != "", or_(cte.c.depth <= most, cte.c.role == "system"))
        .order_by(cte.c.depth.desc())
    )
    return [Turn(cast("Role", role), content) for role, content in rows]


async def add_messages(
    connection: AsyncConnection, session: FoundSession, turns: Sequence[Turn], time: datetime
) -> list[str]:
    """Adds turns one behind the other after the leaf, and makes the last one the leaf; the ids."""
    ids = [new_id() for _ in turns]
    parents = [session.leaf_id, *ids[:-1]]
    await connection.execute(
        insert(MessageRow),
        [
            {
                "id": message_id,
                "session_id": session.id,
                "parent_id": parent_id,
                "role": turn.role,
                "content": turn.text,
                "created_at": time,
            }
            for message_id, parent_id, turn in zip(ids, parents, turns, strict=True)
        ],
    )
    await connection.execute(
        update(SessionRow)
        .where(SessionRow.id == session.id)
        .values(leaf_id=ids[-1], last_activity=time)
    )
    return ids
