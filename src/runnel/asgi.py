"""`runnel.asgi:app`: the application for other ASGI servers, opened and closed by their lifespan.

Switch off what such a server believes of X-Forwarded-For by itself (uvicorn: --no-proxy-headers):
FORWARDED_ALLOW_IPS says whom to believe. The bounds of WebSockets below the application are such
a server's own (uvicorn: --ws wsproto --ws-max-size 65536 --ws-per-message-deflate false).
"""

from contextlib import AsyncExitStack

from starlette.types import ASGIApp, Receive, Scope, Send

from runnel.bootstrap.logs import configure_logs
from runnel.bootstrap.server import open_server, settle
from runnel.edge.app import create_app
from runnel.edge.cli.banner import admin_lines
from runnel.errors import RunnelError, StartupError
from runnel.settings import load_settings


class Application:
    """Reads the settings at lifespan start-up, so that importing this module does nothing."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._app is None:
            raise RuntimeError("this application needs the ASGI lifespan; switch it on")
        else:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            try:
                settings = load_settings()
                configure_logs(settings)
                server = await stack.enter_async_context(open_server(settings))
                self._app = create_app(server.parts)
                settle()
            except (StartupError, RunnelError) as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            print(admin_lines(settings, server), flush=True)  # noqa: T201 - for whoever started it
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await server.drain()
        await send({"type": "lifespan.shutdown.complete"})


app = Application()
