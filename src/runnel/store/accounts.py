"""The accounts' store over SQL: each call one short transaction."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from runnel.accounts.entities import ApiKey, ListedUser, User, UserRole
from runnel.accounts.ports import Account, Exchange, Exchanged, Revocations, UserChange
from runnel.store import keys, logins, users
from runnel.store.engine import Database
from runnel.store.tables import UserRow


class SqlAccountStore:
    """Implements accounts.ports.AccountStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_user(
        self, username: str, password_hash: str, role: UserRole, moment: datetime
    ) -> User | None:
        try:
            async with self._database.write() as connection:
                return await users.add(connection, username, password_hash, role, moment)
        except IntegrityError:
            return None

    async def account(self, user_id: str) -> Account | None:
        async with self._database.read_briefly() as connection:
            return await users.find(connection, UserRow.id == user_id)

    async def account_named(self, username: str) -> Account | None:
        async with self._database.read_briefly() as connection:
            return await users.find(connection, UserRow.name_key == users.name_key(username))

    async def users(self) -> list[User]:
        async with self._database.read() as connection:
            return await users.every(connection)

    async def user_page(self, part: str, after: str, limit: int) -> list[ListedUser]:
        async with self._database.read() as connection:
            return await users.page(connection, part, after, limit)

    async def change_user(self, user_id: str, change: UserChange, moment: datetime) -> User | None:
        async with self._database.write() as connection:
            if change.role is not None:
                await users.set_role(connection, user_id, change.role)
            if change.disabled:
                await users.disable(connection, user_id, moment)
                await logins.revoke_all(connection, user_id, moment)
            elif change.disabled is not None:
                await users.enable(connection, user_id)
            account = await users.find(connection, UserRow.id == user_id)
            return account and account.user

    async def has_admin(self) -> bool:
        async with self._database.read() as connection:
            return await users.has_admin(connection)

    async def change_password(self, account: Account, password_hash: str, moment: datetime) -> bool:
        async with self._database.write() as connection:
            if not await users.replace_password(connection, account, password_hash):
                return False
            await logins.revoke_all(connection, account.user.id, moment)
            return True

    async def disable_user(self, user_id: str, moment: datetime) -> None:
        async with self._database.write() as connection:
            await users.disable(connection, user_id, moment)
            await logins.revoke_all(connection, user_id, moment)

    async def enable_user(self, user_id: str) -> None:
        async with self._database.write() as connection:
            await users.enable(connection, user_id)

    async def refuse_last_admin(self, user_id: str) -> None:
        # It locks what it counts.
        async with self._database.write() as connection:
            await users.refuse_last_admin(connection, user_id)

    async def delete_user(self, user_id: str) -> None:
        async with self._database.write() as connection:
            await users.remove(connection, user_id)

    async def add_login(
        self, account: Account, refresh_id: str | None, moment: datetime, expires_at: datetime
    ) -> str | None:
        async with self._database.write() as connection:
            return await logins.add(connection, account, refresh_id, moment, expires_at)

    async def exchange(self, exchange: Exchange) -> Exchanged:
        async with self._database.write() as connection:
            return await logins.exchange(connection, exchange)

    async def revoke_login(self, login_id: str, moment: datetime) -> bool:
        async with self._database.write() as connection:
            return await logins.revoke(connection, login_id, moment)

    async def user_of_login(self, login_id: str, moment: datetime) -> User | None:
        async with self._database.look() as connection:
            return await logins.user(connection, login_id, moment)

    async def add_key(
        self, user_id: str, name: str, prefix: str, key_hash: str, *, most: int, moment: datetime
    ) -> ApiKey:
        async with self._database.write() as connection:
            return await keys.add(
                connection, user_id, name, prefix, key_hash, most=most, moment=moment
            )

    async def keys(self, user_id: str) -> list[ApiKey]:
        async with self._database.read() as connection:
            return await keys.live(connection, user_id)

    async def revoke_key(self, user_id: str, key_id: str, moment: datetime) -> bool:
        async with self._database.write() as connection:
            return await keys.revoke(connection, user_id, key_id, moment)

    async def user_of_key(self, key_hash: str) -> tuple[str, User] | None:
        async with self._database.look() as connection:
            return await keys.user(connection, key_hash)

    async def user_behind(self, login_id: str, moment: datetime) -> User | None:
        async with self._database.read_briefly() as connection:
            user = await logins.user(connection, login_id, moment)
            return user or await keys.user_of_id(connection, login_id)

    async def revoked_since(self, moment: datetime) -> Revocations:
        async with self._database.read_briefly() as connection:
            revoked = await logins.revoked_since(connection, moment)
            revoked |= await keys.revoked_since(connection, moment)
            disabled = await users.disabled_since(connection, moment)
        return Revocations(frozenset(revoked), disabled)

    async def missing_users(self, user_ids: Collection[str]) -> set[str]:
        async with self._database.read_briefly() as connection:
            return await users.missing(connection, user_ids)
