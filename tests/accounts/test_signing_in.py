"""Who gets in with a password or a credential, who does not, and what each is told."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stand_ins import (
    PASSWORD,
    CountingPasswords,
    StandingClock,
    count,
    fails,
    is_refused,
    signed_in,
)
from structlog.testing import capture_logs

from runnel.accounts.administration import Administration
from runnel.accounts.entities import TokenPair, User
from runnel.accounts.logins import Logins
from runnel.accounts.ports import AccountStore
from runnel.accounts.service import Accounts
from runnel.accounts.tokens import Tokens, refused
from runnel.errors import Code
from runnel.store.engine import Database
from runnel.store.tables import LoginRow, RefreshTokenRow


class TestLogin:
    async def test_all_who_do_not_get_in_are_told_the_same_for_the_same_work(
        self,
        accounts: Accounts,
        open_accounts: Accounts,
        administration: Administration,
        passwords: CountingPasswords,
        ada: User,
    ) -> None:
        await accounts.register("disabled", PASSWORD)
        await administration.disable("disabled")
        await open_accounts.authenticate(None)
        outcomes: set[tuple[str, int]] = set()
        for username, password in [
            (ada.username, "a wrong one"),
            ("unknown", PASSWORD),
            ("disabled", PASSWORD),
            ("disabled", "a wrong one"),
            ("guest", "!"),
            ("guest", ""),
            ("not a name\0", PASSWORD),
            ("\ud800", "\ud800"),
        ]:
            before = passwords.worked
            message = await fails(accounts.login(username, password), Code.UNAUTHORIZED)
            outcomes.add((message, passwords.worked - before))
        assert len(outcomes) == 1
        assert outcomes.pop()[1] == 1

    async def test_neither_name_nor_password_of_a_failed_login_is_logged(
        self, accounts: Accounts, ada: User
    ) -> None:
        with capture_logs() as logs:
            await fails(accounts.login("hunter2-typed-here", PASSWORD), Code.UNAUTHORIZED)
            await fails(accounts.login("Ada", "hunter2-typed-here"), Code.UNAUTHORIZED)
        assert [entry["user_id"] for entry in logs] == [None, ada.id]
        assert "hunter2" not in repr(logs)

    async def test_a_token_lives_as_long_as_it_says(
        self, accounts: Accounts, ada: User, clock: StandingClock
    ) -> None:
        pair = await accounts.login(ada.username, PASSWORD)
        assert pair.expires_in == 3600
        clock.advance(3590)
        await accounts.authenticate(pair.access_token)
        clock.advance(10)
        assert await is_refused(accounts, pair.access_token)

    async def test_no_access_token_outlives_its_login(
        self, store: AccountStore, tokens: Tokens, ada: User, clock: StandingClock
    ) -> None:
        logins = Logins(store, tokens, access_minutes=10_000, refresh_days=1, clock=clock)
        account = await store.account(ada.id)
        assert account
        pair = await logins.open(account)
        assert pair
        assert pair.expires_in == 86_400

    async def test_an_expired_login_is_nobodys(
        self, accounts: Accounts, store: AccountStore, ada: User, clock: StandingClock
    ) -> None:
        login_id = (await signed_in(accounts, ada.username)).login_id
        assert login_id
        end = clock.now + timedelta(days=30)
        assert await store.user_of_login(login_id, end - timedelta(seconds=1)) == ada
        assert await store.user_of_login(login_id, end) is None

    async def test_a_login_removes_the_expired_ones_of_its_user(
        self, accounts: Accounts, ada: User, clock: StandingClock, database: Database
    ) -> None:
        for _ in range(3):
            await accounts.login(ada.username, PASSWORD)
        clock.advance(31 * 86_400)
        await accounts.login(ada.username, PASSWORD)
        assert await count(database, LoginRow) == 1
        assert await count(database, RefreshTokenRow) == 1

    async def test_a_login_that_races_with_a_new_password_is_none(
        self, accounts: Accounts, store: AccountStore, logins: Logins, ada: User
    ) -> None:
        seen_before = await store.account(ada.id)
        assert seen_before
        await accounts.change_password(await signed_in(accounts), PASSWORD, "another good one")
        assert await logins.open(seen_before) is None


class TestAuthentication:
    @pytest.mark.parametrize(
        "credential", ["", "x", "rnl_", "rnl_" + "A" * 43, "rnl_" + "é" * 43, "rnl_\0", "a.b.c"]
    )
    async def test_garbage_is_refused(self, accounts: Accounts, credential: str) -> None:
        assert await is_refused(accounts, credential)

    @settings(
        max_examples=100,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(credential=st.text() | st.text().map(lambda text: "rnl_" + text))
    async def test_no_text_breaks_it(self, accounts: Accounts, credential: str) -> None:
        assert await is_refused(accounts, credential)

    async def test_a_refresh_token_is_no_credential(self, accounts: Accounts, ada: User) -> None:
        pair = await accounts.login(ada.username, PASSWORD)
        assert await is_refused(accounts, pair.refresh_token)

    async def test_without_credentials_nobody_is_let_in(self, accounts: Accounts) -> None:
        await fails(accounts.authenticate(None), Code.UNAUTHORIZED)

    async def test_who_is_logged_out_disabled_or_deleted_is_refused_alike(
        self, accounts: Accounts, administration: Administration
    ) -> None:
        pairs: dict[str, TokenPair] = {}
        for name in ("out", "disabled", "deleted"):
            await accounts.register(name, PASSWORD)
            pairs[name] = await accounts.login(name, PASSWORD)
        deleted = await accounts.authenticate(pairs["deleted"].access_token)
        await accounts.logout(await accounts.authenticate(pairs["out"].access_token))
        await administration.disable("disabled")
        await accounts.delete(deleted.user_id)
        for pair in pairs.values():
            assert await is_refused(accounts, pair.access_token)
            message = await fails(accounts.refresh(pair.refresh_token), Code.UNAUTHORIZED)
            assert message == refused().message
        assert await fails(accounts.me(deleted), Code.UNAUTHORIZED) == refused().message

    async def test_enabling_lets_the_user_in_again_but_no_old_login(
        self, accounts: Accounts, administration: Administration, ada: User
    ) -> None:
        pair = await accounts.login(ada.username, PASSWORD)
        _, secret = await accounts.create_key(await signed_in(accounts), "script")
        await administration.disable("ada")
        assert await is_refused(accounts, secret)
        await administration.enable("ada")
        assert await is_refused(accounts, pair.access_token)
        assert (await accounts.authenticate(secret)).user_id == ada.id
        await accounts.login(ada.username, PASSWORD)

    async def test_logging_out_ends_one_login_not_the_others(
        self, accounts: Accounts, ada: User
    ) -> None:
        first, second = await signed_in(accounts), await accounts.login(ada.username, PASSWORD)
        await accounts.logout(first)
        await accounts.logout(first)
        await accounts.authenticate(second.access_token)
        await accounts.refresh(second.refresh_token)
