"""Queries of leases: which instance makes a generation, and till when without a word of it.

Times are the database's: the clocks of instances differ.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.store.shown import IS_LIVE
from runnel.store.tables import GenerationRow


def until(seconds: float) -> ColumnElement[datetime]:
    """So long from now."""
    return func.clock_timestamp() + timedelta(seconds=seconds)


async def renew(
    connection: AsyncConnection, owner: str, ids: Collection[str], seconds: float
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Of these the owner's own that are live: they are for so long again.

    They are locked in their order, as by whoever checkpoints them: else the two could deadlock.
    """
    own = (
        select(GenerationRow.id)
        .where(GenerationRow.id.in_([*ids]), GenerationRow.owner == owner, IS_LIVE)
        .order_by(GenerationRow.id)
        .with_for_update(key_share=True)
    )
    rows = await connection.execute(
        update(GenerationRow)
        .where(GenerationRow.id.in_(own))
        .values(lease_until=until(seconds))
        .returning(
            GenerationRow.id,
            GenerationRow.abort_requested_at,
            GenerationRow.aborted_by,
            GenerationRow.needs_reader,
        )
    )
    return rows.all()


async def take(
    connection: AsyncConnection, owner: str, seconds: float, most: int, *, expired: bool
) -> Sequence[str]:
    """Live generations become the owner's, with a newer fence: those that were given back, and
    those whose lease is over, if `expired`; what another takes just now is passed over.
    """
    free: ColumnElement[bool] = GenerationRow.lease_until.is_(None)
    if expired:
        free = or_(free, GenerationRow.lease_until < func.clock_timestamp())
    found = (
        select(GenerationRow.id)
        .where(IS_LIVE, free)
        .order_by(GenerationRow.created_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    ids = await connection.scalars(
        update(GenerationRow)
        .where(GenerationRow.id.in_(found))
        .values(owner=owner, fence=GenerationRow.fence + 1, lease_until=until(seconds))
        .returning(GenerationRow.id)
    )
    return ids.all()


async def hand_back(connection: AsyncConnection, generation_id: str, fence: int) -> None:
    """Whoever looks next may take it."""
    await connection.execute(
        update(GenerationRow)
        .where(GenerationRow.id == generation_id, GenerationRow.fence == fence, IS_LIVE)
        .values(lease_until=None)
    )
