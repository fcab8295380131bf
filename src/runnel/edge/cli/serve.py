"""`runnel serve`: one process, many of them on one socket, or one that starts anew on changes."""

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from runnel.edge.cli.setup import set_up
from runnel.edge.cli.workers import ReportingParent, inherited, serve_many
from runnel.edge.listening import bind, websocket_options
from runnel.errors import StartupError
from runnel.settings import Settings

#: To look for garbage takes a fifth of the start, and finds hardly any. Once started, see heap.py.
_LOADING: Final = 200_000


def serve(
    host: Annotated[str | None, typer.Option(help="the address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="the port to listen on")] = None,
    workers: Annotated[int, typer.Option(min=1, help="processes; more than one need Redis")] = 1,
    reload: Annotated[bool, typer.Option("--reload", help="start anew on changes")] = False,  # noqa: FBT002 - typer's form of a switch
    worker: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start the server."""
    gc.set_threshold(_LOADING)
    for name, value in (("HOST", host), ("PORT", port)):
        if value is not None:
            os.environ[name] = str(value)
    settings = set_up()
    if worker is not None:
        _serve_as_worker(settings, worker)
        return
    if workers > 1:
        _refuse_many(settings, workers, reload=reload)
    if reload:
        _serve_reloading(settings)
        return
    listening = bind(
        settings.host, settings.port, send_timeout_seconds=settings.send_timeout_seconds
    )
    if workers > 1:
        with listening:
            sys.exit(serve_many(listening, workers))
    from runnel.edge.cli.process import Shell, run_process  # noqa: PLC0415 - a parent needs none of it

    run_process(settings, listening, Shell())


def _refuse_many(settings: Settings, workers: int, *, reload: bool) -> None:
    if not settings.redis_url:
        raise StartupError(
            f"--workers {workers} needs REDIS_URL: it is over Redis that processes follow and stop"
            " each other's answers and share limits. Set it, and DATABASE_URL to a Postgres"
            " database, or leave --workers out"
        )
    if reload:
        raise StartupError("--reload is for one process: leave --workers out")


def _serve_as_worker(settings: Settings, worker: str) -> None:
    from runnel.edge.cli.process import run_process  # noqa: PLC0415 - as above

    listening, parent = inherited(worker)
    with parent:
        run_process(settings, listening, ReportingParent(parent))


async def _check(settings: Settings) -> None:
    """What is wrong with the models ends the start here: the process that reloads would stay."""
    from runnel.bootstrap.models import open_catalog  # noqa: PLC0415 - as above

    async with open_catalog(settings):
        pass


def _serve_reloading(settings: Settings) -> None:
    import uvicorn  # noqa: PLC0415 - as above

    from runnel.edge.cli.process import CLOSE_SECONDS, url_of  # noqa: PLC0415 - as above

    asyncio.run(_check(settings))
    url = url_of(settings, settings.port)
    print(f"Starting on {url}, and anew whenever the code changes", flush=True)  # noqa: T201 - for whoever started the server
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
        timeout_graceful_shutdown=CLOSE_SECONDS,
        **websocket_options(settings),
    )
