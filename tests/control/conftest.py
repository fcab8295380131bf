"""A Redis whose faults the module's tests try."""

from collections.abc import Generator

import pytest

from redis_server import RedisServer


@pytest.fixture
def redis(own_redis: RedisServer) -> Generator[RedisServer]:
    """It runs when a test begins, and again when it has ended."""
    yield own_redis
    if own_redis._process is None:
        own_redis.start()
    else:
        own_redis.resume()
