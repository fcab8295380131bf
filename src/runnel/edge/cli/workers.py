"""`runnel serve --workers N`: a parent that listens, and processes that serve on its socket."""

import asyncio
import json
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from runnel.edge.cli.awaiting import first_of
from runnel.errors import StartupError

_log = structlog.stdlib.get_logger()
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
#: Who has served for so long has not died of what it died of before.
_STEADY_SECONDS: Final = 10.0
#: So often in a row one may die as long as none has ever been ready.
_MOST_DEATHS: Final = 5
_MISCONFIGURED: Final = 2
_FAILED: Final = 1
#: The third signal does not ask any more.
_KILLS: Final = 3


class ReportingParent:
    """Implements Starter for a worker: tells its parent, and ends when that has gone."""

    def __init__(self, parent: socket.socket) -> None:
        self._parent = parent

    def waits(self) -> None:
        self._say(state="waits")

    def is_ready(self, banner: str, *, tells_password: bool) -> None:
        self._say(state="ready", banner=banner, password=tells_password)

    async def gone(self) -> None:
        with suppress(OSError):
            while await asyncio.get_running_loop().sock_recv(self._parent, 1024):
                pass

    def _say(self, **report: object) -> None:
        with suppress(OSError):  # it has gone: that is noticed in a moment
            self._parent.sendall(json.dumps(report).encode() + b"\n")


def inherited(descriptors: str) -> tuple[socket.socket, socket.socket]:
    """A worker's two sockets, by what its parent calls them: to listen on, and to the parent."""
    try:
        listening, parent = (socket.socket(fileno=int(each)) for each in descriptors.split(","))
    except (OSError, ValueError):
        raise StartupError("--worker is for processes that --workers starts") from None
    for each in (listening, parent):
        each.set_inheritable(False)
    parent.setblocking(False)
    return listening, parent


def serve_many(listening: socket.socket, number: int) -> int:
    """Runs so many workers on a socket that was bound, until a signal; the worst exit code."""
    return asyncio.run(_Parent(listening, number).run())


@dataclass(slots=True)
class _Worker:
    """One process, and our end of what it tells us by. `ready_at` is of time.monotonic()."""

    process: asyncio.subprocess.Process
    ours: socket.socket
    ready_at: float | None = None

    @property
    def is_steady(self) -> bool:
        return self.ready_at is not None and time.monotonic() - self.ready_at > _STEADY_SECONDS

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    @property
    def exit_code(self) -> int:
        """As a shell tells it. Who is told to end before it has begun has nothing to end."""
        code = self.process.returncode or 0
        if code == -signal.SIGTERM and self.ready_at is None:
            return 0
        return code if code >= 0 else 128 - code


class _Parent:
    """Starts the first alone: what is wrong with the configuration is then said once."""

    def __init__(self, listening: socket.socket, number: int) -> None:
        self._listening = listening
        self._number = number
        self._workers: dict[int, _Worker] = {}
        self._settled: set[int] = set()  # who has been ready, or has died
        self._can_start = asyncio.Event()
        self._ending = asyncio.Event()
        self._signals = 0
        self._was_ready = False
        self._banner = ""
        self._told = False
        self._codes: list[int] = [0]

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._signal_all, signal.SIGHUP)
        async with asyncio.TaskGroup() as tasks:
            for place in range(self._number):
                tasks.create_task(self._keep(place))
        return max(self._codes)

    async def _keep(self, place: int) -> None:
        """One worker after the other, as long as none is told to end."""
        if place:
            await first_of(self._can_start.wait(), self._ending.wait())
        deaths = 0
        while not self._ending.is_set():
            worker = await self._start(place)
            await self._hear(place, worker)
            await worker.process.wait()
            del self._workers[place]
            if self._ending.is_set():
                self._codes.append(worker.exit_code)
                return
            deaths = 1 if worker.is_steady else deaths + 1
            self._died(place, worker, deaths)
            pause = min(_FIRST_PAUSE_SECONDS * 2 ** (deaths - 1), _LONGEST_PAUSE_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)

    async def _start(self, place: int) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = (self._listening.fileno(), theirs.fileno())
            process = await asyncio.create_subprocess_exec(
                *_command(),
                *("serve", "--worker", ",".join(map(str, descriptors))),
                pass_fds=descriptors,
                stdin=asyncio.subprocess.DEVNULL,
                # A terminal's Ctrl-C is the parent's to pass on: twice is "at once".
                start_new_session=True,
            )
        worker = self._workers[place] = _Worker(process, ours)
        if self._ending.is_set():  # meanwhile
            worker.signal(signal.SIGTERM)
        return worker

    async def _hear(self, place: int, worker: _Worker) -> None:
        """All that it says, until it ends."""
        reader, writer = await asyncio.open_connection(sock=worker.ours)
        try:
            while line := await reader.readline():
                self._can_start.set()
                report: dict[str, Any] = json.loads(line)
                if report["state"] == "ready":
                    self._is_ready(place, worker, report)
        except OSError:
            pass  # it was killed
        finally:
            writer.close()

    def _is_ready(self, place: int, worker: _Worker, report: dict[str, Any]) -> None:
        worker.ready_at = time.monotonic()
        self._was_ready = True
        if report["password"]:
            self._tell(report["banner"])
        self._banner = self._banner or report["banner"]
        self._settle(place)

    def _settle(self, place: int) -> None:
        """The banner comes once each has had its try: the password may be in another one's."""
        self._settled.add(place)
        if len(self._settled) == self._number and self._banner and not self._told:
            self._tell(self._banner)

    def _tell(self, banner: str) -> None:
        self._told = True
        print(banner, flush=True)  # noqa: T201 - for whoever started the server

    def _died(self, place: int, worker: _Worker, deaths: int) -> None:
        code = worker.exit_code
        _log.error("worker.died", place=place, exit_code=code, deaths=deaths)
        if not self._was_ready and code == _MISCONFIGURED:
            self._give_up(code)
        elif not self._was_ready and deaths == _MOST_DEATHS:
            _log.error("workers.given_up", why="they die before they are ready, again and again")
            self._give_up(_FAILED)
        else:
            self._can_start.set()
            self._settle(place)

    def _give_up(self, code: int) -> None:
        self._codes.append(code)
        if not self._ending.is_set():
            self._end()

    def _end(self) -> None:
        """The first signal drains, the second ends at once, the third does not ask."""
        self._signals += 1
        self._ending.set()
        self._listening.close()
        self._signal_all(signal.SIGKILL if self._signals >= _KILLS else signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for worker in self._workers.values():
            worker.signal(number)


def _command() -> Sequence[str]:
    """How this program is called, by this interpreter."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return (sys.executable, "-m", "runnel")
    return (sys.executable, str(program))
