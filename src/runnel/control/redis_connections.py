"""The connections of all instances. Each instance renews its own; those of a dead one run out."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, NoReturn

import orjson
import structlog
from pydantic import TypeAdapter, ValidationError

from runnel.accounts.connections import Connected
from runnel.control.memory import MemoryConnections
from runnel.control.redis_client import RedisClient
from runnel.control.redis_reach import AwayError, Reach
from runnel.control.redis_scripts import ENTER, PAGE, RENEW

_log = structlog.stdlib.get_logger()
_RENEW_SECONDS: Final = 2.0
#: A place whose instance has not renewed it so often is free.
_MISSED_RENEWALS: Final = 3
#: How many are renewed in one step of Redis', which does nothing else meanwhile.
_A_STEP: Final = 200
_CONNECTED: Final = TypeAdapter(Connected)


class RedisConnections:
    """Implements accounts.connections.Connections.

    While Redis is away the bound of a user is that of this instance, and so is the page; what
    was taken in then is told when Redis is back.
    """

    def __init__(
        self,
        client: RedisClient,
        reach: Reach,
        prefix: str,
        *,
        renew_seconds: float = _RENEW_SECONDS,
    ) -> None:
        self._client = client
        self._reach = reach
        self._here = MemoryConnections()
        self._renew_seconds = renew_seconds
        self._milliseconds = round(renew_seconds * _MISSED_RENEWALS * 1000)
        self._prefix = f"{{{prefix}}}:connections"
        self._keys = [f"{self._prefix}-{each}" for each in ("ids", "until", "told")]
        self._enter = client.register_script(ENTER)
        self._renew = client.register_script(RENEW)
        self._page = client.register_script(PAGE)

    async def enter(self, connected: Connected, *, most_of_user: int) -> bool:
        keys = [*self._keys, self._of(connected.user_id)]
        args = [connected.id, _told(connected), self._milliseconds, most_of_user]
        try:
            if not await self._reach.ask(lambda: self._enter(keys=keys, args=args)):
                return False
        except AwayError:
            pass
        # This instance knows better than a Redis that was emptied, or is away.
        if await self._here.enter(connected, most_of_user=most_of_user):
            return True
        await self._forget([connected])
        return False

    async def locate(self, connection_id: str, session_id: str) -> None:
        connected = self._here.get(connection_id)
        if connected is not None:
            await self._here.locate(connection_id, session_id)
            with suppress(AwayError):
                located = replace(connected, session_id=session_id)
                await self._reach.ask(lambda: self._renewed([located]))

    async def leave(self, connection_id: str) -> None:
        connected = self._here.get(connection_id)
        if connected is None:
            return
        await self._here.leave(connection_id)
        await self._forget([connected])

    async def page(self, after: str | None, limit: int) -> Sequence[Connected]:
        args = ["-" if after is None else f"({after}", limit]
        try:
            told = await self._reach.ask(lambda: self._page(keys=self._keys, args=args))
        except AwayError:
            return await self._here.page(after, limit)
        return [connected for each in told if (connected := _read(each)) is not None]

    async def watch(self) -> NoReturn:
        """Renews those of this instance, until it is cancelled."""
        while True:
            await asyncio.sleep(self._renew_seconds)
            try:
                await self.renew()
            except Exception:  # noqa: BLE001 - the outermost frame: the next renewal must come
                _log.exception("connections.renewal_failed")

    async def renew(self) -> None:
        """What Redis has lost meanwhile it has again then."""
        here = self._here.all
        with suppress(AwayError):
            await self._reach.ask(lambda: self._renewed(here))
        # Whoever has left meanwhile may have been put back.
        await self._forget([each for each in here if self._here.get(each.id) is None])

    async def _forget(self, some: Sequence[Connected]) -> None:
        if some:
            with suppress(AwayError):  # then they run out
                await self._reach.ask(lambda: self._forgotten(some))

    async def _renewed(self, some: Sequence[Connected]) -> None:
        async with self._client.pipeline(transaction=False) as pipeline:
            for begin in range(0, len(some), _A_STEP):
                step = some[begin : begin + _A_STEP]
                keys = [*self._keys, *(self._of(each.user_id) for each in step)]
                args: list[Any] = [self._milliseconds]
                for each in step:
                    args += (each.id, _told(each))
                await self._renew(keys=keys, args=args, client=pipeline)
            await pipeline.execute()

    async def _forgotten(self, some: Sequence[Connected]) -> None:
        ids, until, told = self._keys
        async with self._client.pipeline(transaction=False) as pipeline:
            for each in some:
                pipeline.zrem(ids, each.id)
                pipeline.zrem(until, each.id)
                pipeline.hdel(told, each.id)
                pipeline.zrem(self._of(each.user_id), each.id)
            await pipeline.execute()

    def _of(self, user_id: str) -> str:
        return f"{self._prefix}:{user_id}"


def _told(connected: Connected) -> bytes:
    return orjson.dumps(connected)


def _read(told: bytes | None) -> Connected | None:
    """None for what has just gone, and for what an instance of another version tells."""
    if told is None:
        return None
    try:
        return _CONNECTED.validate_json(told)
    except ValidationError:
        return None
