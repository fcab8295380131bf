"""What is counted of generations afterwards: usage by day and model, sessions that fail."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, time
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Insert,
    Row,
    Select,
    case,
    func,
    literal_column,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import Status
from runnel.chat.reports import DayUsage, Ends, SessionEnds
from runnel.store.engine import Database, into
from runnel.store.shown import LIVE_STATES
from runnel.store.tables import GenerationRow, KeptUsageRow, MessageRow, SessionRow, UserRow

FAILED: Final = (Status.FAILED.value, Status.INTERRUPTED.value)
ENDED: Final = GenerationRow.status.not_in(LIVE_STATES)
_SUMS: Final = ("generations", "prompt_tokens", "completion_tokens", "cost")
_KEPT: Final = ("user_id", "day", "model", "provider", *_SUMS)


class SqlReports:
    """Implements chat.reports.Reports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usage(self, user_id: str, first: date, last: date) -> Sequence[DayUsage]:
        async with self._database.read() as connection:
            return await _usage(connection, user_id, first, last)

    async def ends(self, since: datetime) -> Ends:
        async with self._database.read() as connection:
            rows = await connection.execute(select(*counts()).where(ENDED, *asked_since(since)))
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


async def keep(connection: AsyncConnection, which: ColumnElement[bool]) -> None:
    """Adds what ended generations took to what is kept of their users', before they are deleted."""
    taken = await connection.execute(_taken(connection, which))
    # In one order: two that purge at once wait for each other, but not in a circle.
    rows = sorted(
        ((row.user_id, _day_usage(row)) for row in taken),
        key=lambda one: (one[0], one[1].day, one[1].model, one[1].provider),
    )
    if rows:
        await connection.execute(
            _adding(connection), [{"user_id": user_id, **asdict(used)} for user_id, used in rows]
        )


async def _usage(
    connection: AsyncConnection, user_id: str, first: date, last: date
) -> list[DayUsage]:
    taken = _taken(
        connection,
        GenerationRow.user_id == user_id,
        GenerationRow.created_at >= datetime.combine(first, time.min, UTC),
        GenerationRow.created_at <= datetime.combine(last, time.max, UTC),
    )
    kept = select(*(getattr(KeptUsageRow, name) for name in _KEPT)).where(
        KeptUsageRow.user_id == user_id, KeptUsageRow.day.between(first, last)
    )
    both = union_all(taken, kept).subquery()
    by = (both.c.day, both.c.model, both.c.provider)
    rows = await connection.execute(
        select(*by, *(func.sum(both.c[name]).label(name) for name in _SUMS))
        .group_by(*by)
        .order_by(both.c.day.desc(), both.c.model, both.c.provider)
    )
    return [_day_usage(row) for row in rows]


def _taken(connection: AsyncConnection, *which: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """What ended generations took, by user, day, model and provider; named as what is kept."""
    by = (
        GenerationRow.user_id,
        day(connection).label("day"),
        GenerationRow.model,
        GenerationRow.provider,
    )
    return (
        select(
            *by,
            func.count().label("generations"),
            func.sum(GenerationRow.prompt_tokens).label("prompt_tokens"),
            func.coalesce(func.sum(GenerationRow.completion_tokens), 0).label("completion_tokens"),
            func.sum(GenerationRow.cost).label("cost"),
        )
        .where(ENDED, *which)
        .group_by(*by)
    )


def _adding(connection: AsyncConnection) -> Insert:
    insert = into(connection.dialect.name, KeptUsageRow)
    kept, more = KeptUsageRow, insert.excluded
    return insert.on_conflict_do_update(
        index_elements=[kept.user_id, kept.day, kept.model, kept.provider],
        set_={
            "generations": kept.generations + more.generations,
            "prompt_tokens": kept.prompt_tokens + more.prompt_tokens,
            "completion_tokens": kept.completion_tokens + more.completion_tokens,
            # Without a price there is none, which is not nothing.
            "cost": func.coalesce(kept.cost + more.cost, kept.cost, more.cost),
        },
    )


def _day_usage(row: Row[*tuple[Any, ...]]) -> DayUsage:
    return DayUsage(
        date.fromisoformat(str(row.day)),
        row.model,
        row.provider,
        # Postgres sums large numbers up to ones of any size.
        int(row.generations),
        int(row.prompt_tokens),
        int(row.completion_tokens),
        row.cost,
    )


def day(connection: AsyncConnection) -> ColumnElement[date]:
    """The day in UTC: SQLite keeps nothing else, others have to be told."""
    moment = GenerationRow.created_at
    if connection.dialect.name != "sqlite":
        # No parameter: two of the same value are two to a GROUP BY.
        return func.date(func.timezone(literal_column("'UTC'"), moment))
    return func.date(moment)


async def _failing_sessions(
    connection: AsyncConnection, since: datetime, most: int
) -> list[SessionEnds]:
    generations, failed = counts()
    rows = await connection.execute(
        select(GenerationRow.session_id, GenerationRow.user_id, generations, failed)
        .join(SessionRow, SessionRow.id == GenerationRow.session_id)
        .where(ENDED, *asked_since(since), SessionRow.hidden.is_(False))
        .group_by(GenerationRow.session_id, GenerationRow.user_id)
        .having(failed > 0)
        # Of two that have failed as often, the one that was asked less.
        .order_by(failed.desc(), generations, GenerationRow.session_id)
        .limit(most)
    )
    return [SessionEnds(row[0], row[1], Ends(row[2], row[3])) for row in rows]


def counts() -> tuple[ColumnElement[int], ColumnElement[int]]:
    failed = func.coalesce(func.sum(case((GenerationRow.status.in_(FAILED), 1), else_=0)), 0)
    return func.count(), failed


def asked_since(since: datetime) -> tuple[ColumnElement[bool], ...]:
    """Conditions on generations."""
    # Ids begin with the time at which they were made, so that the primary key finds a day's rows;
    # for the times themselves there is an index by user alone.
    milliseconds = max(0, int(since.timestamp() * 1000))
    earliest = f"{milliseconds:012x}"
    first_id = f"{earliest[:8]}-{earliest[8:]}"
    return GenerationRow.id >= first_id, GenerationRow.created_at >= since
