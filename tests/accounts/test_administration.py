"""What the operator does to users: the first admin, new users, passwords and tokens."""

import asyncio

import pytest
from stand_ins import (
    PASSWORD,
    StandingClock,
    fails,
    is_refused,
)

from runnel.accounts.administration import Administration
from runnel.accounts.entities import User
from runnel.accounts.service import Accounts
from runnel.errors import Code, StartupError


class TestAdministration:
    async def test_the_first_admin_is_made_once_with_a_password_shown_once(
        self, accounts: Accounts, administration: Administration
    ) -> None:
        password = await administration.ensure_admin("admin", None)
        assert password
        assert await administration.ensure_admin("admin", None) is None
        assert await administration.ensure_admin("another", "x") is None
        pair = await accounts.login("admin", password)
        assert (await accounts.authenticate(pair.access_token)).role == "admin"

    async def test_the_admin_may_have_a_weak_password(
        self, accounts: Accounts, administration: Administration
    ) -> None:
        assert await administration.ensure_admin("admin", "admin") is None
        await accounts.login("admin", "admin")

    async def test_instances_that_start_together_make_one_admin(
        self, accounts: Accounts, administration: Administration
    ) -> None:
        made = await asyncio.gather(*(administration.ensure_admin("admin", None) for _ in range(5)))
        [password] = [password for password in made if password]
        await accounts.login("admin", password)
        assert len(await administration.list_users()) == 1

    async def test_an_admin_cannot_have_a_users_name(
        self, accounts: Accounts, administration: Administration
    ) -> None:
        await accounts.register("admin", PASSWORD)
        with pytest.raises(StartupError):
            await administration.ensure_admin("Admin", PASSWORD)
        with pytest.raises(StartupError):
            await administration.ensure_admin("me", PASSWORD)

    async def test_added_users_get_in(
        self, accounts: Accounts, administration: Administration
    ) -> None:
        assert await administration.add_user("one", PASSWORD, "user") is None
        made_up = await administration.add_user("two", None, "admin")
        assert made_up
        await accounts.login("one", PASSWORD)
        await accounts.login("two", made_up)
        await fails(administration.add_user("ONE", None, "user"), Code.CONFLICT, "username")
        await fails(
            administration.add_user("three", "short", "user"), Code.INVALID_REQUEST, "password"
        )
        listed = [(user.username, user.role) for user in await administration.list_users()]
        assert listed == [("one", "user"), ("two", "admin")]

    async def test_a_password_set_ends_logins_and_enables_nothing(
        self, accounts: Accounts, administration: Administration, ada: User
    ) -> None:
        pair = await accounts.login(ada.username, PASSWORD)
        made_up = await administration.set_password("ada", None)
        assert await is_refused(accounts, pair.access_token)
        await accounts.login(ada.username, made_up)
        await administration.disable("ada")
        assert await administration.set_password("ada", PASSWORD) == PASSWORD
        await fails(accounts.login(ada.username, PASSWORD), Code.UNAUTHORIZED)

    async def test_an_issued_token_lets_in_as_long_as_an_access_token(
        self, accounts: Accounts, administration: Administration, ada: User, clock: StandingClock
    ) -> None:
        token = await administration.issue_token("ada")
        identity = await accounts.authenticate(token)
        assert identity.user_id == ada.id
        clock.advance(3600)
        assert await is_refused(accounts, token)

    async def test_an_issued_token_can_be_logged_out(
        self, accounts: Accounts, administration: Administration, ada: User
    ) -> None:
        token = await administration.issue_token(ada.username)
        await accounts.logout(await accounts.authenticate(token))
        assert await is_refused(accounts, token)

    async def test_who_is_disabled_is_issued_no_token(
        self, administration: Administration, ada: User
    ) -> None:
        await administration.disable(ada.username)
        await fails(administration.issue_token(ada.username), Code.CONFLICT)

    @pytest.mark.parametrize("username", ["nobody", "", "nul\0", "\ud800"])
    async def test_an_unknown_name_is_not_found(
        self, administration: Administration, username: str
    ) -> None:
        await fails(administration.disable(username), Code.NOT_FOUND)
        await fails(administration.enable(username), Code.NOT_FOUND)
        await fails(administration.set_password(username, None), Code.NOT_FOUND)
        await fails(administration.issue_token(username), Code.NOT_FOUND)
