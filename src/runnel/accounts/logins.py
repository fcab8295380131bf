"""Logins: families of tokens that descend from one password, each refresh token good for once."""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog

from runnel.accounts.entities import Identity, TokenPair
from runnel.accounts.ports import (
    Account,
    Announce,
    Exchange,
    Exchanged,
    LoginStore,
    tell_nobody,
)
from runnel.accounts.tokens import Claims, Tokens, TokenType, refused
from runnel.errors import Code, RunnelError

#: Two tabs may hand in one refresh token this far apart, and nobody takes them for thieves.
FORGIVEN: Final = timedelta(seconds=10)
#: How long a used refresh token is remembered.
REMEMBERED: Final = timedelta(seconds=60)

_log = structlog.get_logger()


class _Family(NamedTuple):
    """Whose tokens, and of which login."""

    user_id: str
    login_id: str


class Logins:
    """Opens logins, exchanges their refresh tokens, and finds who an access token stands for.

    A login ends with its last refresh token; no access token outlives its login.
    """

    def __init__(
        self,
        store: LoginStore,
        tokens: Tokens,
        *,
        access_minutes: int,
        refresh_days: int,
        clock: Callable[[], datetime],
        announce: Announce = tell_nobody,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._access_life = timedelta(minutes=access_minutes)
        self._login_life = timedelta(days=refresh_days)
        self._clock = clock
        self._announce = announce

    async def open(self, account: Account) -> TokenPair | None:
        """A new login; None if the account was disabled or its password changed meanwhile."""
        moment = self._clock()
        expires_at = moment + self._login_life
        refresh_id = _token_id()
        login_id = await self._store.add_login(account, refresh_id, moment, expires_at)
        if login_id is None:
            return None
        return self._pair(_Family(account.user.id, login_id), refresh_id, moment)

    async def open_once(self, account: Account) -> str | None:
        """The access token of a login that cannot be refreshed; None as with `open`."""
        moment, life = self._clock(), self._access_life
        login_id = await self._store.add_login(account, None, moment, moment + life)
        if login_id is None:
            return None
        family = _Family(account.user.id, login_id)
        return self._sign(family, "access", _token_id(), moment, life)

    async def refresh(self, refresh_token: str) -> TokenPair:
        """The next pair of a login. Of calls that race with one token, one gets it.

        Raises RunnelError `conflict`, retryable, if the token was used within FORGIVEN: the pair
        that came of it is the one to use. `unauthorized` for all that does not hold; a token
        that was used before that revokes its whole login.
        """
        claims = self._tokens.read(refresh_token, "refresh")
        moment = self._clock()
        new_id = _token_id()
        outcome = await self._store.exchange(
            Exchange(
                login_id=claims.login_id,
                old_id=claims.id,
                new_id=new_id,
                moment=moment,
                expires_at=moment + self._login_life,
                forgiven_since=moment - FORGIVEN,
                forgotten_before=moment - REMEMBERED,
            )
        )
        if outcome is Exchanged.DONE:
            return self._pair(_Family(claims.user_id, claims.login_id), new_id, moment)
        if outcome is Exchanged.JUST_USED:
            raise RunnelError(
                Code.CONFLICT,
                "This refresh token was used a moment ago. Use the tokens that came of it.",
                retryable=True,
            )
        if outcome is Exchanged.REVOKED:
            _log.warning("refresh_token_reused", user_id=claims.user_id, login_id=claims.login_id)
            self._announce()
        raise refused()

    async def identify(self, access_token: str) -> Identity:
        """Who an access token stands for. Raises RunnelError `unauthorized`."""
        claims = self._tokens.read(access_token, "access")
        user = await self._store.user_of_login(claims.login_id, self._clock())
        if user is None or user.id != claims.user_id:
            raise refused()
        return Identity(user.id, user.username, user.role, claims.login_id)

    def _pair(self, family: _Family, refresh_id: str, moment: datetime) -> TokenPair:
        life = min(self._access_life, self._login_life)
        return TokenPair(
            access_token=self._sign(family, "access", _token_id(), moment, life),
            expires_in=int(life.total_seconds()),
            refresh_token=self._sign(family, "refresh", refresh_id, moment, self._login_life),
        )

    def _sign(
        self, family: _Family, kind: TokenType, token_id: str, moment: datetime, life: timedelta
    ) -> str:
        issued_at = int(moment.timestamp())
        return self._tokens.sign(
            Claims(
                type=kind,
                id=token_id,
                user_id=family.user_id,
                login_id=family.login_id,
                issued_at=issued_at,
                expires_at=issued_at + int(life.total_seconds()),
            )
        )


def _token_id() -> str:
    return secrets.token_hex(16)
