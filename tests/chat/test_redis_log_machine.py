"""The stream log in Redis holds against the model, read where it is written and elsewhere."""

import uuid
from contextlib import AsyncExitStack

import pytest
from log_machine import SETTINGS, TIMEOUT, LogMachine
from logs_in_redis import Apart, Settling, alone, apart

import redis_server
from runnel.chat.ports import StreamLog
from runnel.streamlog.redis import RedisLog

pytestmark = pytest.mark.timeout(TIMEOUT * 4)


class RedisLogMachine(LogMachine):
    settling: Settling
    writes: RedisLog
    reads: RedisLog

    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        self.url = redis_server.shared().url
        self.prefix = f"test-{uuid.uuid4().hex}"
        super().__init__()

    async def make_log(self) -> StreamLog:
        log, self.settling = await self.stack.enter_async_context(alone(self.url, self.prefix))
        self.writes = self.reads = log
        return log

    async def settled(self) -> None:
        await self.settling()

    async def trim(self) -> None:
        """As if their time were over, of those that nobody reads."""
        for name, known in self.known.items():
            mirror = self.reads._mirrors.get(name)
            if known.finished and not (mirror and mirror.readers):
                self.writes.drop(name)
        await self.writes._commits.idle.wait()

    async def close_log(self) -> None:
        await self.stack.aclose()


class ApartMachine(RedisLogMachine):
    async def make_log(self) -> StreamLog:
        log: Apart
        log, self.settling = await self.stack.enter_async_context(apart(self.url, self.prefix))
        self.writes, self.reads = log.writes, log.reads
        return log


TestRedisLogMachine = RedisLogMachine.TestCase
TestRedisLogMachine.settings = SETTINGS
TestApartMachine = ApartMachine.TestCase
TestApartMachine.settings = SETTINGS
