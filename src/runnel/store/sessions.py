"""Queries of sessions, and of what a question continues."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import ColumnElement, and_, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import Role, SessionRef, Turn
from runnel.chat.sessions.refs import unknown_session
from runnel.chat.sessions.values import AS_USUAL, ClientInfo, SessionSettings
from runnel.store import attachments, tree
from runnel.store.ids import new_id, now
from runnel.store.tables import MessageRow, SessionRow


@dataclass(frozen=True, slots=True)
class FoundSession:
    """A session, and the last message of its active branch, None in an empty one."""

    id: str
    name: str | None
    leaf_id: str | None
    closed: bool = False
    settings: SessionSettings = AS_USUAL
    titled: bool = False


async def find_or_create(
    connection: AsyncConnection,
    user_id: str,
    ref: SessionRef,
    client: ClientInfo,
    *,
    hidden: bool = False,
) -> FoundSession:
    """The session meant, made if it may be; nobody else changes it till the transaction ends.

    Raises RunnelError `not_found` for an unknown id.
    """
    if ref.id is None and ref.name is None:
        return await _create(connection, user_id, None, client, hidden=hidden)
    found = await find(connection, user_id, ref, lock=True)
    if found is not None:
        return found
    if ref.name is None:
        raise unknown_session()
    try:
        async with connection.begin_nested():
            return await _create(connection, user_id, ref.name, client)
    except IntegrityError:  # another ask made it meanwhile
        found = await find(connection, user_id, ref, lock=True)
        if found is None:  # or its user has gone
            raise
        return found


def own(user_id: str, ref: SessionRef) -> ColumnElement[bool]:
    """Which row a user's session is, by its id or its name; a hidden one is none."""
    which = SessionRow.id == ref.id if ref.id else SessionRow.name == ref.name
    return and_(SessionRow.user_id == user_id, which, SessionRow.hidden.is_(False))


async def find(
    connection: AsyncConnection, user_id: str, ref: SessionRef, *, lock: bool = False
) -> FoundSession | None:
    """A user's own session. `lock`: nobody else changes it till the transaction ends."""
    query = select(
        SessionRow.id,
        SessionRow.name,
        SessionRow.leaf_id,
        SessionRow.closed_at,
        SessionRow.model_preference,
        SessionRow.language,
        SessionRow.stream_responses,
        SessionRow.system_prompt,
        SessionRow.title.is_not(None).label("titled"),
    ).where(own(user_id, ref))
    row = (await connection.execute(query.with_for_update() if lock else query)).first()
    if row is None:
        return None
    settings = SessionSettings(
        row.model_preference, row.language, row.stream_responses, row.system_prompt
    )
    return FoundSession(
        row.id, row.name, row.leaf_id, row.closed_at is not None, settings, row.titled
    )


async def _create(
    connection: AsyncConnection,
    user_id: str,
    name: str | None,
    client: ClientInfo,
    *,
    hidden: bool = False,
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
            **asdict(client),
        )
    )
    return FoundSession(session_id, name, None)


@dataclass(frozen=True, slots=True)
class Branch:
    """Turns from the root down; so many older messages lie `beyond` them."""

    turns: Sequence[Turn] = ()
    beyond: int = 0


async def branch(connection: AsyncConnection, leaf: tree.Place, most: int) -> Branch:
    """The turns from the root down to a leaf with their attachments, empty ones left out.

    Of a longer branch the last `most`, and all system turns before them: they hold for it all.
    """
    stems = tree.stems(leaf.id)
    columns = (MessageRow.id, MessageRow.role, MessageRow.content, MessageRow.depth)
    on_branch = (
        select(*columns)
        .join(stems, and_(MessageRow.stem_id == stems.c.stem_id, MessageRow.depth <= stems.c.upto))
        .where(MessageRow.content != "")
        .order_by(MessageRow.depth)
    )
    first = leaf.depth - most + 1
    rows = [*await connection.execute(on_branch.where(MessageRow.depth >= first))]
    beyond = max(0, first)
    if first > 0:
        rules = await connection.execute(
            on_branch.where(
                MessageRow.session_id == leaf.session_id,
                MessageRow.role == "system",
                MessageRow.depth < first,
            )
        )
        before = rules.all()
        rows = [*before, *rows]
        beyond -= len(before)
    attached = await attachments.of_session(connection, leaf.session_id)
    turns = [
        Turn(cast("Role", row.role), row.content, attachments=attached.get(row.id, ()))
        for row in rows
    ]
    return Branch(turns, beyond)


async def add_messages(
    connection: AsyncConnection,
    session: FoundSession,
    parent: tree.Place | None,
    turns: Sequence[Turn],
    time: datetime,
) -> list[str]:
    """Adds turns one behind the other below a parent, and makes the last one the leaf; the ids."""
    ids = await tree.grow(connection, session.id, parent, turns, time)
    await connection.execute(
        update(SessionRow)
        .where(SessionRow.id == session.id)
        .values(leaf_id=ids[-1], last_activity=time)
    )
    return ids
