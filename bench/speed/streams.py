"""The workloads S and P: what a token costs, and how long the first one takes."""

from dataclasses import dataclass
from typing import Final

from bench.speed.load import Generator, Load, percentile
from bench.speed.servers import ANSWERS, Server

_DEADLINE_SECONDS: Final = 120
_WARM_ANSWERS: Final = 16


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one server under one load. CPU in microseconds a token, times in milliseconds."""

    cpu: float
    first_p50: float
    first_p99: float
    late_p50: float
    late_p99: float
    failed: int


def cost(server: Server, name: str, *, concurrency: int, answers: int, ramp: float) -> Cost:
    """Of answers of the workload's name."""
    answer = ANSWERS[name]
    ask = server.ask(answer)
    warm(server)
    generator = Generator(ask, expected=answer.tokens)
    before = server.process.cpu_microseconds()
    load = generator.run(
        concurrency=concurrency,
        answers=answers,
        ramp_seconds=ramp,
        deadline_seconds=_DEADLINE_SECONDS,
    )
    return cost_of(load, server.process.cpu_microseconds() - before)


def warm(server: Server) -> None:
    """A few answers at once, so that connections are open and code is warm."""
    Generator(server.ask(ANSWERS["one"]), expected=1).run(
        concurrency=4, answers=_WARM_ANSWERS, ramp_seconds=0, deadline_seconds=_DEADLINE_SECONDS
    )


def cost_of(load: Load, cpu: float) -> Cost:
    assert load.tokens, load.complaint
    return Cost(
        cpu / load.tokens,
        percentile(load.first, 0.5) / 1000,
        percentile(load.first, 0.99) / 1000,
        percentile(load.late, 0.5) / 1000,
        percentile(load.late, 0.99) / 1000,
        load.failed,
    )


def fast(server: Server, *, answers: int = 160) -> Cost:
    """S: 16 streams of 500 tokens, as fast as possible."""
    return cost(server, "S", concurrency=16, answers=answers, ramp=0)


def paced(server: Server, *, answers: int = 150) -> Cost:
    """P: 50 streams of 100 tokens at 50 a second, begun one after the other within one's time."""
    return cost(server, "P", concurrency=50, answers=answers, ramp=2)
