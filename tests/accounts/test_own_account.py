"""Users change their passwords and delete their accounts, and the last admin stays."""

import asyncio

import pytest
from stand_ins import (
    PASSWORD,
    CountingPasswords,
    count,
    fails,
    is_refused,
    signed_in,
)

from runnel.accounts.administration import Administration
from runnel.accounts.entities import User
from runnel.accounts.service import Accounts
from runnel.errors import Code, RunnelError
from runnel.store.engine import Database
from runnel.store.tables import ApiKeyRow, LoginRow, RefreshTokenRow, UserRow


class TestPassword:
    async def test_a_new_password_ends_all_logins_but_no_api_key(
        self, accounts: Accounts, ada: User
    ) -> None:
        pairs = [await accounts.login(ada.username, PASSWORD) for _ in range(3)]
        identity = await accounts.authenticate(pairs[0].access_token)
        _, secret = await accounts.create_key(identity, "script")
        await accounts.change_password(identity, PASSWORD, "another good one")
        for pair in pairs:
            assert await is_refused(accounts, pair.access_token)
            await fails(accounts.refresh(pair.refresh_token), Code.UNAUTHORIZED)
        await accounts.authenticate(secret)
        await fails(accounts.login(ada.username, PASSWORD), Code.UNAUTHORIZED)
        await accounts.login(ada.username, "another good one")

    async def test_a_wrong_or_weak_one_changes_nothing(
        self, accounts: Accounts, ada: User, passwords: CountingPasswords
    ) -> None:
        identity = await signed_in(accounts)
        before = passwords.worked
        await fails(
            accounts.change_password(identity, "a wrong one", "another good one"),
            Code.FORBIDDEN,
            "current_password",
        )
        assert passwords.worked - before == 1
        await fails(
            accounts.change_password(identity, PASSWORD, "ADA"),
            Code.INVALID_REQUEST,
            "new_password",
        )
        await accounts.login(ada.username, PASSWORD)

    async def test_of_two_changes_at_once_one_holds(self, accounts: Accounts, ada: User) -> None:
        identity = await signed_in(accounts)
        outcomes = await asyncio.gather(
            accounts.change_password(identity, PASSWORD, "the one new one"),
            accounts.change_password(identity, PASSWORD, "the other new one"),
            return_exceptions=True,
        )
        lost = [outcome for outcome in outcomes if isinstance(outcome, RunnelError)]
        # Whoever begins to read after the other has written finds its password wrong.
        assert [error.code in {Code.CONFLICT, Code.FORBIDDEN} for error in lost] == [True]
        kept = "the one new one" if outcomes[0] is None else "the other new one"
        await accounts.login(ada.username, kept)


class TestDeletion:
    async def test_a_deleted_account_leaves_nothing_and_its_name_is_free(
        self, accounts: Accounts, ada: User, database: Database
    ) -> None:
        identity = await signed_in(accounts, ada.username)
        await accounts.create_key(identity, "key")
        await accounts.delete(ada.id)
        for table in (UserRow, LoginRow, RefreshTokenRow, ApiKeyRow):
            assert await count(database, table) == 0
        await fails(accounts.create_key(identity, "key"), Code.CONFLICT)
        await accounts.register("ada", PASSWORD)

    @pytest.mark.parametrize("user_id", ["", "nul\0", "0196a3f0-7c11-7a2b-9d3c-0123456789ab"])
    async def test_an_unknown_account_is_not_found(self, accounts: Accounts, user_id: str) -> None:
        await fails(accounts.delete(user_id), Code.NOT_FOUND)

    async def test_the_last_enabled_admin_stays(
        self, accounts: Accounts, administration: Administration
    ) -> None:
        await administration.add_user("one", PASSWORD, "admin")
        await administration.add_user("two", PASSWORD, "admin")
        await administration.add_user("three", PASSWORD, "admin")
        ids = {user.username: user.id for user in await administration.list_users()}
        await accounts.delete(ids["one"])
        await administration.disable("two")
        await fails(administration.disable("three"), Code.CONFLICT)
        await fails(accounts.delete(ids["three"]), Code.CONFLICT)
        await administration.enable("two")
        await accounts.delete(ids["three"])

    async def test_of_two_admins_who_leave_at_once_one_stays(
        self, accounts: Accounts, administration: Administration
    ) -> None:
        await administration.add_user("one", PASSWORD, "admin")
        await administration.add_user("two", PASSWORD, "admin")
        users = await administration.list_users()
        await asyncio.gather(*(accounts.delete(user.id) for user in users), return_exceptions=True)
        assert len(await administration.list_users()) == 1
