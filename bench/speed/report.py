"""The results as tables: on the terminal, and between two marks in bench/README.md."""

from pathlib import Path
from typing import Final

from bench.speed.promises import PROMISES
from bench.speed.results import FIGURES, Results

_BEGIN: Final = "<!-- written by make bench: -->"
_END: Final = "<!-- until here -->"
_TITLES: Final = {
    "runnel": "Runnel",
    "passthrough": "pass-through",
    "tutorial": "tutorial",
    "litellm": "LiteLLM proxy",
    "bare": "bare inserts",
    "direct": "direct",
}


def report(results: Results) -> str:
    """In Markdown, which terminals show as well."""
    parts = [f"{results.about}.", _promised(results), _measured(results)]
    if results.notes:
        parts.append("\n".join(f"- {' '.join(note.split())}" for note in results.notes))
    return "\n\n".join(parts) + "\n"


def write_into(readme: Path, results: Results) -> None:
    """Puts the report where the last one was."""
    text = readme.read_text()
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert begin, f"{readme} has no {_BEGIN}"
    assert end, f"{readme} has no {_END}"
    readme.write_text(f"{before}{begin}\n\n{report(results)}\n{end}{after}")


def _promised(results: Results) -> str:
    rows: list[list[str]] = []
    for each in PROMISES:
        value = each.value(results)
        if value is None:
            measured, outcome = "not measured", ""
        else:
            measured, outcome = f"{_round(value)} {each.unit}", each.outcome(value)
        rows.append([each.label, each.bound(each.reach), each.bound(each.dream), measured, outcome])
    return _table(["figure", "reach", "dream", "measured", ""], rows)


def _measured(results: Results) -> str:
    found = {server for servers in results.values.values() for server in servers}
    servers = [name for name in _TITLES if name in found]
    rows: list[list[str]] = []
    for key, figure in FIGURES.items():
        if key not in results.values:
            continue
        cells: list[str] = []
        for server in servers:
            value = results.median(key, server)
            cells.append("" if value is None else f"{value:,.{figure.digits}f}")
        rows.append([f"{figure.label} ({figure.unit})", *cells])
    return _table(["medians", *(_TITLES[server] for server in servers)], rows)


def _round(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"  # noqa: PLR2004 - three digits


def _table(head: list[str], rows: list[list[str]]) -> str:
    whole = [head, *rows]
    widths = [max(len(row[column]) for row in whole) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in whole
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
