"""A network that breaks when a test says so: a TCP relay between an instance and what it needs.

It runs in a thread with an event loop of its own. All public methods are thread-safe, block until
they have taken effect, and may be called again and again:

- `cut` resets every connection there is; new ones are taken.
- `refuse` does that too, and takes no new ones until `heal`: the port refuses.
- `stall` lets nothing through, either way, and says nothing of it; connections are still taken.
- `delay` holds back whatever comes, each way, for so many seconds.
- `heal` undoes them all; what was stalled goes on its way then.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, Self

_SECONDS: Final = 10


class FaultRelay:
    """Listens from enter to exit on `port`, which stays the same, and passes on to another one."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._place = held_port()
        self.port: int = self._place.getsockname()[1]
        self._delay = 0.0
        self._ways: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._listening: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="fault relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.result(_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_SECONDS)
        self._place.close()
        assert not self._thread.is_alive(), "the relay did not stop"

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._ways)

    def cut(self) -> None:
        self._do(self._cut)

    def refuse(self) -> None:
        self._do(self._refuse)

    def stall(self) -> None:
        self._do(self._open.clear)

    def delay(self, seconds: float) -> None:
        def hold_back() -> None:
            self._delay = seconds

        self._do(hold_back)

    def heal(self) -> None:
        asyncio.run_coroutine_threadsafe(self._heal(), self._loop).result(_SECONDS)

    def _do(self, act: Callable[[], None]) -> None:
        async def done() -> None:
            act()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(_SECONDS)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._relay())

    async def _relay(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._open = asyncio.Event()
        try:
            await self._heal()
        except OSError as error:
            self._listening.set_exception(error)
            return
        self._listening.set_result(None)
        await self._stopping.wait()
        self._refuse()
        await asyncio.gather(*self._ways, return_exceptions=True)

    async def _heal(self) -> None:
        self._delay = 0
        self._open.set()
        if self._server is None:
            self._server = await asyncio.start_server(
                self._accept, "127.0.0.1", self.port, reuse_address=True
            )

    def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._cut()

    def _cut(self) -> None:
        for way in self._ways:
            way.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = asyncio.create_task(self._pass_on(reader, writer))
        self._ways.add(way)
        way.add_done_callback(self._ways.discard)
        if self._server is None:
            way.cancel()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        both: list[asyncio.Task[None]] = []
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(inner_writer)
            both = [
                asyncio.create_task(self._one_way(reader, inner_writer)),
                asyncio.create_task(self._one_way(inner_reader, writer)),
            ]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # what stands behind it is away: so is this
        finally:
            for way in both:
                way.cancel()
            for each in writers:
                reset(each)

    async def _one_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while read := await reader.read(65536):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._open.wait()
                writer.write(read)
                await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """Leaves at once, and says so: RST instead of FIN."""
    held = writer.get_extra_info("socket")
    with suppress(OSError):
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


def held_port() -> socket.socket:
    """A free port that nobody else is given while this is open; who asks for it by name gets it.

    As long as nobody listens there, it refuses.
    """
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind(("127.0.0.1", 0))
    return place
