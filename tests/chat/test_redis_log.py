"""The stream log in Redis keeps its port's contract, read where it is written and elsewhere."""

from collections.abc import AsyncIterator

import pytest
from log_contract import LogContract
from log_recovery import RecoveryContract
from logs_in_redis import Settling, alone, apart

from runnel.chat.ports import StreamLog


class RedisLogTests(LogContract, RecoveryContract):
    settling: Settling

    async def settled(self) -> None:
        await self.settling()


class TestRedisLog(RedisLogTests):
    """Through one instance."""

    @pytest.fixture
    async def log(self, redis_url: str, redis_prefix: str) -> AsyncIterator[StreamLog]:
        async with alone(redis_url, redis_prefix) as (log, self.settling):
            yield log


class TestRedisLogOfTwo(RedisLogTests):
    """Written through one instance, and read through another."""

    @pytest.fixture
    async def log(self, redis_url: str, redis_prefix: str) -> AsyncIterator[StreamLog]:
        async with apart(redis_url, redis_prefix) as (log, self.settling):
            yield log
