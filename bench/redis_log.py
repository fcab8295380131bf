"""What a token costs in a log in Redis: PYTHONPATH=tests python bench/redis_log.py."""  # noqa: INP001 - a program

import asyncio
import sys
import time
from dataclasses import dataclass, field
from typing import Final

import redis_server
from redis_server import RedisServer
from runnel.events import Position, Reset, Token
from runnel.streamlog.redis import RedisLog

#: Answers at a time, and tokens a second of each, each an append of its own.
ANSWERS: Final = 40
RATE: Final = 50
SECONDS: Final = 10
WARM_SECONDS: Final = 1
TOKEN: Final = Token(" token")


@dataclass
class Figures:
    latencies: list[float] = field(default_factory=list[float])
    tokens: int = 0
    read: int = 0


def redis_log(redis: RedisServer) -> RedisLog:
    return RedisLog(
        redis.url,
        prefix="bench",
        timeout_seconds=5,
        retention_seconds=3600,
        running_seconds=3600,
        total_bytes=10**9,
        page_bytes=256 * 1024,
        tail_bytes=64 * 1024,
    )


async def write(log: RedisLog, number: int, figures: Figures, until: float) -> None:
    """Tokens at their times, whether those before are confirmed or not, as one gathers them."""
    loop = asyncio.get_running_loop()
    last = await log.begin(f"g{number}", 1, 1, Reset(""))
    due = loop.time() + number / ANSWERS / RATE
    while due < until:
        await asyncio.sleep(due - loop.time())
        began = time.perf_counter()
        last = await log.append(f"g{number}", 1, last, [TOKEN])
        figures.latencies.append((time.perf_counter() - began) * 1000)
        figures.tokens += 1
        due += 1 / RATE


async def read(log: RedisLog, number: int, figures: Figures) -> None:
    reader = log.read(f"g{number}", Position(1, 0))
    try:
        while batches := await reader.next():
            figures.read += sum(len(batch.events) for batch in batches)
    finally:
        reader.close()


async def measure(redis: RedisServer, who: str) -> None:
    """`who` reads: nobody, this instance, or another one (in this process too)."""
    redis.call("FLUSHALL")
    figures = Figures()
    async with redis_log(redis) as log, redis_log(redis) as other:
        loop = asyncio.get_running_loop()
        until = loop.time() + WARM_SECONDS + SECONDS
        tasks = [asyncio.create_task(write(log, n, figures, until)) for n in range(ANSWERS)]
        where = {"here": log, "elsewhere": other}.get(who)
        readers = [
            asyncio.create_task(read(where, n, figures))
            for n in range(ANSWERS)
            if where is not None
        ]
        await asyncio.sleep(WARM_SECONDS)
        figures.latencies.clear()
        figures.tokens = 0
        redis.call("CONFIG", "RESETSTAT")
        own, theirs = time.process_time(), cpu_of(redis)
        await asyncio.gather(*tasks)
        own, theirs = time.process_time() - own, cpu_of(redis) - theirs
        calls = calls_of(redis)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    ordered = sorted(figures.latencies)
    tell(
        f"{who:>10} {figures.tokens / SECONDS:>9.0f} {calls / figures.tokens:>12.2f}"
        f" {own / figures.tokens * 1e6:>9.0f} {theirs / figures.tokens * 1e6:>9.0f}"
        f" {ordered[len(ordered) // 2]:>8.2f} {ordered[int(len(ordered) * 0.99)]:>8.2f}"
    )


def cpu_of(redis: RedisServer) -> float:
    """Seconds."""
    lines = dict(line.split(":") for line in redis.call("INFO", "cpu").split() if ":" in line)
    return float(lines["used_cpu_user"]) + float(lines["used_cpu_sys"])


def calls_of(redis: RedisServer) -> int:
    """What instances have asked; what scripts do within does not travel."""
    asked = ("cmdstat_evalsha:", "cmdstat_xread:", "cmdstat_eval:")
    lines = [line for line in redis.call("INFO", "commandstats").split() if line.startswith(asked)]
    return sum(int(line.partition("calls=")[2].partition(",")[0]) for line in lines)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    tell("            tokens/s  calls/token  µs here  µs Redis   p50 ms   p99 ms")
    instance = redis_server.started()
    try:
        for each in ("nobody", "here", "elsewhere"):
            asyncio.run(measure(instance, each))
    finally:
        instance.remove()
