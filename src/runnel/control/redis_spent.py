"""The spent tickets of all instances: a ticket that cannot be marked is refused, not taken twice."""

import asyncio
from contextlib import suppress
from typing import Final, NoReturn

from runnel.control.redis_client import RedisClient
from runnel.control.redis_reach import AwayError, Reach, away
from runnel.control.redis_scripts import REMEMBER, SPEND

_REMEMBER_SECONDS: Final = 1.0


class RedisSpent:
    """Implements accounts.tickets.Spent. Raises RunnelError `stream_unavailable`, retryable."""

    def __init__(self, client: RedisClient, reach: Reach, prefix: str) -> None:
        self._reach = reach
        self._prefix = f"{{{prefix}}}:spent"
        self._spend = client.register_script(SPEND)
        self._remember = client.register_script(REMEMBER)

    async def spend(self, ticket_id: str, issued_at: int, seconds: float) -> bool:
        keys = (f"{self._prefix}-since", f"{self._prefix}:{ticket_id}")
        try:
            return bool(
                await self._reach.ask(
                    lambda: self._spend(keys=keys, args=(issued_at, max(1, round(seconds))))
                )
            )
        except AwayError:
            raise away() from None

    async def watch(self) -> NoReturn:
        """Sees to it that Redis knows since when it remembers, until cancelled.

        It may be emptied at any time. What was issued before somebody saw that is refused.
        """
        while True:
            with suppress(AwayError):
                await self._reach.ask(lambda: self._remember(keys=(f"{self._prefix}-since",)))
            await asyncio.sleep(_REMEMBER_SECONDS)
