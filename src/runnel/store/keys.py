"""Queries of API keys."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.accounts.entities import ApiKey, User
from runnel.errors import Code, RunnelError
from runnel.store import users
from runnel.store.ids import new_id
from runnel.store.statements import Statement
from runnel.store.tables import ApiKeyRow, UserRow, UtcDateTime

#: A revoked key is kept so long, for every instance to see that it is.
_KEPT: Final = timedelta(days=1)


#: Keys that hold, each with its user.
_HOLDERS: Final = (
    select(*users.COLUMNS, ApiKeyRow.id.label("key_id"))
    .join(ApiKeyRow, ApiKeyRow.user_id == UserRow.id)
    .where(ApiKeyRow.revoked_at.is_(None), UserRow.disabled_at.is_(None))
)
_HOLDER: Final = Statement(_HOLDERS.where(ApiKeyRow.hash == bindparam("key_hash")))


async def add(
    connection: AsyncConnection,
    user_id: str,
    name: str,
    prefix: str,
    key_hash: str,
    *,
    most: int,
    moment: datetime,
) -> ApiKey:
    """Removes what was revoked long ago. Raises RunnelError `conflict`."""
    await _lock_owner(connection, user_id)
    await connection.execute(
        delete(ApiKeyRow).where(ApiKeyRow.user_id == user_id, ApiKeyRow.revoked_at < moment - _KEPT)
    )
    live = await connection.scalar(
        select(func.count()).where(ApiKeyRow.user_id == user_id, ApiKeyRow.revoked_at.is_(None))
    )
    if (live or 0) >= most:
        raise RunnelError(Code.CONFLICT, f"There are {most} API keys already. Delete one before.")
    key = ApiKey(new_id(), name, prefix, moment)
    await connection.execute(
        insert(ApiKeyRow).values(
            id=key.id,
            user_id=user_id,
            name=name,
            prefix=prefix,
            hash=key_hash,
            created_at=moment,
        )
    )
    return key


async def _lock_owner(connection: AsyncConnection, user_id: str) -> None:
    # Of two keys made at once, the second has to count the first.
    owner = await connection.scalar(
        select(UserRow.id).where(UserRow.id == user_id).with_for_update()
    )
    if owner is None:
        raise RunnelError(Code.CONFLICT, "The account went away meanwhile.")


async def live(connection: AsyncConnection, user_id: str) -> list[ApiKey]:
    rows = await connection.execute(
        select(ApiKeyRow.id, ApiKeyRow.name, ApiKeyRow.prefix, ApiKeyRow.created_at)
        .where(ApiKeyRow.user_id == user_id, ApiKeyRow.revoked_at.is_(None))
        .order_by(ApiKeyRow.id)
    )
    return [ApiKey(*row) for row in rows]


async def revoke(connection: AsyncConnection, user_id: str, key_id: str, moment: datetime) -> bool:
    found = await connection.scalar(
        update(ApiKeyRow)
        .where(
            ApiKeyRow.id == key_id,
            ApiKeyRow.user_id == user_id,
            ApiKeyRow.revoked_at.is_(None),
        )
        .values(revoked_at=moment)
        .returning(ApiKeyRow.id)
    )
    return found is not None


async def user(connection: AsyncConnection, key_hash: str) -> tuple[str, User] | None:
    row = await _HOLDER.first(connection, {"key_hash": key_hash})
    return (row.key_id, users.user_of(row)) if row else None


async def user_of_id(connection: AsyncConnection, key_id: str) -> User | None:
    row = (await connection.execute(_HOLDERS.where(ApiKeyRow.id == key_id))).first()
    return users.user_of(row) if row else None


_REVOKED: Final = Statement(
    select(ApiKeyRow.id).where(ApiKeyRow.revoked_at >= bindparam("moment", type_=UtcDateTime))
)


async def revoked_since(connection: AsyncConnection, moment: datetime) -> set[str]:
    return {row.id for row in await _REVOKED.rows(connection, {"moment": moment})}
