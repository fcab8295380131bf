"""What a token costs a server, and how long the first one takes."""

from dataclasses import dataclass
from typing import Final

from bench.speed.load import Ask, Generator, Load, percentile
from bench.speed.servers import ANSWERS, Server

DEADLINE_SECONDS: Final = 120
_WARM_ANSWERS: Final = 16


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a load: how many answers of which kind, and how many at a time."""

    answer: str
    concurrency: int
    answers: int
    ramp_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a load took of the server, in microseconds of CPU."""

    cpu: float
    load: Load

    @property
    def of_a_token(self) -> float:
        return self.cpu / self.load.tokens

    def first_milliseconds(self, part: float) -> float:
        return percentile(self.load.first, part) / 1000

    def late_milliseconds(self, part: float) -> float:
        return percentile(self.load.late, part) / 1000


def cost(server: Server, shape: Shape, ask: Ask | None = None) -> Cost:
    """`ask`: where it is asked by another door than the server's first one."""
    answer = ANSWERS[shape.answer]
    warm(server)
    generator = Generator(ask or server.ask(answer), expected=answer.tokens)
    before = server.process.cpu_microseconds()
    load = generator.run(
        concurrency=shape.concurrency,
        answers=shape.answers,
        ramp_seconds=shape.ramp_seconds,
        deadline_seconds=DEADLINE_SECONDS,
    )
    assert load.tokens, load.complaint
    return Cost(server.process.cpu_microseconds() - before, load)


def warm(server: Server) -> None:
    """A few answers, so that connections are open and all is loaded."""
    Generator(server.ask(ANSWERS["one"]), expected=1).run(
        concurrency=4, answers=_WARM_ANSWERS, ramp_seconds=0, deadline_seconds=DEADLINE_SECONDS
    )


def fast(*, quick: bool) -> Shape:
    """S: 16 streams of 500 tokens, as fast as possible."""
    return Shape("S", 16, 32 if quick else 96)


def paced(*, quick: bool) -> Shape:
    """P: 50 streams of 100 tokens at 50 a second, begun one after the other within one's time."""
    return Shape("P", 50, 100 if quick else 150, ramp_seconds=2)


def long(*, quick: bool) -> Shape:
    """Answers of 32,000 tokens."""
    return Shape("long", 2, 2 if quick else 4)


def short(*, quick: bool) -> Shape:
    """As many tokens as in `long`, in answers of 1,000."""
    return Shape("short", 2, 64 if quick else 128)
