"""`runnel.asgi:app`: the application for other ASGI servers, opened and closed by their lifespan.

Switch off what such a server believes of X-Forwarded-For by itself (uvicorn: --no-proxy-headers):
FORWARDED_ALLOW_IPS says whom to believe. The bounds of WebSockets below the application are such
a server's own (uvicorn: --ws wsproto --ws-max-size 65536 --ws-per-message-deflate false).
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Final

import structlog
from starlette.types import Receive, Scope, Send

from runnel.bootstrap.heap import give_back_large_blocks, settled
from runnel.bootstrap.logs import configure_logs
from runnel.bootstrap.patience import open_patiently
from runnel.bootstrap.server import Server
from runnel.edge.app import create_app
from runnel.edge.cli.awaiting import cancelled, first_of
from runnel.edge.cli.banner import admin_lines
from runnel.edge.opening import Front
from runnel.errors import RunnelError, StartupError
from runnel.settings import Settings, load_settings

_log = structlog.stdlib.get_logger()
#: A fault that was found while others were served already may be put right meanwhile.
_RETRY_SECONDS: Final = 5.0


class Application:
    """Reads the settings at lifespan start-up, so that importing this module does nothing."""

    def __init__(self) -> None:
        self._front: Front | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._front is None:
            raise RuntimeError("this application needs the ASGI lifespan; switch it on")
        else:
            await self._front(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        give_back_large_blocks()
        async with AsyncExitStack() as stack:
            try:
                settings = load_settings()
                configure_logs(settings)
                front = Front(settings)
                away = asyncio.Event()
                opening = asyncio.create_task(_open(settings, stack, front, away))
                stack.push_async_callback(cancelled, opening)
                await first_of(opening, away.wait())
                if opening.done():
                    await opening
            except (StartupError, RunnelError) as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            self._front = front
            await send({"type": "lifespan.startup.complete"})
            await receive()
            if opening.done():
                await (await opening).drain()
        await send({"type": "lifespan.shutdown.complete"})


async def _open(
    settings: Settings, stack: AsyncExitStack, front: Front, away: asyncio.Event
) -> Server:
    while True:
        try:
            async with AsyncExitStack() as one_try:
                server = await open_patiently(settings, one_try, away.set)
                front.app = create_app(server.parts)
                stack.push_async_exit(one_try.pop_all())
        except (StartupError, RunnelError) as error:
            if not away.is_set():
                raise
            # By now the start is over, and there is nobody to whom it could fail.
            _log.error("server.not_opened", why=str(error))
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            settling = settled(server.parts.metrics.gauge, server.is_quiet)
            await stack.enter_async_context(settling)
            print(admin_lines(settings, server), flush=True)  # noqa: T201 - for whoever started it
            return server


app = Application()
