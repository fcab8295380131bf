"""What is counted over everybody's generations: by hour or day, and by model."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Row, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import InstrumentedAttribute

from runnel.chat.overviews import ModelEnds, Spell, Stretch
from runnel.store.engine import Database
from runnel.store.tables import GenerationRow, KeptUsageRow
from runnel.store.usage import ENDED, FAILED, asked_since, counts

#: How a stretch is written, for each database in its own words. No parameters: two of the same
#: value are two to a GROUP BY.
_SQLITE: Final = {"hour": "'%Y-%m-%dT%H'", "day": "'%Y-%m-%d'"}
_POSTGRES: Final = {"hour": """'YYYY-MM-DD"T"HH24'""", "day": "'YYYY-MM-DD'"}


class SqlOverviews:
    """Implements chat.overviews.Overviews."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def spells(
        self, first: datetime, last: datetime, by: Stretch, model: str | None
    ) -> Sequence[Spell]:
        which = [ENDED, *asked_since(first), GenerationRow.created_at <= last]
        if model is not None:
            which.append(GenerationRow.model == model)
        async with self._database.read() as connection:
            spells = await _spells(connection, by, which)
            if by == "day":
                await _add_kept(connection, spells, first, last, model)
        return [spells[begins] for begins in sorted(spells)]

    async def models(self, since: datetime) -> Sequence[ModelEnds]:
        which = [ENDED, *asked_since(since)]
        async with self._database.read() as connection:
            ends = await connection.execute(
                select(GenerationRow.model, *counts())
                .where(*which)
                .group_by(GenerationRow.model)
                .order_by(GenerationRow.model)
            )
            rows = ends.all()
            errors = await _errors(connection, GenerationRow.model, which)
            times = await _first_token_percentiles(connection, which)
        return [
            ModelEnds(model, asked, failed, errors[model], *times.get(model, (None, None)))
            for model, asked, failed in rows
        ]


async def _spells(
    connection: AsyncConnection, by: Stretch, which: Sequence[ColumnElement[bool]]
) -> dict[datetime, Spell]:
    stretch = _stretch(connection, by)
    rows = await connection.execute(
        select(
            stretch.label("begins"),
            *(each.label(name) for each, name in zip(counts(), ("asked", "failed"), strict=True)),
            func.sum(GenerationRow.prompt_tokens).label("prompt_tokens"),
            func.coalesce(func.sum(GenerationRow.completion_tokens), 0).label("completion_tokens"),
            func.sum(GenerationRow.cost).label("cost"),
            func.avg(GenerationRow.first_token_ms).label("first_token_ms"),
            func.avg(GenerationRow.latency_ms).label("latency_ms"),
        )
        .where(*which)
        .group_by(stretch)
    )
    found = [_spell(row) for row in rows]
    errors = await _errors(connection, stretch, which)
    by_begin = {_moment(stretch): counted for stretch, counted in errors.items()}
    return {spell.begins: replace(spell, errors=by_begin.get(spell.begins, {})) for spell in found}


def _spell(row: Row[*tuple[Any, ...]]) -> Spell:
    return Spell(
        begins=_moment(row.begins),
        generations=row.asked,
        failed=row.failed,
        # Postgres sums large numbers up to ones of any size, and averages likewise.
        prompt_tokens=int(row.prompt_tokens),
        completion_tokens=int(row.completion_tokens),
        cost=row.cost,
        first_token_ms=None if row.first_token_ms is None else float(row.first_token_ms),
        latency_ms=None if row.latency_ms is None else float(row.latency_ms),
    )


async def _add_kept(
    connection: AsyncConnection,
    spells: dict[datetime, Spell],
    first: datetime,
    last: datetime,
    model: str | None,
) -> None:
    query = (
        select(
            KeptUsageRow.day,
            func.sum(KeptUsageRow.generations).label("generations"),
            func.sum(KeptUsageRow.prompt_tokens).label("prompt_tokens"),
            func.sum(KeptUsageRow.completion_tokens).label("completion_tokens"),
            func.sum(KeptUsageRow.cost).label("cost"),
        )
        .where(KeptUsageRow.day.between(first.date(), last.date()))
        .group_by(KeptUsageRow.day)
    )
    if model is not None:
        query = query.where(KeptUsageRow.model == model)
    for row in await connection.execute(query):
        begins = datetime(row.day.year, row.day.month, row.day.day, tzinfo=UTC)
        spell = spells.get(begins, Spell(begins))
        costs = [cost for cost in (spell.cost, row.cost) if cost is not None]
        spells[begins] = replace(
            spell,
            generations=spell.generations + int(row.generations),
            prompt_tokens=spell.prompt_tokens + int(row.prompt_tokens),
            completion_tokens=spell.completion_tokens + int(row.completion_tokens),
            cost=sum(costs) if costs else None,
        )


async def _errors(
    connection: AsyncConnection,
    by: ColumnElement[str] | InstrumentedAttribute[str],
    which: Sequence[ColumnElement[bool]],
) -> defaultdict[str, dict[str, int]]:
    """How many failed with which code."""
    rows = await connection.execute(
        select(by, GenerationRow.error_code, func.count())
        .where(*which, GenerationRow.status.in_(FAILED), GenerationRow.error_code.is_not(None))
        .group_by(by, GenerationRow.error_code)
        .order_by(GenerationRow.error_code)
    )
    found = defaultdict[str, dict[str, int]](dict)
    for group, code, number in rows:
        found[group][cast("str", code)] = number
    return found


async def _first_token_percentiles(
    connection: AsyncConnection, which: Sequence[ColumnElement[bool]]
) -> dict[str, tuple[int, int]]:
    """The 50th and the 95th, by model; of the nearest rank, as both databases can tell it."""
    ranked = (
        select(
            GenerationRow.model,
            GenerationRow.first_token_ms,
            func.row_number()
            .over(partition_by=GenerationRow.model, order_by=GenerationRow.first_token_ms)
            .label("rank"),
            func.count().over(partition_by=GenerationRow.model).label("number"),
        )
        .where(*which, GenerationRow.first_token_ms.is_not(None))
        .subquery()
    )
    middle, late = (ranked.c.number * percent + 99 for percent in (50, 95))
    rows = await connection.execute(
        select(
            ranked.c.model,
            func.min(ranked.c.first_token_ms).filter(ranked.c.rank == middle // 100),
            func.min(ranked.c.first_token_ms).filter(ranked.c.rank == late // 100),
        ).group_by(ranked.c.model)
    )
    return {model: (half, most) for model, half, most in rows}


def _stretch(connection: AsyncConnection, by: Stretch) -> ColumnElement[str]:
    """The hour or day in UTC, as text: SQLite keeps nothing else, others have to be told."""
    moment = GenerationRow.created_at
    if connection.dialect.name == "sqlite":
        return func.strftime(literal_column(_SQLITE[by]), moment)
    in_utc = func.timezone(literal_column("'UTC'"), moment)
    return func.to_char(in_utc, literal_column(_POSTGRES[by]))


def _moment(stretch: str) -> datetime:
    return datetime.fromisoformat(stretch).replace(tzinfo=UTC)
