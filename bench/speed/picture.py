"""The picture of throughput and latency against concurrency: an SVG, for light and dark pages."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.speed.capacity import LATE_MILLISECONDS
from bench.speed.results import Point, Results
from bench.speed.servers import ANSWERS

_WIDTH: Final = 860
_HEIGHT: Final = 372
_TOP: Final = 56
_BOTTOM: Final = 288
_PANEL: Final = 344
_LEFTS: Final = (60, 492)
_FEWEST: Final = 8
_MOST: Final = 1600
_STREAMS: Final = (8, 16, 32, 64, 128, 256, 512, 1024)
_TITLES: Final = {
    "runnel": "Runnel",
    "passthrough": "pass-through",
    "tutorial": "tutorial",
    "litellm": "LiteLLM proxy",
}
_STYLE: Final = """
text { font: 12px system-ui, sans-serif; fill: #57606a }
.title { font-size: 14px; font-weight: 600; fill: #1f2328 }
.grid { stroke: #d0d7de; stroke-width: 1 }
.bound { stroke: #8c959f; stroke-dasharray: 4 4 }
.line { fill: none; stroke-width: 2.25; stroke-linejoin: round; stroke-linecap: round }
.runnel { stroke: #0969da; fill: #0969da } .passthrough { stroke: #6e7781; fill: #6e7781 }
.tutorial { stroke: #bc4c00; fill: #bc4c00 } .litellm { stroke: #8250df; fill: #8250df }
.line.runnel { stroke-width: 3 } .line { fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1 } .title { fill: #f0f6fc } .grid { stroke: #3d444d } .bound { stroke: #656c76 }
  .runnel { stroke: #58a6ff; fill: #58a6ff } .passthrough { stroke: #9198a1; fill: #9198a1 }
  .tutorial { stroke: #f0883e; fill: #f0883e } .litellm { stroke: #bc8cff; fill: #bc8cff }
  .line { fill: none }
}
"""


@dataclass(frozen=True, slots=True)
class _Axis:
    """Upwards, by powers: from its first mark to its last."""

    title: str
    marks: tuple[tuple[float, str], ...]

    def y(self, value: float) -> float:
        low, high = self.marks[0][0], self.marks[-1][0]
        part = math.log(min(max(value, low), high) / low) / math.log(high / low)
        return _BOTTOM - part * (_BOTTOM - _TOP)


_THROUGHPUT: Final = _Axis(
    "tokens a second, delivered",
    ((100, "100"), (1000, "1,000"), (10_000, "10,000"), (48_000, "")),
)
_LATENESS: Final = _Axis(
    "lateness of a token, p99",
    ((0.3, "0.3 ms"), (1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1000, "1 s"), (10_000, "10 s")),
)


def picture(results: Results) -> str:
    """The SVG's text."""
    servers = [name for name in _TITLES if any(each.server == name for each in results.points)]
    rate = ANSWERS["M"].rate
    throughput = _panel(
        _LEFTS[0], _THROUGHPUT, results, servers, lambda point: point.tokens_a_second
    )
    lateness = _panel(_LEFTS[1], _LATENESS, results, servers, lambda point: point.late_p99)
    bound = _LATENESS.y(LATE_MILLISECONDS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>Throughput and latency by the number of streams at {rate} tokens a second</title>",
        f"<style>{_STYLE}</style>",
        throughput,
        lateness,
        _rule(_LEFTS[1], bound, "bound"),
        _legend(servers),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(left: float, streams: float) -> float:
    return left + _PANEL * math.log(streams / _FEWEST) / math.log(_MOST / _FEWEST)


def _panel(
    left: float,
    axis: _Axis,
    results: Results,
    servers: list[str],
    value: Callable[[Point], float],
) -> str:
    parts = [_text(left, 28, axis.title, "title")]
    for mark, label in axis.marks:
        if label:
            y = axis.y(mark)
            parts += [_rule(left, y, "grid"), _text(left - 8, y + 4, label, anchor="end")]
    for streams in _STREAMS:
        parts.append(_text(_x(left, streams), _BOTTOM + 20, str(streams), anchor="middle"))
    for server in reversed(servers):  # the first stands before the others
        points = [
            f"{_x(left, streams):.1f},{axis.y(height):.1f}"
            for streams, height in _medians(results.points, server, value)
        ]
        parts.append(f'<polyline class="line {server}" points="{" ".join(points)}"/>')
        for point in points:
            x, y = point.split(",")
            parts.append(f'<circle class="{server}" cx="{x}" cy="{y}" r="2.5"/>')
    return "\n".join(parts)


def _medians(
    points: list[Point], server: str, value: Callable[[Point], float]
) -> list[tuple[int, float]]:
    """By the number of streams; what was not measured is left out."""
    found: dict[int, list[float]] = {}
    for each in points:
        if each.server == server and each.streams >= _FEWEST and value(each) > 0:
            found.setdefault(each.streams, []).append(value(each))
    return [(streams, median(values)) for streams, values in sorted(found.items())]


def _rule(left: float, y: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{left}" x2="{left + _PANEL}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{text}</text>'


def _legend(servers: list[str]) -> str:
    y = _HEIGHT - 16
    rate = ANSWERS["M"].rate
    about = f"streams of {rate} tokens a second, one core"
    parts = [_text(_WIDTH - 24, y, about, anchor="end")]
    x = float(_LEFTS[0])
    for server in servers:
        title = _TITLES[server]
        parts.append(
            f'<line class="line {server}" x1="{x}" x2="{x + 20}" y1="{y - 4}" y2="{y - 4}"/>'
        )
        parts.append(_text(x + 26, y, title))
        x += 56 + 6.2 * len(title)
    return "\n".join(parts)
