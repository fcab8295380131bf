"""What is counted of generations afterwards: usage by day and model, sessions that fail."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Final

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import Status
from runnel.chat.reports import DayUsage, Ends, SessionEnds
from runnel.store.engine import Database
from runnel.store.shown import LIVE_STATES
from runnel.store.tables import GenerationRow, MessageRow, SessionRow, UserRow

_FAILED: Final = (Status.FAILED.value, Status.INTERRUPTED.value)
_ENDED: Final = GenerationRow.status.not_in(LIVE_STATES)


class SqlReports:
    """Implements chat.reports.Reports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usage(self, user_id: str, first: date, last: date) -> Sequence[DayUsage]:
        async with self._database.read() as connection:
            return await _usage(connection, user_id, first, last)

    async def ends(self, since: datetime) -> Ends:
        async with self._database.read() as connection:
            rows = await connection.execute(select(*_counts()).where(_ENDED, *_asked(since)))
            return Ends(*rows.one())

    async def failing_sessions(self, since: datetime, most: int) -> Sequence[SessionEnds]:
        async with self._database.read() as connection:
            return await _failing_sessions(connection, since, most)

    async def usernames(self, user_ids: Collection[str]) -> Mapping[str, str]:
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(UserRow.id, UserRow.name).where(UserRow.id.in_(user_ids))
            )
            return {row.id: row.name for row in rows}

    async def questions(self, generation_ids: Collection[str]) -> Mapping[str, str]:
        """What had been asked, by the generation that was to answer it."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(GenerationRow.id, MessageRow.content)
                .join(MessageRow, MessageRow.id == GenerationRow.user_message_id)
                .where(GenerationRow.id.in_(generation_ids))
            )
            return {row.id: row.content for row in rows}


async def _usage(
    connection: AsyncConnection, user_id: str, first: date, last: date
) -> list[DayUsage]:
    day = _day(connection)
    rows = await connection.execute(
        select(
            day.label("day"),
            GenerationRow.model,
            GenerationRow.provider,
            func.count().label("generations"),
            func.sum(GenerationRow.prompt_tokens).label("prompt_tokens"),
            func.coalesce(func.sum(GenerationRow.completion_tokens), 0).label("completion_tokens"),
            func.sum(GenerationRow.cost).label("cost"),
        )
        .where(
            GenerationRow.user_id == user_id,
            GenerationRow.created_at >= datetime.combine(first, time.min, UTC),
            GenerationRow.created_at <= datetime.combine(last, time.max, UTC),
            _ENDED,
        )
        .group_by(day, GenerationRow.model, GenerationRow.provider)
        .order_by(day.desc(), GenerationRow.model, GenerationRow.provider)
    )
    return [
        DayUsage(
            date.fromisoformat(str(row.day)),
            row.model,
            row.provider,
            row.generations,
            row.prompt_tokens,
            row.completion_tokens,
            row.cost,
        )
        for row in rows
    ]


def _day(connection: AsyncConnection) -> ColumnElement[date]:
    """The day in UTC: SQLite keeps nothing else, others have to be told."""
    moment = GenerationRow.created_at
    if connection.dialect.name != "sqlite":
        return func.date(func.timezone("UTC", moment))
    return func.date(moment)


async def _failing_sessions(
    connection: AsyncConnection, since: datetime, most: int
) -> list[SessionEnds]:
    generations, failed = _counts()
    rows = await connection.execute(
        select(GenerationRow.session_id, GenerationRow.user_id, generations, failed)
        .join(SessionRow, SessionRow.id == GenerationRow.session_id)
        .where(_ENDED, *_asked(since), SessionRow.hidden.is_(False))
        .group_by(GenerationRow.session_id, GenerationRow.user_id)
        .having(failed > 0)
        # Of two that have failed as often, the one that was asked less.
        .order_by(failed.desc(), generations, GenerationRow.session_id)
        .limit(most)
    )
    return [SessionEnds(row[0], row[1], Ends(row[2], row[3])) for row in rows]


def _counts() -> tuple[ColumnElement[int], ColumnElement[int]]:
    failed = func.coalesce(func.sum(case((GenerationRow.status.in_(_FAILED), 1), else_=0)), 0)
    return func.count(), failed


def _asked(since: datetime) -> tuple[ColumnElement[bool], ...]:
    # Ids begin with the time at which they were made, so that the primary key finds a day's rows;
    # for the times themselves there is an index by user alone.
    milliseconds = max(0, int(since.timestamp() * 1000))
    earliest = f"{milliseconds:012x}"
    first_id = f"{earliest[:8]}-{earliest[8:]}"
    return GenerationRow.id >= first_id, GenerationRow.created_at >= since
