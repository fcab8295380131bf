"""Queries of logins and their refresh tokens. Which of two exchanges wins is decided here."""

from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.accounts.entities import User
from runnel.accounts.ports import Account, Exchange, Exchanged
from runnel.store import users
from runnel.store.ids import new_id
from runnel.store.statements import Statement
from runnel.store.tables import LoginRow, RefreshTokenRow, UserRow, UtcDateTime


async def add(
    connection: AsyncConnection,
    account: Account,
    refresh_id: str | None,
    moment: datetime,
    expires_at: datetime,
) -> str | None:
    """The new login's id; None if the account is not any more what it was."""
    if not await users.is_still(connection, account):
        return None
    user_id, login_id = account.user.id, new_id()
    await connection.execute(
        delete(LoginRow).where(LoginRow.user_id == user_id, LoginRow.expires_at <= moment)
    )
    await connection.execute(
        insert(LoginRow).values(
            id=login_id, user_id=user_id, created_at=moment, expires_at=expires_at
        )
    )
    if refresh_id is not None:
        await connection.execute(insert(RefreshTokenRow).values(id=refresh_id, login_id=login_id))
    return login_id


async def exchange(connection: AsyncConnection, asked: Exchange) -> Exchanged:
    """What it returns has to be committed, also if it is a refusal."""
    if not await _lock_live(connection, asked.login_id, asked.moment):
        return Exchanged.ENDED
    if await _use(connection, asked):
        await _follow(connection, asked)
        return Exchanged.DONE
    used_at = await connection.scalar(
        select(RefreshTokenRow.used_at).where(
            RefreshTokenRow.id == asked.old_id, RefreshTokenRow.login_id == asked.login_id
        )
    )
    if used_at is not None and used_at > asked.forgiven_since:
        return Exchanged.JUST_USED
    await revoke(connection, asked.login_id, asked.moment)
    return Exchanged.REVOKED


async def _lock_live(connection: AsyncConnection, login_id: str, moment: datetime) -> bool:
    # The login before its tokens, as a removal goes: in another order the two could deadlock.
    found = await connection.scalar(
        select(LoginRow.id)
        .join(UserRow, UserRow.id == LoginRow.user_id)
        .where(
            LoginRow.id == login_id,
            LoginRow.revoked_at.is_(None),
            LoginRow.expires_at > moment,
            UserRow.disabled_at.is_(None),
        )
        .with_for_update(of=LoginRow)
    )
    return found is not None


async def _use(connection: AsyncConnection, asked: Exchange) -> bool:
    used = await connection.scalar(
        update(RefreshTokenRow)
        .where(
            RefreshTokenRow.id == asked.old_id,
            RefreshTokenRow.login_id == asked.login_id,
            RefreshTokenRow.used_at.is_(None),
        )
        .values(used_at=asked.moment)
        .returning(RefreshTokenRow.id)
    )
    return used is not None


async def _follow(connection: AsyncConnection, asked: Exchange) -> None:
    await connection.execute(
        delete(RefreshTokenRow).where(
            RefreshTokenRow.login_id == asked.login_id,
            RefreshTokenRow.used_at < asked.forgotten_before,
        )
    )
    await connection.execute(
        insert(RefreshTokenRow).values(id=asked.new_id, login_id=asked.login_id)
    )
    await connection.execute(
        update(LoginRow).where(LoginRow.id == asked.login_id).values(expires_at=asked.expires_at)
    )


async def revoke(connection: AsyncConnection, login_id: str, moment: datetime) -> bool:
    found = await connection.scalar(
        update(LoginRow)
        .where(LoginRow.id == login_id)
        .values(revoked_at=func.coalesce(LoginRow.revoked_at, literal(moment, UtcDateTime)))
        .returning(LoginRow.id)
    )
    return found is not None


async def revoke_all(connection: AsyncConnection, user_id: str, moment: datetime) -> None:
    await connection.execute(
        update(LoginRow)
        .where(LoginRow.user_id == user_id, LoginRow.revoked_at.is_(None))
        .values(revoked_at=moment)
    )


_HOLDER: Final = Statement(
    select(*users.COLUMNS)
    .join(LoginRow, LoginRow.user_id == UserRow.id)
    .where(
        LoginRow.id == bindparam("login_id"),
        LoginRow.revoked_at.is_(None),
        LoginRow.expires_at > bindparam("moment", type_=UtcDateTime),
        UserRow.disabled_at.is_(None),
    )
)


async def user(connection: AsyncConnection, login_id: str, moment: datetime) -> User | None:
    row = await _HOLDER.first(connection, {"login_id": login_id, "moment": moment})
    return users.user_of(row) if row else None


_REVOKED: Final = Statement(
    select(LoginRow.id).where(LoginRow.revoked_at >= bindparam("moment", type_=UtcDateTime))
)


async def revoked_since(connection: AsyncConnection, moment: datetime) -> set[str]:
    return {row.id for row in await _REVOKED.rows(connection, {"moment": moment})}
