"""Queries of sessions, and of what a question continues."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import (
    ColumnElement,
    Integer,
    Row,
    String,
    and_,
    bindparam,
    false,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import Role, SessionRef, Turn
from runnel.chat.sessions.refs import unknown_session
from runnel.chat.sessions.values import AS_USUAL, ClientInfo, SessionSettings
from runnel.store import attachments, tree
from runnel.store.ids import new_id, now
from runnel.store.statements import Statement
from runnel.store.tables import MessageRow, SessionRow


@dataclass(frozen=True, slots=True)
class FoundSession:
    """A session, and the last message of its active branch, None in an empty one.

    One that is `new` is not written down yet.
    """

    id: str
    name: str | None
    leaf_id: str | None
    new: bool = False
    closed: bool = False
    settings: SessionSettings = AS_USUAL
    titled: bool = False


async def find_or_create(
    connection: AsyncConnection,
    user_id: str,
    ref: SessionRef,
    client: ClientInfo,
) -> FoundSession:
    """The session meant by an id or a name, made if it may be; nobody else changes it till the transaction ends.

    Raises RunnelError `not_found` for an unknown id.
    """
    found = await find(connection, user_id, ref, lock=True)
    if found is not None:
        return found
    if ref.name is None:
        raise unknown_session()
    try:
        async with connection.begin_nested():
            session = FoundSession(new_id(), ref.name, None)
            await add(connection, user_id, session, client, now())
            return session
    except IntegrityError:  # another ask made it meanwhile
        found = await find(connection, user_id, ref, lock=True)
        if found is None:  # or its user has gone
            raise
        return found


def own(user_id: str, ref: SessionRef) -> ColumnElement[bool]:
    """Which row a user's session is, by its id or its name; a hidden one is none, nor is a new one."""
    if ref == SessionRef():
        return false()
    which = SessionRow.id == ref.id if ref.id else SessionRow.name == ref.name
    return and_(SessionRow.user_id == user_id, which, SessionRow.hidden.is_(False))


_QUERY: Final = select(
    SessionRow.id,
    SessionRow.name,
    SessionRow.leaf_id,
    SessionRow.closed_at,
    SessionRow.model_preference,
    SessionRow.language,
    SessionRow.stream_responses,
    SessionRow.system_prompt,
    SessionRow.title.is_not(None).label("titled"),
).where(SessionRow.user_id == bindparam("own_user_id"), SessionRow.hidden.is_(False))
_BY: Final = (
    _QUERY.where(SessionRow.id == bindparam("ref")),
    _QUERY.where(SessionRow.name == bindparam("ref")),
)
_FOUND: Final = tuple(map(Statement, _BY))
# What only refers to it, as a text that is indexed does, waits for none of it, nor it for that.
_LOCKED: Final = tuple(Statement(query.with_for_update(key_share=True)) for query in _BY)


async def find(
    connection: AsyncConnection, user_id: str, ref: SessionRef, *, lock: bool = False
) -> FoundSession | None:
    """A user's own session. `lock`: nobody else changes it till the transaction ends."""
    if ref == SessionRef():
        return None
    by_id, named = _LOCKED if lock else _FOUND
    which = {"own_user_id": user_id, "ref": ref.id or ref.name}
    row = await (by_id if ref.id else named).first(connection, which)
    if row is None:
        return None
    settings = SessionSettings(
        row.model_preference, row.language, row.stream_responses, row.system_prompt
    )
    return FoundSession(
        row.id,
        row.name,
        row.leaf_id,
        closed=row.closed_at is not None,
        settings=settings,
        titled=row.titled,
    )


_ADD: Final = Statement(insert(SessionRow))


async def add(
    connection: AsyncConnection,
    user_id: str,
    session: FoundSession,
    client: ClientInfo,
    time: datetime,
    *,
    leaf_id: str | None = None,
    title: str | None = None,
    hidden: bool = False,
) -> None:
    """Writes a session down. `title` is what its question calls it, `leaf_id` its last message."""
    await _ADD.run(
        connection,
        {
            "id": session.id,
            "user_id": user_id,
            "name": session.name,
            "hidden": hidden,
            "leaf_id": leaf_id,
            "title": title,
            "title_by": title and "question",
            "started_at": time,
            "last_activity": time,
            "stream_responses": session.settings.stream_responses,
            "user_agent": client.user_agent,
            "ip_address": client.ip_address,
            "client_version": client.client_version,
        },
    )


#: In the words of the index `ix_messages_system`, which else would not be seen to be of use.
_IS_SYSTEM: Final = MessageRow.role == literal_column("'system'", String())
#: What a turn is made of.
_TURN: Final = (MessageRow.id, MessageRow.role, MessageRow.content, MessageRow.depth)


_STEMS: Final = tree.stems(
    bindparam("leaf_id", type_=String()), bindparam("first", type_=Integer())
)
_TAIL: Final = Statement(
    select(*_TURN)
    .join(_STEMS, and_(MessageRow.stem_id == _STEMS.c.stem_id, MessageRow.depth <= _STEMS.c.upto))
    .where(MessageRow.content != "", MessageRow.depth >= bindparam("first", type_=Integer()))
    .order_by(MessageRow.depth)
)


@dataclass(frozen=True, slots=True)
class Branch:
    """Turns from the root down; so many older messages lie `beyond` them."""

    turns: Sequence[Turn] = ()
    beyond: int = 0


async def branch(connection: AsyncConnection, leaf: tree.Place, most: int) -> Branch:
    """The turns from the root down to a leaf with their attachments, empty ones left out.

    Of a longer branch the last `most`, and all system turns before them: they hold for it all.
    """
    first = max(0, leaf.depth - most + 1)
    tail = await _TAIL.rows(connection, {"leaf_id": leaf.id, "first": first})
    rules = await _rules(connection, leaf, first) if first else []
    rows = [*rules, *tail]
    beyond = first - len(rules)
    # Not those of the whole session: of 100,000 they took a second.
    asked = [row.id for row in rows if row.role == "user"]
    attached = await attachments.of_messages(connection, asked)
    turns = [
        Turn(cast("Role", row.role), row.content, attachments=attached.get(row.id, ()))
        for row in rows
    ]
    return Branch(turns, beyond)


async def _rules(
    connection: AsyncConnection, leaf: tree.Place, before: int
) -> list[Row[*tuple[Any, ...]]]:
    """The system turns of a branch above a depth. Most sessions have none, on whatever branch."""
    rows = await connection.execute(
        select(*_TURN, MessageRow.stem_id)
        .where(
            MessageRow.session_id == leaf.session_id,
            _IS_SYSTEM,
            MessageRow.content != "",
            MessageRow.depth < before,
        )
        .order_by(MessageRow.depth)
    )
    found = rows.all()
    if not found:
        return []
    stems = tree.stems(leaf.id)
    spans = await connection.execute(select(stems.c.stem_id, stems.c.upto))
    upto = {row.stem_id: row.upto for row in spans}
    return [row for row in found if row.depth <= upto.get(row.stem_id, -1)]


_GO_ON: Final = Statement(update(SessionRow).where(SessionRow.id == bindparam("session_id")))


async def go_on(
    connection: AsyncConnection, session: FoundSession, leaf_id: str, time: datetime
) -> None:
    """The message is the last one of the active branch."""
    await _GO_ON.run(
        connection, {"session_id": session.id, "leaf_id": leaf_id, "last_activity": time}
    )
