"""What issue and README promise of the figures: the reach and the dream, and what came of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.speed.results import Results

_Value = Callable[[Results], float | None]


@dataclass(frozen=True, slots=True)
class Promise:
    """A bound, from above or (`at_least`) from below."""

    label: str
    value: _Value
    reach: float
    dream: float | None
    unit: str = "×"
    at_least: bool = False

    def outcome(self, value: float) -> str:
        """In one word."""
        if self.dream is not None and self._keeps(value, self.dream):
            return "dream"
        return "reach" if self._keeps(value, self.reach) else "**missed**"

    def bound(self, bound: float | None) -> str:
        if bound is None:
            return ""
        return f"{'≥' if self.at_least else '≤'} {bound:g} {self.unit}"

    def _keeps(self, value: float, bound: float) -> bool:
        return value >= bound if self.at_least else value <= bound


def _ratio(figure: str, reference: str) -> _Value:
    def value(results: Results) -> float | None:
        ours, theirs = results.median(figure, "runnel"), results.median(figure, reference)
        return ours / theirs if ours is not None and theirs else None

    return value


def _own(figure: str) -> _Value:
    return lambda results: results.median(figure, "runnel")


def _above(figure: str, other: str, server: str = "runnel") -> _Value:
    """What `figure` takes more than `other` of a server."""

    def value(results: Results) -> float | None:
        whole, part = results.median(figure, "runnel"), results.median(other, server)
        return whole - part if whole is not None and part is not None else None

    return value


def _longer(results: Results) -> float | None:
    long, short = results.median("long", "runnel"), results.median("short", "runnel")
    return long / short if long is not None and short else None


PROMISES: Final = (
    Promise("CPU a token, S, against the tutorial", _ratio("S", "tutorial"), 0.12, 0.06),
    Promise("CPU a token, P, against pass-through", _ratio("P", "passthrough"), 2.2, 1.5),
    Promise("CPU a token, P, against the tutorial", _ratio("P", "tutorial"), 0.33, 0.2),
    Promise("M, against pass-through", _ratio("M", "passthrough"), 0.35, 0.6, at_least=True),
    Promise("M, against the tutorial", _ratio("M", "tutorial"), 8, 17, at_least=True),
    Promise(
        "first token over direct, 50 streams, p50",
        _above("first p50", "first p50", "direct"),
        4,
        2,
        "ms",
    ),
    Promise(
        "first token over direct, 50 streams, p99",
        _above("first p99", "first p99", "direct"),
        10,
        5,
        "ms",
    ),
    Promise("memory, idle", _own("idle"), 130, 100, "MB"),
    Promise("memory for an open stream", _own("stream"), 65, 40, "KB"),
    Promise("with Redis: added CPU a token, P", _above("redis", "postgres"), 12, 6, "µs"),
    Promise("32,000-token answer against 1,000: CPU a token", _longer, 1.2, 1.0),
    Promise("asks a second, against bare inserts", _ratio("asks", "bare"), 0.5, 0.7, at_least=True),
    Promise("longest wait while P runs", _own("pulse longest"), 10, None, "ms"),
    Promise("`runnel serve` to its first answer", _own("start"), 2.5, None, "s"),
    Promise("`runnel models`", _own("models"), 0.5, None, "s"),
)
