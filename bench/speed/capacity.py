"""M: the most streams at 30 tokens a second that one core serves in time."""

import time
from dataclasses import dataclass
from typing import Final

from bench.speed.load import Generator, percentile
from bench.speed.servers import ANSWERS, Provider, Server
from bench.speed.streams import DEADLINE_SECONDS, warm

LATE_MILLISECONDS: Final = 100
FIRST_MILLISECONDS: Final = 500
MOST: Final = 1600
_LEAST: Final = 4
#: Of a probe: until all have begun, and how long they then go on together.
_RAMP_SECONDS: Final = 5
_FULL_SECONDS: Final = 4
#: Of the search; the probe that runs is not cut off.
_SEARCH_SECONDS: Final = 90
_QUICK_SEARCH_SECONDS: Final = 40
#: As much of its core do the tools take before they might be what is measured.
_TOOLS_SHARE: Final = 0.9
_CLOSE: Final = 4
_RESTING_SHARE: Final = 0.05
_REST_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class Probe:
    """So many streams, and what became of them."""

    streams: int
    tokens_a_second: float
    late_p99: float
    first_p99: float
    failed: int
    complaint: str
    #: The part of their core that provider and load generator took.
    tools: float

    @property
    def passed(self) -> bool:
        in_time = self.late_p99 < LATE_MILLISECONDS and self.first_p99 < FIRST_MILLISECONDS
        return in_time and not self.failed

    @property
    def close(self) -> bool:
        """It failed by so little that something else on the machine may have been the cause."""
        late = max(self.late_p99 / LATE_MILLISECONDS, self.first_p99 / FIRST_MILLISECONDS)
        return not self.passed and not self.failed and late < _CLOSE


@dataclass(frozen=True, slots=True)
class Capacity:
    """The most streams that passed, and the fewest above that did not.

    `bounded` if rather the tools have ended the search.
    """

    streams: int
    failing: int
    bounded: bool
    probes: list[Probe]


def capacity(
    server: Server, provider: Provider, *, start: int, again: bool, quick: bool
) -> Capacity:
    """From `start` on up or down, then between what passed and what did not.

    `again`: `start` is what was found before, so that small steps will do.
    """
    warm(server)
    step = 1.15 if again else 2.0
    enough = 1.25 if quick else 1.08
    good, bad = 0, MOST + 1
    probes: list[Probe] = []
    streams = start
    until = time.monotonic() + (_QUICK_SEARCH_SECONDS if quick else _SEARCH_SECONDS)
    while time.monotonic() < until and streams not in {good, bad}:
        probes.append(probe(server, provider, streams))
        if probes[-1].close:
            probes.append(probe(server, provider, streams))
        if probes[-1].passed:
            good = streams
        else:
            bad = streams
        if bad > MOST:
            streams = min(MOST, round(good * step))
        elif not good:
            streams = max(_LEAST, round(bad / step))
        elif bad / good > enough:
            streams = (good + bad) // 2
        else:
            break
    failed = [each for each in probes if each.streams == bad]
    bounded = good == MOST or any(each.tools > _TOOLS_SHARE for each in failed)
    return Capacity(good, bad, bounded, probes)


def probe(server: Server, provider: Provider, streams: int) -> Probe:
    """Streams that begin within five seconds and then all go on; every token of theirs counts."""
    answer = ANSWERS["M"]
    generator = Generator(server.ask(answer), expected=None)
    load = generator.load
    # Once so many were late, whatever comes cannot make it pass.
    hopeless = streams * answer.rate * (_RAMP_SECONDS / 2 + _FULL_SECONDS) / 100
    began: tuple[float, int] | None = None
    rate = tools = 0.0
    finished = False
    working = time.process_time() + provider.process.cpu_microseconds() / 1e6

    def watch(elapsed: float) -> None:
        nonlocal began, rate, tools, finished
        if elapsed >= _RAMP_SECONDS and began is None:
            began = elapsed, load.tokens
        if finished or (elapsed < _RAMP_SECONDS + _FULL_SECONDS and load.over <= hopeless):
            return
        finished = True
        if began and elapsed > began[0]:
            rate = (load.tokens - began[1]) / (elapsed - began[0])
        used = time.process_time() + provider.process.cpu_microseconds() / 1e6 - working
        tools = used / elapsed
        provider.finish()

    generator.run(
        concurrency=streams,
        answers=streams,
        ramp_seconds=_RAMP_SECONDS,
        deadline_seconds=DEADLINE_SECONDS,
        watch=watch,
    )
    _rest(server)
    return Probe(
        streams,
        rate,
        percentile(load.late, 0.99) / 1000,
        percentile(load.first, 0.99) / 1000,
        load.failed,
        load.complaint,
        tools,
    )


def _rest(server: Server) -> None:
    """Returns once the server has nothing more to do for what has ended."""
    deadline = time.monotonic() + _REST_SECONDS
    share = 1.0
    while share > _RESTING_SHARE and time.monotonic() < deadline:
        before, began = server.process.cpu_microseconds(), time.monotonic()
        time.sleep(0.2)
        share = (server.process.cpu_microseconds() - before) / 1e6 / (time.monotonic() - began)
