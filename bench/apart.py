"""A server in a process of its own, that does as it is told and says what it uses."""  # noqa: INP001 - of programs

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import uvloop

from runnel.bootstrap.database import migrate_database
from runnel.bootstrap.logs import configure_logs
from runnel.chat.channels import Listener
from serving import LiveServer, settings_for

Json = dict[str, Any]


class Apart:
    """The other end of the pipe."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.url: str = self._answer()

    def do(self, what: str, **how: Any) -> Any:
        """One of the methods of Doing, with its arguments, and what it returns."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([what, how]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server has gone"
        return json.loads(line)


@contextmanager
def apart(folder: Path, provider_url: str, **changes: Any) -> Generator[Apart]:
    """Its data are in the folder, `chat/test` asks the provider."""
    alias = {"provider": "openai", "model": "test", "base_url": provider_url}
    (folder / "models.json").write_text(json.dumps({"aliases": {"chat/test": alias}}))
    pipe = subprocess.PIPE
    command = [sys.executable, __file__, str(folder), json.dumps(changes)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:  # noqa: S603 - our own
        yield Apart(process)
        process.communicate()  # it ends with its input


class Doing:
    """What can be asked of it. Times are seconds, sizes bytes."""

    def __init__(self, server: LiveServer) -> None:
        self._server = server
        self._parts = server.server.parts
        self._probing: asyncio.Task[None] | None = None
        self._worst = self._collecting = self._collected = 0.0
        gc.callbacks.append(self._collect)

    def _collect(self, phase: str, _: object) -> None:
        if phase == "start":
            self._collecting = time.thread_time()
        else:
            self._collected = max(self._collected, time.thread_time() - self._collecting)

    def users(self, number: int) -> list[str]:
        """Their tokens."""
        return [self._server.user(f"user{each}").token for each in range(number)]

    def used(self) -> Json:
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1])
        return {
            "cpu": time.process_time(),
            "resident": resident * os.sysconf("SC_PAGE_SIZE"),
            "traced": tracemalloc.get_traced_memory()[0],
        }

    def joined(self, number: int) -> None:
        """Waits until so many sockets are in their channels, and no more."""
        channels = self._parts.channels._channels  # noqa: SLF001 - as tests do

        async def wait() -> None:
            while sum(map(len, channels.values())) != number:  # noqa: ASYNC110 - nothing says so by itself
                await asyncio.sleep(0.05)

        self._server.call(wait(), seconds=300)

    def cpu(self) -> float:
        return time.process_time()

    def trace(self) -> None:
        tracemalloc.start()

    def look(self) -> float:
        """What one look of the channels costs the loop's thread."""

        async def look() -> float:
            began = time.thread_time()
            await self._parts.channels.look()
            return time.thread_time() - began

        return self._server.call(look())

    def look_at_users(self, number: int) -> float:
        """The same, if so many users had a channel each beside."""

        async def look() -> float:
            with ExitStack() as stack:
                for each in range(number):
                    deaf = Listener(str(each), lambda _: True, lambda _: None, lambda: None)
                    await self._parts.channels.user(stack, f"nobody{each}", deaf)
                began = time.thread_time()
                await self._parts.channels.look()
                return time.thread_time() - began

        return self._server.call(look())

    def sweep(self) -> float:
        async def sweep() -> float:
            began = time.thread_time()
            self._parts.sockets.sweep(time.monotonic())
            return time.thread_time() - began

        return self._server.call(sweep())

    def probe(self) -> None:
        """From now on it is seen how long the loop works before it comes to others."""

        async def probe() -> None:
            while True:
                # Of its own time: how long others keep the processor is not its fault. Of what it
                # works, this millisecond is a part.
                began = time.thread_time()
                await asyncio.sleep(0.001)
                self._worst = max(self._worst, time.thread_time() - began)

        async def begin() -> None:
            self._worst = self._collected = 0.0
            self._probing = asyncio.create_task(probe())

        self._server.call(begin())

    def worst(self) -> tuple[float, float]:
        """The longest so far, and the longest run of the garbage collector; ends the probe."""

        async def end() -> tuple[float, float]:
            await asyncio.sleep(0.05)
            assert self._probing is not None
            self._probing.cancel()
            with suppress(asyncio.CancelledError):
                await self._probing
            return self._worst, self._collected

        return self._server.call(end())

    def drain(self) -> float:
        """How long it takes to end all sockets."""

        async def drain() -> float:
            began = time.perf_counter()
            self._parts.sockets.begin_closing()
            await self._parts.sockets.close()
            return time.perf_counter() - began

        return self._server.call(drain())


def main(folder: Path, changes: Json) -> None:
    settings = settings_for(folder, log_level="WARNING", **changes)
    configure_logs(settings)
    asyncio.run(migrate_database(settings))
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # as `runnel serve`
    with LiveServer(settings) as server:
        doing = Doing(server)
        gc.collect()
        gc.freeze()
        _say(server.url)
        for line in sys.stdin:
            what, how = json.loads(line)
            _say(getattr(doing, what)(**how))


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
