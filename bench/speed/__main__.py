"""`python -m bench.speed`: runs the bench; `make bench` runs all of it and keeps what came of it.

With `--only` or `--against` it only prints: half a run must not pass for a whole one.
"""

import argparse
import gc
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.speed import report, servers
from bench.speed.picture import picture
from bench.speed.processes import TOOLS_CORE
from bench.speed.results import Results, about, read
from bench.speed.rounds import WORKLOADS, Bench

_BUSY: Final = 0.7
_FOLDER: Final = Path(__file__).parent
_JSON: Final = _FOLDER / "results.json"
_PICTURE: Final = _FOLDER / "speed.svg"
_README: Final = _FOLDER.parent / "README.md"


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.write:
        write(read(_JSON))
        return
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    results = Results(about(rounds, f"{datetime.now(UTC):%Y-%m-%d}"))
    if not servers.litellm_is_installed():
        results.note("LiteLLM's proxy was left out: `make bench-peers` has not been run.")
    busy = os.getloadavg()[0]
    if busy > _BUSY:
        results.note(
            f"The machine was busy when it began, with a load of {busy:.1f}: times and M say little."
        )
    # All that is not measured stays off the server's core, and is never held up.
    os.sched_setaffinity(0, {TOOLS_CORE})
    gc.freeze()
    with servers.provider() as provider:
        bench = Bench(provider, _names(arguments.against), results, quick=arguments.quick)
        for number in range(rounds):
            sys.stderr.write(f"round {number + 1} of {rounds}\n")
            bench.run(arguments.only or list(WORKLOADS))
    sys.stdout.write(report.report(results))
    if not (arguments.only or arguments.against or arguments.quick):
        _JSON.write_text(results.as_json())
        write(results)


def write(results: Results) -> None:
    """The README's tables, and the picture."""
    _PICTURE.write_text(picture(results))
    report.write_into(_README, results)


def _names(against: list[str] | None) -> list[str]:
    if against:
        return ["runnel", *(name for name in against if name in servers.SERVERS)]
    found = list(servers.SERVERS)
    return found if servers.litellm_is_installed() else [n for n in found if n != "litellm"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.speed", description="What an answer costs.")
    references = [name for name in servers.SERVERS if name != "runnel"]
    add = parser.add_argument
    add("--only", choices=WORKLOADS, action="append", help="this workload; may be repeated")
    add(
        "--against",
        choices=[*references, "none"],
        action="append",
        help="beside this reference; may be repeated",
    )
    add("--rounds", type=int, help="3, or 1 if quick")
    add("--quick", action="store_true", help="shorter loads and a coarse M; nothing is written")
    add("--write", action="store_true", help="only write the tables and the picture anew")
    return parser


if __name__ == "__main__":
    main()
