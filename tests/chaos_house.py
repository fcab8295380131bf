"""Three instances behind nginx, with a Redis and a Postgres of their own, and all that breaks them."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import postgres
import redis_server
from chaos_answers import Talk
from fault_relay import FaultRelay
from instances import Instances, running
from postgres import Postgres
from provider import Provider
from redis_server import RedisServer

COUNT: Final = 3
LEASE_SECONDS: Final = 0.5
_SETTINGS: Final[dict[str, Any]] = {
    "LEASE_SECONDS": str(LEASE_SECONDS),
    "HEARTBEAT_SECONDS": "1",
    "REDIS_TIMEOUT_SECONDS": "1",
    "DATABASE_TIMEOUT_SECONDS": "2",
    "STORE_RETRY_SECONDS": "4",
    "SHUTDOWN_GRACE_SECONDS": "0.2",
    "STREAM_TAIL_BYTES": "2000",
    "READ_PAGE_BYTES": "1000",
}


class House:
    """What the rounds share. `tally` counts over all of them.

    `continues`: what is taken over is gone on with, not begun anew.
    """

    def __init__(
        self,
        instances: Instances,
        redis: RedisServer,
        database: Postgres,
        url: str,
        talk: Talk,
    ) -> None:
        self.instances = instances
        self.redis = redis
        self.database = database
        self.talk = talk
        settings = instances.every[0].settings
        self.prefix = settings["REDIS_KEY_PREFIX"]
        self.continues = settings["TAKEOVER"] == "continue"
        self.tally = Counter[str]()
        self.slowest = 0.0
        self._url = url
        self._logged = Counter[str]()

    async def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return await asyncio.to_thread(postgres.select, self._url, sql, *values)

    def logged(self, words: str) -> int:
        """How many lines of the instances' logs have them; each is counted once."""
        lines = [line for each in self.instances.every for line in each.log.read_text().split("\n")]
        found = sum(words in line for line in lines)
        before, self._logged[words] = self._logged[words], found
        return found - before

    async def heal(self) -> None:
        """Starts what has ended; returns once each is ready, which needs nothing else of us."""
        every = self.instances.every
        for each in every:
            if each.process is not None and each.process.poll() is not None:
                each.start()
        for each in every:
            await asyncio.to_thread(each.wait_until, "/readyz", 200)


@contextmanager
def chaos_house(folder: Path, seed: int, *, takeover: str = "restart") -> Generator[House]:
    """All of it runs inside."""
    settings: dict[str, Any] = {**_SETTINGS, "TAKEOVER": takeover}
    with ExitStack() as stack:
        provider = stack.enter_context(Provider())
        redis = redis_server.started()
        stack.callback(redis.remove)
        database = postgres.started()
        stack.callback(database.remove)
        url = postgres.migrated_copy(database)
        instances = stack.enter_context(
            running(
                folder,
                provider,
                count=COUNT,
                redis=redis,
                database_url=url,
                relayed=True,
                **settings,
            )
        )
        yield House(instances, redis, database, url, Talk(provider, seed))


Fault = Callable[[House, int, random.Random], Awaitable[None]]


async def kill(house: House, victim: int, choice: random.Random) -> None:
    """kill -9 of an instance; it is started again when the round is over."""
    del choice
    await asyncio.to_thread(house.instances.kill, victim)


async def freeze(house: House, victim: int, choice: random.Random) -> None:
    """SIGSTOP, past the lease, and SIGCONT."""
    house.instances.stop(victim)
    await asyncio.sleep(LEASE_SECONDS * choice.uniform(1.2, 4))
    house.instances.cont(victim)


async def flush(house: House, victim: int, choice: random.Random) -> None:
    """Redis forgets all."""
    del victim, choice
    await asyncio.to_thread(house.redis.call, "FLUSHALL")


async def restore(house: House, victim: int, choice: random.Random) -> None:
    """Redis is started with an older file."""
    del victim
    kept = await asyncio.to_thread(house.redis.keep)
    await asyncio.sleep(choice.uniform(0.1, 1.0))
    await asyncio.to_thread(house.redis.restore, kept)


async def restart_redis(house: House, victim: int, choice: random.Random) -> None:
    """It is away for a moment."""
    del victim
    await asyncio.to_thread(house.redis.stop, at_once=choice.random() < 0.5)
    await asyncio.sleep(choice.uniform(0, 2))
    await asyncio.to_thread(house.redis.start)


async def restart_postgres(house: House, victim: int, choice: random.Random) -> None:
    """It is away for a moment."""
    del victim
    await asyncio.to_thread(house.database.stop, at_once=choice.random() < 0.5)
    await asyncio.sleep(choice.uniform(0, 2))
    await asyncio.to_thread(house.database.start)


async def part(house: House, victim: int, choice: random.Random) -> None:
    """An instance reaches its Redis, its Postgres, or either no more; it is refused, or nothing
    comes; or its connections are only cut.
    """
    ways = [house.instances.redis(victim), house.instances.database(victim)]
    chosen = choice.choice((ways[:1], ways[1:], ways))
    how = choice.choice((FaultRelay.refuse, FaultRelay.stall, FaultRelay.cut))
    for way in chosen:
        how(way)
    await asyncio.sleep(choice.uniform(0.3, 3))
    for way in chosen:
        way.heal()


async def two_at_once(house: House, victim: int, choice: random.Random) -> None:
    """An instance, and meanwhile what all stand on."""
    first = choice.choice((kill, freeze, part))
    second = choice.choice((flush, restore, restart_redis, restart_postgres))
    faults = [first(house, victim, choice), second(house, victim, choice)]
    choice.shuffle(faults)
    await asyncio.gather(*faults)


#: By name; whether the victim makes the answers; whether Redis forgets by it what it confirmed.
FAULTS: Final[dict[str, tuple[Fault, bool, bool]]] = {
    "kill of who makes": (kill, True, False),
    "kill of who reads": (kill, False, False),
    "freeze": (freeze, True, False),
    "flush": (flush, True, True),
    "older file": (restore, True, True),
    "redis restart": (restart_redis, True, False),
    "postgres restart": (restart_postgres, True, False),
    "partition": (part, True, False),
    "two at once": (two_at_once, True, True),
}
