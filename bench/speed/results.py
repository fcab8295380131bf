"""What was measured: of each figure and server a value for each round, kept as JSON."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Figure:
    """What is measured, its unit, and how many digits behind the point say something."""

    label: str
    unit: str
    digits: int = 1


FIGURES: Final = {
    "S": Figure("CPU a token, S", "µs"),
    "P": Figure("CPU a token, P", "µs"),
    "first p50": Figure("time to first token, 50 streams (P), p50", "ms"),
    "first p99": Figure("time to first token, 50 streams (P), p99", "ms"),
    "late p99": Figure("lateness of a token, P, p99", "ms"),
    "M": Figure("streams at 30 tokens a second, M", "streams", 0),
    "fresh": Figure("memory, just started", "MB", 0),
    "idle": Figure("memory, idle after its first answers", "MB", 0),
    "stream": Figure("memory for an open stream, R", "KB", 0),
    "socket": Figure("CPU a token, P, over WebSockets", "µs"),
    "reader": Figure("CPU for a token of a second reader, P", "µs"),
    "postgres": Figure("CPU a token, P, with Postgres", "µs"),
    "redis": Figure("CPU a token, P, with Postgres and Redis", "µs"),
    "short": Figure("CPU a token, answers of 1,000 tokens", "µs", 2),
    "long": Figure("CPU a token, answers of 32,000 tokens", "µs", 2),
    "asks": Figure("asks a second, one token, JSON", "1/s", 0),
    "ask CPU": Figure("CPU of such an ask", "ms", 2),
    "streamed asks": Figure("asks a second, one token, as a stream", "1/s", 0),
    "lists": Figure("lists of 50 sessions a second", "1/s", 0),
    "histories": Figure("histories of 100 messages a second", "1/s", 0),
    "pulse p99": Figure("`/healthz` while P runs, p99", "ms"),
    "pulse longest": Figure("`/healthz` while P runs, longest", "ms"),
    "start": Figure("`runnel serve` to its first answer", "s", 2),
    "models": Figure("`runnel models`", "s", 2),
}


@dataclass(frozen=True, slots=True)
class Point:
    """Of the picture: what a server did with so many streams."""

    server: str
    streams: int
    tokens_a_second: float
    late_p99: float


@dataclass(slots=True)
class Results:
    """Fills as the bench runs."""

    about: str
    values: dict[str, dict[str, list[float]]] = field(
        default_factory=dict[str, dict[str, list[float]]]
    )
    points: list[Point] = field(default_factory=list[Point])
    #: What a reader of the figures has to know: what failed, what was left out.
    notes: list[str] = field(default_factory=list[str])

    def add(self, figure: str, server: str, value: float) -> None:
        self.values.setdefault(figure, {}).setdefault(server, []).append(value)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def median(self, figure: str, server: str) -> float | None:
        """None if it was not measured."""
        values = self.values.get(figure, {}).get(server)
        return median(values) if values else None

    def beside(
        self, figure: tuple[str, str], other: tuple[str, str]
    ) -> Sequence[tuple[float, float]]:
        """Two figures, each of a server, as each round found them: within a round the machine is
        most nearly the same for both. Their medians, if a round has but one.
        """
        pair = [self.values.get(name, {}).get(server, []) for name, server in (figure, other)]
        if len(pair[0]) == len(pair[1]):
            return list(zip(*pair, strict=True))
        return [(median(pair[0]), median(pair[1]))] if all(pair) else []

    def as_json(self) -> str:
        medians = {
            figure: {server: round(median(each), 4) for server, each in servers.items()}
            for figure, servers in self.values.items()
        }
        rounds = {
            figure: {
                server: [round(value, 4) for value in each] for server, each in servers.items()
            }
            for figure, servers in self.values.items()
        }
        units = {figure: FIGURES[figure].unit for figure in self.values}
        points = [
            [each.server, each.streams, round(each.tokens_a_second), round(each.late_p99, 2)]
            for each in self.points
        ]
        whole: dict[str, Any] = {
            "about": self.about,
            "units": units,
            "medians": medians,
            "rounds": rounds,
            "points": points,
            "notes": self.notes,
        }
        return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def read(file: Path) -> Results:
    """What `as_json` wrote."""
    whole = json.loads(file.read_text())
    points = [Point(*each) for each in whole["points"]]
    return Results(whole["about"], whole["rounds"], points, whole["notes"])


def about(rounds: int, date: str) -> str:
    """On what it was measured."""
    return f"{date}, {_processor()}, Python {platform.python_version()}, medians of {rounds}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else platform.machine()
