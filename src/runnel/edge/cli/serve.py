"""`runnel serve`: uvicorn around the application, with a drain of our own at its end."""

import asyncio
import os
import signal
import socket
from pathlib import Path
from types import FrameType
from typing import Annotated

import structlog
import typer
import uvicorn
from typing_extensions import override

from runnel.bootstrap.models import open_catalog
from runnel.bootstrap.server import Server, open_server, settle
from runnel.edge.app import create_app
from runnel.edge.cli.banner import banner
from runnel.edge.cli.setup import set_up
from runnel.edge.listening import bind, open_port, websocket_options
from runnel.errors import StartupError
from runnel.settings import Settings

_log = structlog.stdlib.get_logger()
#: How long connections that are still writing may take after the last answer has ended.
_CLOSE_SECONDS = 5


def serve(
    host: Annotated[str | None, typer.Option(help="the address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="the port to listen on")] = None,
    workers: Annotated[int, typer.Option(help="processes; one is all there is so far")] = 1,
    reload: Annotated[bool, typer.Option("--reload", help="start anew on changes")] = False,  # noqa: FBT002 - typer's form of a switch
) -> None:
    """Start the server."""
    for name, value in (("HOST", host), ("PORT", port)):
        if value is not None:
            os.environ[name] = str(value)
    if workers != 1:
        raise StartupError("one process is all that can share a SQLite file: --workers 1")
    settings = set_up()
    if reload:
        _serve_reloading(settings)
        return
    listening = bind(
        settings.host, settings.port, send_timeout_seconds=settings.send_timeout_seconds
    )
    config = uvicorn.Config(
        # The application is there once the parts run; see _serve.
        app=_not_yet,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_CLOSE_SECONDS,
        **websocket_options(settings),
    )
    if hasattr(signal, "SIGHUP"):
        # Its own way is to end the process; there is nothing to read anew before the start is over.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with listening, asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(settings, config, listening))


async def _not_yet(*_: object) -> None:
    raise AssertionError


async def _serve(settings: Settings, config: uvicorn.Config, listening: socket.socket) -> None:
    async with open_server(settings) as server:
        config.app = create_app(server.parts)
        _reload_on_hangup(server)
        settle()
        open_port(listening)
        port = listening.getsockname()[1]
        said = await banner(settings, server, _url(settings, port))
        await _DrainingServer(config, server, said).serve(sockets=[listening])


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


class _DrainingServer(uvicorn.Server):
    """uvicorn, which of itself ends the application only after every connection has closed.

    The first signal drains: answers get their grace and an end, and so their connections close.
    A second signal does not wait.
    """

    def __init__(self, config: uvicorn.Config, server: Server, banner: str) -> None:
        super().__init__(config)
        self._server = server
        self._banner = banner
        self._draining: asyncio.Task[None] | None = None

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._banner, flush=True)  # noqa: T201 - for whoever started the server

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not the inherited one: it would raise the signal again, before the parts are closed.
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())
        else:
            self.should_exit = self.force_exit = True

    async def _drain(self) -> None:
        try:
            await self._server.drain()
        finally:
            # A stream that has not ended even so has _CLOSE_SECONDS, then uvicorn cuts it.
            self.should_exit = True


def _url(settings: Settings, port: int) -> str:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def _check(settings: Settings) -> None:
    """What is wrong with the models ends the start here: the process that reloads would stay."""
    async with open_catalog(settings):
        pass


def _serve_reloading(settings: Settings) -> None:
    asyncio.run(_check(settings))
    url = _url(settings, settings.port)
    print(f"Starting on {url}, and anew whenever the code changes", flush=True)  # noqa: T201 - as above
    uvicorn.run(
        "runnel.asgi:app",
        lifespan="on",
        host=settings.host,
        port=settings.port,
        reload=True,
        reload_dirs=[str(Path(__file__).parents[2])],
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_CLOSE_SECONDS,
        **websocket_options(settings),
    )
