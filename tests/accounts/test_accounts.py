"""Accounts over a real database: who gets in, who does not, and what each is told."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from stand_ins import CountingPasswords, StandingClock
from structlog.testing import capture_logs

from runnel.accounts.administration import Administration
from runnel.accounts.entities import Identity, TokenPair, User
from runnel.accounts.logins import Logins
from runnel.accounts.passwords import Passwords
from runnel.accounts.ports import AccountStore
from runnel.accounts.service import MOST_KEYS, Accounts
from runnel.accounts.tokens import Tokens, refused
from runnel.errors import Code, RunnelError, StartupError
from runnel.store.engine import Database
from runnel.store.tables import ApiKeyRow, LoginRow, RefreshTokenRow, UserRow

PASSWORD = "correct horse battery"


@pytest.fixture
async def ada(accounts: Accounts) -> User:
    return await accounts.register("Ada", PASSWORD)


@pytest.fixture
def open_accounts(
    store: AccountStore, passwords: Passwords, logins: Logins, clock: StandingClock
) -> Accounts:
    """Accounts that let people in without credentials, and nobody register."""
    return Accounts(store, passwords, logins, registration_open=False, anonymous=True, clock=clock)


async def fails(work: Awaitable[object], code: Code, field: str | None = None) -> str:
    """Asserts that it fails so; the message."""
    with pytest.raises(RunnelError) as caught:
        await work
    assert (caught.value.code, caught.value.field) == (code, field)
    return caught.value.message


async def is_refused(accounts: Accounts, credential: str) -> bool:
    message = await fails(accounts.authenticate(credential), Code.UNAUTHORIZED)
    return message == refused().message


async def signed_in(accounts: Accounts, username: str = "Ada") -> Identity:
    pair = await accounts.login(username, PASSWORD)
    return await accounts.authenticate(pair.access_token)


class TestRegistration:
    async def test_a_registered_user_logs_in_in_whatever_case(
        self, accounts: Accounts, ada: User, clock: StandingClock
    ) -> None:
        identity = await signed_in(accounts, "aDA")
        assert (identity.user_id, identity.username, identity.role) == (ada.id, "Ada", "user")
        assert identity.login_id
        assert not identity.guest
        assert await accounts.me(identity) == User(ada.id, "Ada", "user", clock.now, None)

    async def test_a_closed_registration_says_so(self, open_accounts: Accounts) -> None:
        await fails(open_accounts.register("ada", PASSWORD), Code.FORBIDDEN)

    async def test_a_name_is_taken_in_whatever_case(self, accounts: Accounts, ada: User) -> None:
        await fails(accounts.register("ADA", PASSWORD), Code.CONFLICT, "username")
        assert ada.username == "Ada"

    @pytest.mark.parametrize(
        "username",
        [
            "",
            "x" * 65,
            "two words",
            "tab\t",
            "line\n",
            "nul\0",
            "\ud800",
            "ïda",
            "a/b",
            "me",
            "ME",
            "guest",
            "Guest",
            "0196a3f0-7c11-7a2b-9d3c-0123456789AB",
        ],
    )
    async def test_an_unfit_name_is_refused(self, accounts: Accounts, username: str) -> None:
        await fails(accounts.register(username, PASSWORD), Code.INVALID_REQUEST, "username")

    @pytest.mark.parametrize("username", ["a", "x" * 64, "Ada.L_1@example.org", "-+-"])
    async def test_a_fit_name_is_taken(self, accounts: Accounts, username: str) -> None:
        assert (await accounts.register(username, PASSWORD)).username == username

    async def test_a_weak_password_is_refused_with_the_reason(self, accounts: Accounts) -> None:
        message = await fails(
            accounts.register("ada", "password"), Code.INVALID_REQUEST, "password"
        )
        assert message == "The password is one of the commonest there are."

    async def test_of_many_who_want_a_name_at_once_one_gets_it(self, accounts: Accounts) -> None:
        outcomes = await asyncio.gather(
            *(accounts.register(name, PASSWORD) for name in ("ada", "Ada", "ADA", "aDa")),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, User) for outcome in outcomes) == 1


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


class TestGuest:
    async def test_all_who_come_at_once_without_credentials_are_one_guest(
        self, open_accounts: Accounts
    ) -> None:
        guests = await asyncio.gather(*(open_accounts.authenticate(None) for _ in range(10)))
        assert len(set(guests)) == 1
        guest = guests[0]
        assert (guest.username, guest.role, guest.login_id, guest.guest) == (
            "guest", "user", None, True
        )  # fmt: skip

    async def test_a_guest_may_change_nothing(self, open_accounts: Accounts) -> None:
        guest = await open_accounts.authenticate(None)
        await fails(open_accounts.create_key(guest, "key"), Code.FORBIDDEN)
        await fails(open_accounts.change_password(guest, "", PASSWORD), Code.FORBIDDEN)
        await fails(open_accounts.delete(guest.user_id), Code.FORBIDDEN)
        await fails(open_accounts.logout(guest), Code.CONFLICT)

    async def test_the_command_line_gives_a_guest_neither_password_nor_token(
        self, open_accounts: Accounts, administration: Administration
    ) -> None:
        await open_accounts.authenticate(None)
        await fails(administration.set_password("guest", PASSWORD), Code.FORBIDDEN)
        await fails(administration.issue_token("Guest"), Code.FORBIDDEN)

    async def test_a_disabled_guest_is_refused(
        self, open_accounts: Accounts, administration: Administration
    ) -> None:
        await open_accounts.authenticate(None)
        await administration.disable("guest")
        await fails(open_accounts.authenticate(None), Code.UNAUTHORIZED)

    async def test_credentials_count_where_guests_are_let_in_too(
        self, accounts: Accounts, open_accounts: Accounts, ada: User
    ) -> None:
        pair = await accounts.login(ada.username, PASSWORD)
        assert not (await open_accounts.authenticate(pair.access_token)).guest
        assert await is_refused(open_accounts, "wrong")


class TestRefresh:
    async def test_a_refresh_token_gives_a_new_pair_of_the_same_login(
        self, accounts: Accounts, ada: User, clock: StandingClock
    ) -> None:
        first = await accounts.login(ada.username, PASSWORD)
        clock.advance(7200)
        second = await accounts.refresh(first.refresh_token)
        assert await is_refused(accounts, first.access_token)
        identity = await accounts.authenticate(second.access_token)
        assert identity.user_id == ada.id
        await accounts.logout(identity)
        await fails(accounts.refresh(second.refresh_token), Code.UNAUTHORIZED)

    async def test_a_login_that_is_refreshed_goes_on(
        self, accounts: Accounts, ada: User, clock: StandingClock
    ) -> None:
        pair = await accounts.login(ada.username, PASSWORD)
        for _ in range(4):
            clock.advance(29 * 86_400)
            pair = await accounts.refresh(pair.refresh_token)
        await accounts.authenticate(pair.access_token)
        clock.advance(30 * 86_400)
        await fails(accounts.refresh(pair.refresh_token), Code.UNAUTHORIZED)

    async def test_of_two_at_once_one_gets_the_pair_and_nothing_is_revoked(
        self, accounts: Accounts, ada: User, clock: StandingClock
    ) -> None:
        pair = await accounts.login(ada.username, PASSWORD)
        for _ in range(50):
            outcomes = await asyncio.gather(
                accounts.refresh(pair.refresh_token),
                accounts.refresh(pair.refresh_token),
                return_exceptions=True,
            )
            errors = [outcome for outcome in outcomes if isinstance(outcome, RunnelError)]
            pairs = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
            assert [(error.code, error.retryable) for error in errors] == [(Code.CONFLICT, True)]
            [pair] = pairs
            await accounts.authenticate(pair.access_token)
            clock.advance(1)

    async def test_two_tabs_ten_seconds_apart_are_forgiven(
        self, accounts: Accounts, ada: User, clock: StandingClock
    ) -> None:
        first = await accounts.login(ada.username, PASSWORD)
        second = await accounts.refresh(first.refresh_token)
        clock.advance(9.9)
        await fails(accounts.refresh(first.refresh_token), Code.CONFLICT)
        await accounts.authenticate(second.access_token)
        await accounts.refresh(second.refresh_token)

    @pytest.mark.parametrize("seconds", [10, 59, 61, 86_400])
    async def test_a_token_shown_again_later_revokes_the_whole_login(
        self, accounts: Accounts, ada: User, clock: StandingClock, seconds: float
    ) -> None:
        first = await accounts.login(ada.username, PASSWORD)
        other = await accounts.login(ada.username, PASSWORD)
        second = await accounts.refresh(first.refresh_token)
        clock.advance(seconds)
        latest = await accounts.refresh(second.refresh_token)
        with capture_logs() as logs:
            await fails(accounts.refresh(first.refresh_token), Code.UNAUTHORIZED)
        assert [entry["event"] for entry in logs] == ["refresh_token_reused"]
        assert first.refresh_token not in repr(logs)
        assert await is_refused(accounts, latest.access_token)
        await fails(accounts.refresh(latest.refresh_token), Code.UNAUTHORIZED)
        await accounts.refresh(other.refresh_token)

    async def test_used_tokens_are_forgotten_and_taken_for_stolen_all_the_same(
        self, accounts: Accounts, ada: User, clock: StandingClock, database: Database
    ) -> None:
        first = pair = await accounts.login(ada.username, PASSWORD)
        for _ in range(20):
            clock.advance(61)
            pair = await accounts.refresh(pair.refresh_token)
        assert await count(database, RefreshTokenRow) == 2
        await fails(accounts.refresh(first.refresh_token), Code.UNAUTHORIZED)
        assert await is_refused(accounts, pair.access_token)

    async def test_an_access_token_refreshes_nothing(self, accounts: Accounts, ada: User) -> None:
        pair = await accounts.login(ada.username, PASSWORD)
        await fails(accounts.refresh(pair.access_token), Code.UNAUTHORIZED)
        await accounts.refresh(pair.refresh_token)


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


class TestKeys:
    async def test_a_key_is_accepted_where_a_token_is(
        self, accounts: Accounts, ada: User, clock: StandingClock
    ) -> None:
        identity = await signed_in(accounts)
        key, secret = await accounts.create_key(identity, " nightly job ")
        assert (key.name, key.created_at) == ("nightly job", clock.now)
        assert secret.startswith(key.prefix)
        assert len(key.prefix) < len(secret) / 3
        clock.advance(365 * 86_400)
        assert await accounts.authenticate(secret) == Identity(ada.id, "Ada", "user", key.id)
        assert await accounts.list_keys(identity) == [key]

    async def test_the_text_of_a_key_is_not_stored(
        self, accounts: Accounts, ada: User, database: Database
    ) -> None:
        _, secret = await accounts.create_key(await signed_in(accounts, ada.username), "key")
        async with database.read() as connection:
            row = (await connection.execute(select(ApiKeyRow))).one()
        assert secret not in repr(row)
        assert len(row.hash) == 64

    async def test_a_deleted_key_is_refused_and_unknown(
        self, accounts: Accounts, ada: User
    ) -> None:
        identity = await signed_in(accounts, ada.username)
        key, secret = await accounts.create_key(identity, "key")
        await accounts.delete_key(identity, key.id)
        assert await is_refused(accounts, secret)
        assert await accounts.list_keys(identity) == []
        await fails(accounts.delete_key(identity, key.id), Code.NOT_FOUND)

    async def test_a_foreign_key_is_unknown(self, accounts: Accounts, ada: User) -> None:
        key, secret = await accounts.create_key(await signed_in(accounts, ada.username), "key")
        await accounts.register("eve", PASSWORD)
        eve = await signed_in(accounts, "eve")
        messages = {
            await fails(accounts.delete_key(eve, key_id), Code.NOT_FOUND)
            for key_id in (key.id, "0196a3f0-7c11-7a2b-9d3c-0123456789ab", "x", "", "nul\0")
        }
        assert len(messages) == 1
        assert await accounts.list_keys(eve) == []
        await accounts.authenticate(secret)

    async def test_a_user_has_at_most_so_many_keys_also_when_they_are_made_at_once(
        self, accounts: Accounts, ada: User
    ) -> None:
        identity = await signed_in(accounts, ada.username)
        outcomes = await asyncio.gather(
            *(accounts.create_key(identity, "key") for _ in range(MOST_KEYS + 5)),
            return_exceptions=True,
        )
        refusals = [outcome for outcome in outcomes if isinstance(outcome, RunnelError)]
        assert [error.code for error in refusals] == [Code.CONFLICT] * 5
        keys = await accounts.list_keys(identity)
        assert len(keys) == MOST_KEYS
        await accounts.delete_key(identity, keys[0].id)
        await accounts.create_key(identity, "key")

    async def test_keys_revoked_long_ago_are_removed(
        self, accounts: Accounts, ada: User, clock: StandingClock, database: Database
    ) -> None:
        _, secret = await accounts.create_key(await signed_in(accounts, ada.username), "lasting")
        identity = await accounts.authenticate(secret)
        for _ in range(3):
            key, _ = await accounts.create_key(identity, "short-lived")
            await accounts.delete_key(identity, key.id)
        clock.advance(86_401)
        await accounts.create_key(identity, "another")
        assert await count(database, ApiKeyRow) == 2

    @pytest.mark.parametrize("name", ["x" * 129, "line\nbreak", "nul\0", "\ud800"])
    async def test_an_unfit_name_is_refused(self, accounts: Accounts, ada: User, name: str) -> None:
        identity = await signed_in(accounts, ada.username)
        await fails(accounts.create_key(identity, name), Code.INVALID_REQUEST, "name")

    async def test_a_key_cannot_log_out(self, accounts: Accounts, ada: User) -> None:
        _, secret = await accounts.create_key(await signed_in(accounts, ada.username), "key")
        await fails(accounts.logout(await accounts.authenticate(secret)), Code.CONFLICT)
        await accounts.authenticate(secret)


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


async def count(database: Database, table: type[object]) -> int:
    async with database.read() as connection:
        return (await connection.scalar(select(func.count()).select_from(table))) or 0
