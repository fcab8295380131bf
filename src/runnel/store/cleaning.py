"""What the clean-up finds: sessions that are old enough, and nobody has touched since."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute

from runnel.chat.sessions.purging import Marked
from runnel.store.engine import Database
from runnel.store.purging import mark
from runnel.store.shown import IS_LIVE
from runnel.store.tables import GenerationRow, SessionRow

_QUIET: Final = and_(
    SessionRow.purged_at.is_(None),
    ~exists().where(GenerationRow.session_id == SessionRow.id, IS_LIVE),
)
_OPEN: Final = and_(_QUIET, SessionRow.hidden.is_(False), SessionRow.closed_at.is_(None))
_CLOSED: Final = and_(_QUIET, SessionRow.hidden.is_(False))
_HIDDEN: Final = and_(_QUIET, SessionRow.hidden.is_(True))


class SqlCleaning:
    """Implements chat.sessions.cleaning.CleanUpStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def close(self, before: datetime, moment: datetime, most: int) -> int:
        which = _oldest(_OPEN, SessionRow.last_activity, before, most)
        async with self._database.write() as connection:
            closed = await connection.scalars(
                update(SessionRow).where(which).values(closed_at=moment).returning(SessionRow.id)
            )
            return len(closed.all())

    async def mark_closed(self, before: datetime, moment: datetime, most: int) -> Sequence[Marked]:
        which = _oldest(_CLOSED, SessionRow.closed_at, before, most)
        async with self._database.write() as connection:
            return await mark(connection, moment, which)

    async def mark_hidden(self, before: datetime, moment: datetime, most: int) -> Sequence[Marked]:
        which = _oldest(_HIDDEN, SessionRow.last_activity, before, most)
        async with self._database.write() as connection:
            return await mark(connection, moment, which)

    async def marked(self, after: str, most: int) -> Sequence[Marked]:
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(SessionRow.id, SessionRow.user_id)
                .where(SessionRow.purged_at.is_not(None), SessionRow.id > after)
                .order_by(SessionRow.id)
                .limit(most)
            )
            return [Marked(row.id, row.user_id) for row in rows]


def _oldest(
    which: ColumnElement[bool],
    since: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None],
    before: datetime,
    most: int,
) -> ColumnElement[bool]:
    # Said twice: in Postgres a row may change between the two, and is looked at again then.
    imported = SessionRow.imported_at
    old = and_(which, since < before, or_(imported.is_(None), imported < before))
    return and_(
        old, SessionRow.id.in_(select(SessionRow.id).where(old).order_by(since).limit(most))
    )
