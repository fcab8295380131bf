"""Queries of users."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.accounts.entities import ListedUser, User, UserRole
from runnel.accounts.ports import Account
from runnel.errors import Code, RunnelError
from runnel.store import indexing
from runnel.store.ids import new_id, now
from runnel.store.statements import Statement
from runnel.store.tables import LoginRow, SearchPendingRow, UserRow, UtcDateTime

#: What `user_of` needs.
COLUMNS: Final = (
    UserRow.id,
    UserRow.name,
    UserRow.role,
    UserRow.created_at,
    UserRow.disabled_at,
)


async def add(
    connection: AsyncConnection, name: str, password_hash: str, role: UserRole, moment: datetime
) -> User:
    """Raises IntegrityError if the name is taken."""
    user = User(new_id(), name, role, moment, disabled_at=None)
    await connection.execute(
        insert(UserRow).values(
            id=user.id,
            name=name,
            name_key=name_key(name),
            password_hash=password_hash,
            role=role,
            created_at=moment,
        )
    )
    return user


def name_key(name: str) -> str:
    return name.lower()


async def find(connection: AsyncConnection, which: ColumnElement[bool]) -> Account | None:
    row = (await connection.execute(select(UserRow).where(which))).first()
    return Account(user_of(row), row.password_hash) if row else None


async def every(connection: AsyncConnection) -> list[User]:
    rows = await connection.execute(select(UserRow).order_by(UserRow.id))
    return [user_of(row) for row in rows]


async def page(connection: AsyncConnection, part: str, after: str, limit: int) -> list[ListedUser]:
    """By name, those behind one."""
    newest_login = (
        select(func.max(LoginRow.created_at))
        .where(LoginRow.user_id == UserRow.id)
        .correlate(UserRow)
        .scalar_subquery()
    )
    query = (
        select(UserRow, newest_login.label("last_login_at"))
        .where(UserRow.name_key > name_key(after))
        .order_by(UserRow.name_key)
        .limit(limit)
    )
    if part:
        query = query.where(UserRow.name_key.contains(name_key(part), autoescape=True))
    rows = await connection.execute(query)
    return [ListedUser(user_of(row), row.last_login_at) for row in rows]


async def has_admin(connection: AsyncConnection) -> bool:
    found = await connection.scalar(select(UserRow.id).where(UserRow.role == "admin").limit(1))
    return found is not None


_LEAVING: Final = select(UserRow.leaving_until).where(
    UserRow.id == bindparam("user_id"), UserRow.disabled_at.is_(None)
)
_ADMITTING: Final = Statement(_LEAVING.with_for_update(read=True))
_ADMITTING_ALONE: Final = Statement(_LEAVING.with_for_update(key_share=True))


async def admit(connection: AsyncConnection, user_id: str, *, alone: bool = False) -> None:
    """Whoever writes for a user comes by here; the account stays as it is till the end.

    `alone`: one after the other. Raises RunnelError `unauthorized` if it is disabled or gone,
    `conflict` while it is being deleted.
    """
    admitting = _ADMITTING_ALONE if alone else _ADMITTING
    row = await admitting.first(connection, {"user_id": user_id})
    if row is None:
        # Who asks is found before the body is read, which may have taken long.
        raise RunnelError(Code.UNAUTHORIZED, "The account was disabled meanwhile.")
    if row.leaving_until is not None and row.leaving_until > now():
        raise RunnelError(Code.CONFLICT, "The account is being deleted.", retryable=False)


async def leave(connection: AsyncConnection, user_id: str, until: datetime) -> None:
    """Nothing is begun for the user till then."""
    await connection.execute(
        update(UserRow).where(UserRow.id == user_id).values(leaving_until=until)
    )


async def stay(connection: AsyncConnection, user_id: str, until: datetime) -> None:
    """It stays after all, unless another has said meanwhile that it leaves."""
    await connection.execute(
        update(UserRow)
        .where(UserRow.id == user_id, UserRow.leaving_until == until)
        .values(leaving_until=None)
    )


async def is_still(connection: AsyncConnection, account: Account) -> bool:
    """Whether the account is there, enabled and has that password; it stays so till the end."""
    found = await connection.scalar(
        select(UserRow.id)
        .where(
            UserRow.id == account.user.id,
            UserRow.password_hash == account.password_hash,
            UserRow.disabled_at.is_(None),
        )
        .with_for_update(read=True)
    )
    return found is not None


async def replace_password(
    connection: AsyncConnection, account: Account, password_hash: str
) -> bool:
    """False if the account is gone or has another password by now."""
    found = await connection.scalar(
        update(UserRow)
        .where(UserRow.id == account.user.id, UserRow.password_hash == account.password_hash)
        .values(password_hash=password_hash)
        .returning(UserRow.id)
    )
    return found is not None


async def disable(connection: AsyncConnection, user_id: str, moment: datetime) -> None:
    await refuse_last_admin(connection, user_id)
    await connection.execute(
        update(UserRow)
        .where(UserRow.id == user_id, UserRow.disabled_at.is_(None))
        .values(disabled_at=moment)
    )


async def set_role(connection: AsyncConnection, user_id: str, role: UserRole) -> None:
    if role != "admin":
        await refuse_last_admin(connection, user_id)
    await connection.execute(update(UserRow).where(UserRow.id == user_id).values(role=role))


async def enable(connection: AsyncConnection, user_id: str) -> None:
    await connection.execute(update(UserRow).where(UserRow.id == user_id).values(disabled_at=None))


async def remove(connection: AsyncConnection, user_id: str) -> None:
    await refuse_last_admin(connection, user_id)
    await connection.execute(delete(UserRow).where(UserRow.id == user_id))
    await indexing.forget(connection, SearchPendingRow.user_id == user_id)


async def refuse_last_admin(connection: AsyncConnection, user_id: str) -> None:
    """Raises RunnelError `conflict` if the user is the last enabled admin."""
    # Locked in one order: of two admins that remove each other at once, one is refused.
    admins = await connection.scalars(
        select(UserRow.id)
        .where(UserRow.role == "admin", UserRow.disabled_at.is_(None))
        .order_by(UserRow.id)
        .with_for_update()
    )
    if admins.all() == [user_id]:
        raise RunnelError(Code.CONFLICT, "This is the last enabled admin. Make another one before.")


_DISABLED: Final = Statement(
    select(UserRow.id, UserRow.disabled_at).where(
        UserRow.disabled_at >= bindparam("moment", type_=UtcDateTime)
    )
)


async def disabled_since(connection: AsyncConnection, moment: datetime) -> dict[str, datetime]:
    rows = await _DISABLED.rows(connection, {"moment": moment})
    return {row.id: row.disabled_at for row in rows}


async def missing(connection: AsyncConnection, user_ids: Collection[str]) -> set[str]:
    found = await connection.scalars(select(UserRow.id).where(UserRow.id.in_(user_ids)))
    return set(user_ids) - set(found)


def user_of(row: Row[*tuple[Any, ...]]) -> User:
    """Of a row that has the columns above."""
    return User(row.id, row.name, row.role, row.created_at, row.disabled_at)
