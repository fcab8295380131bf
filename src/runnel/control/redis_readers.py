"""Which answers have readers, and on which instances: each tells of its own, by Redis' time."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from runnel.control.redis_client import RedisClient
from runnel.control.redis_reach import AwayError, Reach, away
from runnel.control.redis_scripts import READERS_LEFT, READERS_THERE

#: How long it is known that somebody was there once.
_KEPT_SECONDS: Final = 3600.0
#: Who polls, or reads, is not said to be there for so long.
_SENT_AWAY_SECONDS: Final = 3600.0


class RedisPresence:
    """Implements chat.attendance.Presence. `instance` names this one."""

    def __init__(self, client: RedisClient, reach: Reach, prefix: str, instance: str) -> None:
        self._client = client
        self._reach = reach
        self._prefix = f"{{{prefix}}}:readers:"
        self._instance = instance
        self._there = client.register_script(READERS_THERE)
        self._left = client.register_script(READERS_LEFT)

    async def tell(self, there: Mapping[str, float]) -> None:
        try:
            await self._reach.ask(lambda: self._told(there))
        except AwayError:
            raise away() from None

    async def seconds_left(self, generation_ids: Collection[str]) -> Mapping[str, float]:
        ids = list(generation_ids)
        keys = [f"{self._prefix}{generation_id}" for generation_id in ids]
        try:
            answer = await self._reach.ask(lambda: self._left(keys=keys))
        except AwayError:
            raise away() from None
        return {
            generation_id: int(milliseconds) / 1000
            for generation_id, milliseconds in zip(ids, answer, strict=True)
            if milliseconds is not None
        }

    async def _told(self, there: Mapping[str, float]) -> None:
        async with self._client.pipeline(transaction=False) as pipeline:
            for generation_id, seconds in there.items():
                kept = seconds + _KEPT_SECONDS
                args: list[Any] = [self._instance, round(seconds * 1000), round(kept * 1000)]
                args.append(round(_SENT_AWAY_SECONDS * 1000))
                await self._there(
                    keys=[f"{self._prefix}{generation_id}"], args=args, client=pipeline
                )
            await pipeline.execute()
