"""Processes that are measured: pinned to a core, and what they have used so far."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SERVER_CORE: Final = 0
TOOLS_CORE: Final = 1
_START_SECONDS: Final = 180
_ROOT: Final = Path(__file__).parents[2]


class Process:
    """One that runs. Its children are not counted."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        # The kernel's utime + stime of all its threads, in nanoseconds and not in ticks: the
        # process's own clock, as clock_getcpuclockid() finds it.
        self._clock = (~process.pid << 3) | 2

    def cpu_microseconds(self) -> float:
        return time.clock_gettime_ns(self._clock) / 1000

    def resident_bytes(self) -> int:
        statm = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def line(self) -> str:
        """The next that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{self.process.args!r} has ended"
        return line


@contextmanager
def running(command: list[str], core: int, folder: Path, **changes: str) -> Generator[Process]:
    """A program, killed at the end. What it complains of is in the folder's `stderr`."""
    with (folder / "stderr").open("a") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own
            pinned(command, core),
            cwd=folder,
            env=environment(**changes),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:
        try:
            yield Process(process)
        finally:
            process.kill()


def environment(**changes: str) -> dict[str, str]:
    """None of the machine's settings, and the code of this folder."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"PYTHONPATH": os.pathsep.join([str(_ROOT / "src"), str(_ROOT)])} | changes


def pinned(command: list[str], core: int) -> list[str]:
    """The same, kept on a core from its first moment on."""
    return ["taskset", "--cpu-list", str(core), *command]


def python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(port: int, process: Process) -> None:
    """Returns once it takes connections."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.process.poll() is None, f"{process.process.args!r} has ended"
            assert time.monotonic() < deadline, f"{process.process.args!r} does not listen"
            time.sleep(0.01)
        else:
            return
