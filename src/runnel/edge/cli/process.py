"""One process that serves: uvicorn around the application, with a drain of our own at its end."""

import asyncio
import signal
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import FrameType
from typing import Final, Protocol

import structlog
import uvicorn
from starlette.types import ASGIApp
from typing_extensions import override

from runnel.bootstrap.heap import give_back_large_blocks, settled
from runnel.bootstrap.patience import open_patiently
from runnel.bootstrap.server import Server
from runnel.edge.app import create_app
from runnel.edge.cli.awaiting import cancelled, first_of
from runnel.edge.cli.banner import banner
from runnel.edge.listening import open_port, websocket_options
from runnel.edge.opening import Front
from runnel.errors import StartupError
from runnel.settings import Settings

_log = structlog.stdlib.get_logger()
#: How long connections that are still writing may take after the last answer has ended.
CLOSE_SECONDS: Final = 5


class Starter(Protocol):
    """Whoever started the process, and wants to know how that goes."""

    def waits(self) -> None:
        """It listens, and its database is not there yet."""
        ...

    def is_ready(self, banner: str, *, tells_password: bool) -> None:
        """It serves. The first admin's password is told once, by whichever process made it."""
        ...

    async def gone(self) -> None:
        """Returns when the process is to end because its starter has."""
        ...


class Shell:
    """Implements Starter for somebody in front of a terminal, or a log."""

    def waits(self) -> None:
        return  # the log says so

    def is_ready(self, banner: str, *, tells_password: bool) -> None:
        del tells_password
        print(banner, flush=True)  # noqa: T201 - for whoever started the server

    async def gone(self) -> None:
        await asyncio.Event().wait()


def run_process(settings: Settings, listening: socket.socket, starter: Starter) -> None:
    """Serves on a socket that was bound, until a signal. Raises StartupError."""
    give_back_large_blocks()
    config = uvicorn.Config(
        Front(settings),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=CLOSE_SECONDS,
        **websocket_options(settings),
    )
    if hasattr(signal, "SIGHUP"):
        # Its own way is to end the process; there is nothing to read anew before the start is over.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with listening, asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(settings, config, listening, starter))


async def _serve(
    settings: Settings, config: uvicorn.Config, listening: socket.socket, starter: Starter
) -> None:
    front = config.app
    assert isinstance(front, Front)
    away = asyncio.Event()
    async with AsyncExitStack() as stack:
        opening = asyncio.create_task(_open(settings, stack, away.set))
        stack.push_async_callback(cancelled, opening)
        leaving = asyncio.create_task(starter.gone())
        stack.push_async_callback(cancelled, leaving)
        await first_of(opening, away.wait(), leaving)
        if leaving.done():
            return
        if opening.done():
            # Raises what keeps it from starting, before anybody could connect. And the first who
            # do are not to be told that it opens still.
            _, front.app = await opening
        open_port(listening)
        port = listening.getsockname()[1]
        async with _running(_DrainingServer(config), listening) as serving:
            if not opening.done():
                starter.waits()
                await first_of(opening, serving.ended(), leaving)
            if serving.is_over or leaving.done():
                return
            server, front.app = await opening
            serving.serves(server)
            _reload_on_hangup(server)
            said = await banner(settings, server, url_of(settings, port))
            starter.is_ready(said, tells_password=server.new_admin_password is not None)
            await first_of(serving.ended(), leaving)


async def _open(
    settings: Settings, stack: AsyncExitStack, away: Callable[[], None]
) -> tuple[Server, ASGIApp]:
    server = await open_patiently(settings, stack, away)
    app = create_app(server.parts)
    await stack.enter_async_context(settled(server.parts.metrics.gauge, server.is_quiet))
    return server, app


class _DrainingServer(uvicorn.Server):
    """uvicorn, which of itself ends the application only after every connection has closed.

    The first signal drains: answers get their grace and an end, and so their connections close.
    A second signal does not wait. Where others serve too, nobody new is taken from the first on.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._begun = asyncio.Event()
        self._server: Server | None = None
        self._draining: asyncio.Task[None] | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def is_over(self) -> bool:
        return self._serving is not None and self._serving.done()

    def serves(self, server: Server) -> None:
        """From now on there is something to drain."""
        self._server = server

    async def begin(self, listening: socket.socket) -> None:
        """Returns once signals are heard."""
        self._serving = asyncio.create_task(self.serve(sockets=[listening]))
        await first_of(self._begun.wait(), self.ended())

    async def ended(self) -> None:
        assert self._serving is not None
        await asyncio.shield(self._serving)

    def end(self) -> None:
        """Begins to drain; called again, it does not wait any more."""
        if self._server is None or self._draining is not None:
            self.should_exit = True
            self.force_exit = self._draining is not None
        else:
            self._draining = asyncio.get_running_loop().create_task(self._drain(self._server))

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._begun.set()

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not the inherited one: it would raise the signal again, before the parts are closed.
        self.end()

    async def _drain(self, server: Server) -> None:
        try:
            if server.parts.settings.redis_url:
                for listening in self.servers:
                    listening.close()
            await server.drain()
        finally:
            # A stream that has not ended even so has CLOSE_SECONDS, then uvicorn cuts it.
            self.should_exit = True


@asynccontextmanager
async def _running(
    serving: _DrainingServer, listening: socket.socket
) -> AsyncGenerator[_DrainingServer]:
    """Inside, it takes connections; whatever ends this ends it first."""
    await serving.begin(listening)
    try:
        yield serving
    finally:
        if not serving.is_over:
            serving.end()
        await serving.ended()


def _reload_on_hangup(server: Server) -> None:
    """SIGHUP reads models.json anew; what is wrong with it is said in the log, and kept out."""
    if not hasattr(signal, "SIGHUP"):  # Windows
        return
    reloading: set[asyncio.Task[None]] = set()

    def begin() -> None:
        task = asyncio.create_task(_reload(server))
        reloading.add(task)
        task.add_done_callback(reloading.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, begin)


async def _reload(server: Server) -> None:
    try:
        await server.parts.reload_models()
    except StartupError as error:
        _log.error("models.not_reloaded", why=str(error))
    except Exception:  # noqa: BLE001 - the outermost frame of a task
        _log.exception("models.not_reloaded")


def url_of(settings: Settings, port: int) -> str:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
