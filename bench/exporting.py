"""What exports and imports take: python bench/exporting.py."""  # noqa: INP001 - a program

# Each is the command line's, a process of its own on SQLite. This one imports
# nothing large: Linux counts what a process had resident before it became another program.

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

MESSAGES: Final = int(os.environ.get("RUNNEL_MESSAGES", "100000"))
_PLANT: Final = str(Path(__file__).with_name("long_session.py"))


def run(folder: Path, *arguments: str) -> str:
    """Runs Python; wall seconds, those of the processor, and the most that it had resident."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    began = time.monotonic()
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, *arguments],
        env=environment | {"DATA_DIR": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    wall, cpu = time.monotonic() - began, used.ru_utime + used.ru_stime
    return f"{wall:.1f} s | {cpu:.1f} s | {used.ru_maxrss / 1024:.0f} MiB"


def runnel(folder: Path, *arguments: str) -> str:
    return run(folder, "-m", "runnel", *arguments)


def measure(folder: Path, count: int) -> None:
    """Each format out, and back, into another database, those that can be imported."""
    first = folder / str(count)
    run(first, _PLANT, str(first), "ada", str(count))
    for form in ("json", "jsonl", "markdown", "text"):
        file = folder / f"{count}.{form}"
        taken = runnel(first, "export", "ada", "--format", form, "--output", str(file))
        size = file.stat().st_size / 2**20
        print(f"| {count} | export {form} | {size:.0f} MiB | {taken} |", flush=True)  # noqa: T201 - it is a report
    for form in ("json", "jsonl"):
        file, other = folder / f"{count}.{form}", folder / f"{count}-{form}"
        run(other, _PLANT, str(other), "eve", "0")
        taken = runnel(other, "import", "eve", str(file))
        print(f"| {count} | import {form} | | {taken} |", flush=True)  # noqa: T201 - same
        again = folder / f"again.{form}"
        runnel(other, "export", "eve", "--format", form, "--output", str(again))
        assert again.read_bytes() == file.read_bytes()


if __name__ == "__main__":
    print(f"| nothing | `runnel --help` | | {runnel(Path(), '--help')} |", flush=True)  # noqa: T201 - same
    with TemporaryDirectory() as name:
        for each in (MESSAGES // 10, MESSAGES):
            measure(Path(name), each)
