"""Tickets: signed leave to read one generation's events, for readers that can send no header.

A ticket stands in a URL, so it is good for nothing else, and for no longer than its login.
"""

import secrets
from collections.abc import Callable
from datetime import datetime

from runnel.accounts.entities import Identity
from runnel.accounts.service import Accounts
from runnel.accounts.tokens import Claims, Tokens, refused


class Tickets:
    """Issues them and takes them back, as often as wanted for `seconds`."""

    def __init__(
        self, accounts: Accounts, tokens: Tokens, *, seconds: int, clock: Callable[[], datetime]
    ) -> None:
        self.seconds = seconds
        self._accounts = accounts
        self._tokens = tokens
        self._clock = clock

    def issue(self, identity: Identity, generation_id: str) -> str:
        """A ticket for a generation that the identity may read."""
        issued_at = int(self._clock().timestamp())
        return self._tokens.sign(
            Claims(
                type="ticket",
                id=secrets.token_hex(16),
                user_id=identity.user_id,
                login_id=identity.login_id or "",
                issued_at=issued_at,
                expires_at=issued_at + self.seconds,
                generation_id=generation_id,
            )
        )

    async def redeem(self, ticket: str, generation_id: str) -> Identity:
        """Who reads with it. Raises RunnelError `unauthorized` unless it is for this generation,
        and its login holds still.
        """
        claims = self._tokens.read(ticket, "ticket")
        if claims.generation_id != generation_id:
            raise refused()
        return await self._accounts.holder(claims.user_id, claims.login_id or None)
