"""Accounts over a database that the migrations made, with a clock that stands still until a test moves it."""

from collections.abc import AsyncIterator, Iterator

import pytest
from stand_ins import PASSWORD, SECRET, CountingPasswords, StandingClock

from runnel.accounts.administration import Administration
from runnel.accounts.entities import User
from runnel.accounts.logins import Logins
from runnel.accounts.managing import Managing
from runnel.accounts.passwords import Passwords
from runnel.accounts.ports import AccountStore, tell_nobody
from runnel.accounts.service import Accounts
from runnel.accounts.tokens import Tokens
from runnel.store.accounts import SqlAccountStore
from runnel.store.engine import Database


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def passwords() -> Iterator[CountingPasswords]:
    passwords = CountingPasswords()
    yield passwords
    passwords.close()


@pytest.fixture
def tokens(clock: StandingClock) -> Tokens:
    return Tokens(SECRET, clock=clock)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=5, timeout_seconds=5)
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> AccountStore:
    return SqlAccountStore(database)


@pytest.fixture
def logins(store: AccountStore, tokens: Tokens, clock: StandingClock) -> Logins:
    return Logins(store, tokens, access_minutes=60, refresh_days=30, clock=clock)


@pytest.fixture
def accounts(
    store: AccountStore, passwords: Passwords, logins: Logins, clock: StandingClock
) -> Accounts:
    return Accounts(store, passwords, logins, registration_open=True, anonymous=False, clock=clock)


@pytest.fixture
def administration(
    store: AccountStore, passwords: Passwords, logins: Logins, clock: StandingClock
) -> Administration:
    return Administration(store, passwords, logins, clock=clock)


@pytest.fixture
def managing(store: AccountStore, passwords: Passwords, clock: StandingClock) -> Managing:
    return Managing(store, passwords, clock=clock, announce=tell_nobody)


@pytest.fixture
def open_accounts(
    store: AccountStore, passwords: Passwords, logins: Logins, clock: StandingClock
) -> Accounts:
    """Accounts that let people in without credentials, and nobody register."""
    return Accounts(store, passwords, logins, registration_open=False, anonymous=True, clock=clock)


@pytest.fixture
async def ada(accounts: Accounts) -> User:
    return await accounts.register("Ada", PASSWORD)
