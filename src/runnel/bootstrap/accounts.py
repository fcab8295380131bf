"""The accounts: as parts of a server, and alone for the command line."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from runnel.accounts.administration import Administration
from runnel.accounts.logins import Logins
from runnel.accounts.managing import Managing
from runnel.accounts.passwords import Passwords, weakness
from runnel.accounts.ports import Announce, tell_nobody
from runnel.accounts.secret import kept_secret
from runnel.accounts.service import Accounts
from runnel.accounts.tickets import Spent, Tickets
from runnel.accounts.tokens import Tokens
from runnel.bootstrap.database import open_database
from runnel.control.memory import MemorySpent
from runnel.errors import StartupError
from runnel.secret_values import reveal
from runnel.settings import Settings
from runnel.store.accounts import SqlAccountStore
from runnel.store.engine import Database
from runnel.store.ids import now
from runnel.store.migrate import migrate

_log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True)
class AccountParts:
    store: SqlAccountStore
    accounts: Accounts
    tickets: Tickets
    administration: Administration
    managing: Managing


@asynccontextmanager
async def open_accounts(
    settings: Settings,
    database: Database,
    *,
    spent: Spent | None = None,
    announce: Announce = tell_nobody,
) -> AsyncGenerator[AccountParts]:
    """`spent` and `announce` are of a server; without them it stands alone."""
    store = SqlAccountStore(database)
    passwords = Passwords()
    tokens = Tokens(_jwt_secret(settings), clock=now)
    logins = Logins(
        store,
        tokens,
        access_minutes=settings.access_token_minutes,
        refresh_days=settings.refresh_token_days,
        clock=now,
        announce=announce,
    )
    accounts = Accounts(
        store,
        passwords,
        logins,
        registration_open=settings.registration == "open",
        anonymous=settings.anonymous_access,
        clock=now,
        announce=announce,
    )
    tickets = Tickets(
        accounts, tokens, spent or MemorySpent(), seconds=settings.ticket_seconds, clock=now
    )
    administration = Administration(store, passwords, logins, clock=now)
    managing = Managing(store, passwords, clock=now, announce=announce)
    try:
        yield AccountParts(store, accounts, tickets, administration, managing)
    finally:
        passwords.close()


@asynccontextmanager
async def open_administration(settings: Settings) -> AsyncGenerator[Administration]:
    """The accounts alone, for the command line, beside a running server or without one."""
    async with open_database(settings) as database:
        await migrate(database)
        async with open_accounts(settings, database) as who:
            yield who.administration


def judge_admin_password(settings: Settings) -> None:
    password = reveal(settings.admin_password)
    fault = None if password is None else weakness(settings.admin_username, password)
    if fault is None:
        return
    if settings.environment == "production":
        raise StartupError(f"ADMIN_PASSWORD {fault}; production does not start with it")
    _log.warning("admin_password.weak", why=fault)


def _jwt_secret(settings: Settings) -> str:
    if settings.jwt_secret is not None:
        return settings.jwt_secret.get_secret_value()
    return kept_secret(settings.data_dir / "jwt_secret")
