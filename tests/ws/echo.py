"""A route that only tests mount, served as `runnel serve` serves WebSockets."""

import asyncio
import socket
import threading
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from runnel.edge.listening import WebSocketOptions, bind, open_port, websocket_options
from runnel.settings import SocketSettings

START_SECONDS = 20


async def echo(_: Scope, receive: Receive, send: Send) -> None:
    """Sends each message back, text as text and bytes as bytes."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        try:
            await send({**message, "type": "websocket.send"})
        except OSError:  # gone before its answer
            return


def options(**changes: float) -> WebSocketOptions:
    """Our server's own, with its settings, or with others."""
    return websocket_options(SocketSettings(**changes))  # pyright: ignore[reportArgumentType] - pydantic checks them


@contextmanager
def serving(app: ASGIApp, served: WebSocketOptions) -> Generator[str]:
    """The URL of a server in a thread, with the loop that uvicorn takes by itself."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
        **served,
    )
    server = _Announcing(config)

    def run() -> None:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets=[listening]))

    with bind("127.0.0.1", 0, send_timeout_seconds=30) as listening:
        open_port(listening)
        thread = threading.Thread(target=run, name="sockets-under-test")
        thread.start()
        try:
            server.started_serving.result(START_SECONDS)
            yield f"ws://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the server did not stop"


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.started_serving: Future[None] = Future()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.started_serving.set_result(None)
