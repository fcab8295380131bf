"""What purging writes: first the mark, which decides, and then, in short transactions, the rows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, delete, func, null, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.sessions.purging import Deleted, Marked
from runnel.store import attachments, generations, indexing, usage, users
from runnel.store.engine import Database
from runnel.store.shown import IS_LIVE
from runnel.store.tables import GenerationRow, MessageRow, SearchPendingRow, SessionRow, UserRow

_NOTHING: Final = Deleted(0, ())


class SqlPurging:
    """Implements chat.sessions.purging.PurgeStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def leave(self, user_id: str, until: datetime) -> None:
        async with self._database.write() as connection:
            await users.leave(connection, user_id, until)

    async def stay(self, user_id: str, until: datetime) -> None:
        async with self._database.write() as connection:
            await users.stay(connection, user_id, until)

    async def mark(self, user_id: str, session_id: str, moment: datetime) -> bool:
        async with self._database.write() as connection:
            which = (
                SessionRow.id == session_id,
                SessionRow.user_id == user_id,
                SessionRow.hidden.is_(False),
            )
            return bool(await mark(connection, moment, *which))

    async def mark_some(self, user_id: str, moment: datetime, most: int) -> Sequence[Marked]:
        async with self._database.write() as connection:
            some = select(SessionRow.id).where(SessionRow.user_id == user_id).limit(most)
            return await mark(connection, moment, SessionRow.id.in_(some))

    async def delete_messages(self, marked: Marked, most: int) -> Deleted:
        async with self._database.write() as connection:
            if not await _held(connection, marked):
                return _NOTHING
            deepest = await connection.scalars(
                select(MessageRow.id)
                .where(MessageRow.session_id == marked.session_id)
                .order_by(MessageRow.depth.desc(), MessageRow.id.desc())
                .limit(most)
            )
            ids = deepest.all()
            if not ids:
                return _NOTHING
            made = or_(GenerationRow.message_id.in_(ids), GenerationRow.user_message_id.in_(ids))
            await usage.keep(connection, made)
            gone = await connection.scalars(
                delete(GenerationRow).where(made).returning(GenerationRow.id)
            )
            generation_ids = gone.all()
            await connection.execute(delete(MessageRow).where(MessageRow.id.in_(ids)))
            return Deleted(len(ids), generation_ids)

    async def attachments(self, session_id: str) -> Sequence[str]:
        async with self._database.read() as connection:
            return await attachments.ids_of_sessions(connection, [session_id])

    async def attachments_of_user(self, user_id: str) -> Sequence[str]:
        async with self._database.read() as connection:
            return await attachments.ids_of_user(connection, user_id)

    async def delete_session(self, session_id: str) -> None:
        async with self._database.write() as connection:
            gone = await connection.scalar(
                delete(SessionRow)
                .where(SessionRow.id == session_id, SessionRow.purged_at.is_not(None))
                .returning(SessionRow.id)
            )
            if gone is not None:
                await indexing.forget(connection, SearchPendingRow.session_id == gone)


async def mark(
    connection: AsyncConnection, moment: datetime, *which: ColumnElement[bool]
) -> Sequence[Marked]:
    """Marks sessions as purged, whether they are already or not; which these are."""
    rows = await connection.execute(
        update(SessionRow)
        .where(*which)
        .values(
            name=null(),
            hidden=true(),
            closed_at=func.coalesce(SessionRow.closed_at, moment),
            purged_at=func.coalesce(SessionRow.purged_at, moment),
        )
        .returning(SessionRow.id, SessionRow.user_id)
    )
    marked = [Marked(row.id, row.user_id) for row in rows]
    made_there = GenerationRow.session_id.in_([each.session_id for each in marked])
    await connection.execute(
        update(GenerationRow)
        .where(
            made_there,
            IS_LIVE,
            GenerationRow.abort_requested_at.is_(None),
        )
        .values(abort_requested_at=moment)
    )
    # What is asked again with one of their keys is another question; older ones are free anyway.
    await connection.execute(
        update(GenerationRow)
        .where(
            made_there,
            GenerationRow.ask_key.is_not(None),
            GenerationRow.created_at > moment - generations.KEY_LIFE,
        )
        .values(ask_key=None, ask_fingerprint=None)
    )
    return marked


async def _held(connection: AsyncConnection, marked: Marked) -> bool:
    """Whether both are there; they stay so till the end, and nobody else deletes of the session.

    Two that did would each count what its answers took. First the user, as who deletes an account
    does.
    """
    user = await connection.scalar(
        select(UserRow.id)
        .where(UserRow.id == marked.user_id)
        .with_for_update(read=True, key_share=True)
    )
    session = await connection.scalar(
        select(SessionRow.id)
        .where(SessionRow.id == marked.session_id, SessionRow.purged_at.is_not(None))
        .with_for_update()
    )
    return user is not None and session is not None
