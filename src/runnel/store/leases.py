"""Queries of leases: who makes a generation, and for how long that holds without a word of it."""

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.store.shown import IS_LIVE
from runnel.store.tables import GenerationRow


async def hand_back(connection: AsyncConnection, generation_id: str, fence: int) -> None:
    """Whoever looks next may take it."""
    await connection.execute(
        update(GenerationRow)
        .where(GenerationRow.id == generation_id, GenerationRow.fence == fence, IS_LIVE)
        .values(lease_until=None)
    )
