"""Tickets: signed leave for what can send no header, to stand in a URL.

One reads one generation's events, as often as wanted; one opens one WebSocket, once. Neither is
good for anything else, nor for longer than its login.
"""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal, Protocol

from runnel.accounts.entities import Identity
from runnel.accounts.service import Accounts
from runnel.accounts.tokens import Claims, Tokens, refused

#: How long a ticket for a WebSocket is good.
SOCKET_SECONDS: Final = 30


class Spent(Protocol):
    """Knows which tickets were used that are good once."""

    async def spend(self, ticket_id: str, issued_at: int, seconds: float) -> bool:
        """Whether this is the first use. It is forgotten after so many seconds.

        `issued_at` in seconds since 1970: of what was issued before, nobody may know any more.
        """
        ...


class Tickets:
    """Issues them and takes them back; those to read with are good for `seconds`."""

    def __init__(
        self,
        accounts: Accounts,
        tokens: Tokens,
        spent: Spent,
        *,
        seconds: int,
        clock: Callable[[], datetime],
    ) -> None:
        self.seconds = seconds
        self._spent = spent
        self._accounts = accounts
        self._tokens = tokens
        self._clock = clock

    def issue(self, identity: Identity, generation_id: str) -> str:
        """A ticket for a generation that the identity may read."""
        return self._sign("ticket", identity, self.seconds, generation_id)

    async def redeem(self, ticket: str, generation_id: str) -> Identity:
        """Who reads with it. Raises RunnelError `unauthorized` unless it is for this generation,
        and its login holds still.
        """
        claims = self._tokens.read(ticket, "ticket")
        if claims.generation_id != generation_id:
            raise refused()
        return await self._accounts.holder(claims.user_id, claims.login_id or None)

    def issue_for_socket(self, identity: Identity) -> str:
        """A ticket that opens one WebSocket of the identity's."""
        return self._sign("socket", identity, SOCKET_SECONDS)

    async def redeem_for_socket(self, ticket: str) -> Identity:
        """Who opens a WebSocket with it. Raises RunnelError `unauthorized`, the second time too."""
        claims = self._tokens.read(ticket, "socket")
        if not await self._spent.spend(claims.id, claims.issued_at, SOCKET_SECONDS):
            raise refused()
        return await self._accounts.holder(claims.user_id, claims.login_id or None)

    def _sign(
        self,
        kind: Literal["ticket", "socket"],
        identity: Identity,
        seconds: int,
        generation_id: str | None = None,
    ) -> str:
        issued_at = int(self._clock().timestamp())
        return self._tokens.sign(
            Claims(
                type=kind,
                id=secrets.token_hex(16),
                user_id=identity.user_id,
                login_id=identity.login_id or "",
                issued_at=issued_at,
                expires_at=issued_at + seconds,
                generation_id=generation_id,
            )
        )
