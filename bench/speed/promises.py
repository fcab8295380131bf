"""What issue and README promise of the figures: the reach and the dream, and what came of them."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
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


def _ratio(figure: str, reference: str, other: str | None = None) -> _Value:
    """The median of what the rounds found, as in all that compares."""

    def value(results: Results) -> float | None:
        found = results.beside((figure, "runnel"), (other or figure, reference))
        return median(ours / theirs for ours, theirs in found) if found else None

    return value


def _own(figure: str) -> _Value:
    return lambda results: results.median(figure, "runnel")


def _above(figure: str, other: str, server: str = "runnel") -> _Value:
    """What `figure` takes more than `other` of a server."""

    def value(results: Results) -> float | None:
        found = results.beside((figure, "runnel"), (other, server))
        return median(whole - part for whole, part in found) if found else None

    return value


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
    Promise(
        "32,000-token answer against 1,000: CPU a token",
        _ratio("long", "runnel", "short"),
        1.2,
        1.0,
    ),
    Promise("asks a second, against bare inserts", _ratio("asks", "bare"), 0.5, 0.7, at_least=True),
    Promise("longest wait while P runs", _own("pulse longest"), 10, None, "ms"),
    Promise("`runnel serve` to its first answer", _own("start"), 2.5, None, "s"),
    Promise("`runnel models`", _own("models"), 0.5, None, "s"),
)
