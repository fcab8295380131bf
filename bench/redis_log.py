"""What a token costs in a log in Redis, beside one in memory: PYTHONPATH=tests python bench/redis_log.py."""  # noqa: INP001 - a program

import asyncio
import random
import resource
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import uvloop

import redis_server
from redis_server import RedisServer
from runnel.chat.ports import StreamLog
from runnel.events import Event, Position, Reset, Token
from runnel.streamlog.memory import MemoryLog
from runnel.streamlog.redis import RedisLog

#: Answers at a time, and tokens a second of each, as in workload P.
ANSWERS: Final = 50
RATE: Final = 50
SECONDS: Final = 8
WARM_SECONDS: Final = 1
ROUNDS: Final = 3
TOKEN: Final = Token(" token")
PAGE_BYTES: Final = 256 * 1024


@dataclass
class Figures:
    latencies: list[float] = field(default_factory=list[float])
    tokens: int = 0
    read: int = 0


def memory_log() -> MemoryLog:
    return MemoryLog(retention_seconds=3600, total_bytes=10**9, page_bytes=PAGE_BYTES)


def redis_log(redis: RedisServer) -> RedisLog:
    return RedisLog(
        redis.url,
        prefix="bench",
        timeout_seconds=5,
        retention_seconds=3600,
        running_seconds=3600,
        total_bytes=10**9,
        page_bytes=PAGE_BYTES,
        tail_bytes=64 * 1024,
    )


class Answer:
    """Its tokens come at their times, and are written as chat.writing.Writer does: what comes while
    an append is under way goes with the next.
    """

    def __init__(self, log: StreamLog, name: str, figures: Figures) -> None:
        self._log = log
        self._name = name
        self._figures = figures
        self._loop = asyncio.get_running_loop()
        self._gathered: list[Event] = []
        self._came: list[float] = []
        self._under_way = False
        self._last = Position(1, 0)
        self.over = asyncio.Event()

    async def begin(self, due: float, until: float) -> None:
        self._last = await self._log.begin(self._name, 1, 1, Reset(""))
        self._due, self._until = due, until
        self._loop.call_at(due, self._come)

    def _come(self) -> None:
        self._gathered.append(TOKEN)
        self._came.append(time.perf_counter())
        if not self._under_way:
            self._send()
        self._due += 1 / RATE
        if self._due < self._until:
            self._loop.call_at(self._due, self._come)
        else:
            self.over.set()

    def _send(self) -> None:
        events, self._gathered = self._gathered, []
        came, self._came = self._came, []
        done = self._log.append(self._name, 1, self._last, events)
        if done.done():
            self._landed(came, done)
        else:
            self._under_way = True
            done.add_done_callback(lambda done: self._landed(came, done))

    def _landed(self, came: list[float], done: "asyncio.Future[Position]") -> None:
        self._under_way = False
        self._last = done.result()
        now = time.perf_counter()
        self._figures.latencies += [(now - moment) * 1000 for moment in came]
        self._figures.tokens += len(came)
        if self._gathered:
            self._send()


async def read(log: StreamLog, name: str, figures: Figures) -> None:
    reader = log.read(name, Position(1, 0))
    try:
        while batches := await reader.next():
            figures.read += sum(len(batch.events) for batch in batches)
    finally:
        reader.close()


@asynccontextmanager
async def logs(redis: RedisServer, who: str) -> AsyncGenerator[tuple[StreamLog, StreamLog | None]]:
    """Where it is written, and where it is read."""
    if who == "memory":
        log = memory_log()
        yield log, log
        return
    async with redis_log(redis) as log, redis_log(redis) as other:
        yield log, {"here": log, "elsewhere": other}.get(who)


async def measure(redis: RedisServer, who: str) -> float:
    """`who` reads: nobody, this instance, or another one (in this process too). µs a token here."""
    redis.call("FLUSHALL")
    figures = Figures()
    phases = random.Random(1)  # noqa: S311 - the same each time
    async with logs(redis, who) as (log, where):
        until = asyncio.get_running_loop().time() + WARM_SECONDS + SECONDS
        answers = [Answer(log, f"g{n}", figures) for n in range(ANSWERS)]
        for answer in answers:
            now = asyncio.get_running_loop().time()
            await answer.begin(now + phases.random() / RATE, until)
        readers = [
            asyncio.create_task(read(where, f"g{n}", figures))
            for n in range(ANSWERS)
            if where is not None
        ]
        await asyncio.sleep(WARM_SECONDS)
        figures.latencies.clear()
        figures.tokens = 0
        redis.call("CONFIG", "RESETSTAT")
        own, theirs = cpu_here(), cpu_of(redis)
        for answer in answers:
            await answer.over.wait()
        own, theirs = cpu_here() - own, cpu_of(redis) - theirs
        calls = calls_of(redis)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    ordered = sorted(figures.latencies)
    tokens = figures.tokens
    tell(
        f"{who:>10} {tokens / SECONDS:>9.0f} {calls / tokens:>12.2f}"
        f" {own / tokens * 1e6:>9.1f} {theirs / tokens * 1e6:>9.1f}"
        f" {ordered[len(ordered) // 2]:>8.2f} {ordered[int(len(ordered) * 0.99)]:>8.2f}"
    )
    return own / tokens * 1e6


def cpu_here() -> float:
    """Seconds of this process, those of the system for it among them."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


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


def main() -> None:
    who = ("memory", "nobody", "here", "elsewhere")
    found: dict[str, list[float]] = {each: [] for each in who}
    redis = redis_server.started()
    tell("            tokens/s  calls/token   µs here  µs Redis   p50 ms   p99 ms")
    try:
        for _ in range(ROUNDS):
            for each in who:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    found[each].append(runner.run(measure(redis, each)))
    finally:
        redis.remove()
    for each in who[1:]:
        added = sorted(
            there - memory for there, memory in zip(found[each], found["memory"], strict=True)
        )
        tell(f"{each:>10}: {added[len(added) // 2]:.1f} µs a token more than in memory")


if __name__ == "__main__":
    main()
