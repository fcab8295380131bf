"""A connection to Redis that was reset while nobody read from it, on the loop that serves: it is
no other fault than any that has Redis away.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import uvloop

from fault_relay import FaultRelay
from runnel.control.redis_client import FAULTS, open_redis
from runnel.streamlog.redis_link import AWAY, Link


def served(work: Callable[[str, FaultRelay], Awaitable[None]], redis_url: str) -> None:
    """Runs it in uvloop, behind a relay."""
    port = urlsplit(redis_url).port or 0

    async def run() -> None:
        with FaultRelay(port) as relay:
            await work(redis_url.replace(f":{port}/", f":{relay.port}/"), relay)

    def in_uvloop() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())

    with ThreadPoolExecutor(1) as thread:
        thread.submit(in_uvloop).result()


async def cut(relay: FaultRelay) -> None:
    await asyncio.to_thread(relay.cut)
    await asyncio.sleep(0.05)


def test_a_log_s_link_says_that_redis_is_away(redis_url: str) -> None:
    async def work(url: str, relay: FaultRelay) -> None:
        link = Link(url, timeout_seconds=5)
        assert await link.call("PING") == b"PONG"
        await cut(relay)
        with pytest.raises(AWAY):
            await link.call("PING")
        assert await link.call("PING") == b"PONG"
        await link.close()

    served(work, redis_url)


def test_a_client_of_the_control_says_so_too(redis_url: str) -> None:
    async def work(url: str, relay: FaultRelay) -> None:
        async with open_redis(url, timeout_seconds=5, most_connections=2) as client:
            async with client.pubsub() as subscription:
                await subscription.subscribe("channel")
                await cut(relay)
                with pytest.raises(FAULTS):
                    await subscription.ping()
            assert await client.ping()

    served(work, redis_url)
