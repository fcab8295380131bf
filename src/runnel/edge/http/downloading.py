"""What is made while it is sent. If it breaks off it is cut: no client takes a part for the whole."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from typing_extensions import override

from runnel.errors import RunnelError

_log = structlog.stdlib.get_logger()


class Download(Response):
    """Sends chunks as fast as the client takes them, as a file to be kept if it has a name.

    `held` is given back at the end.

    It is cut when `closed` is set, when the chunks cannot go on (RunnelError), and when nobody
    takes one for `send_timeout_seconds`; with the client's leaving the work ends.
    """

    def __init__(
        self,
        first: bytes,
        rest: AsyncGenerator[bytes],
        *,
        filename: str | None = None,
        media_type: str,
        closed: asyncio.Event,
        held: ExitStack,
        send_timeout_seconds: float,
    ) -> None:
        self._first = first
        self._rest = rest
        self._closed = closed
        self._held = held
        self._send_timeout_seconds = send_timeout_seconds
        # Not by `init_headers` of an empty body: it would say that the length is 0.
        super().__init__(media_type=media_type)
        self.raw_headers = [(b"content-type", media_type.encode())]
        if filename is not None:
            disposition = f'attachment; filename="{filename}"'
            self.raw_headers.append((b"content-disposition", disposition.encode()))

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            sending = asyncio.create_task(self._send(send))
            others = [
                asyncio.create_task(self._closed.wait()),
                asyncio.create_task(_left(receive)),
            ]
            try:
                await asyncio.wait([sending, *others], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, *others):
                    task.cancel()
                await asyncio.gather(sending, *others, return_exceptions=True)
            if not sending.cancelled():
                sending.result()

    async def _send(self, send: Send) -> None:
        """Whoever returns before the last, empty piece has the server hang up."""
        start: Message = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            async with aclosing(self._rest):
                await self._put(send, start)
                await self._put(send, _piece(self._first))
                async for chunk in self._rest:
                    await self._put(send, _piece(chunk))
        except RunnelError as error:
            _log.warning("download.cut", code=error.code, why=error.message)
        except TimeoutError:
            _log.info("download.stalled")
        else:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _put(self, send: Send, message: Message) -> None:
        async with asyncio.timeout(self._send_timeout_seconds):
            await send(message)


def _piece(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
