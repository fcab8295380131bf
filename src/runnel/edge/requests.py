"""The outermost layer of every request and socket: its id, its log line, its metrics, its headers.

Pure ASGI: a middleware that read the body or the answer would break streams.
"""

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

import structlog
import uuid_utils
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runnel.accounts.entities import Identity
from runnel.edge.answer_headers import collected
from runnel.telemetry.metrics import Metrics
from runnel.telemetry.traffic import Traffic

_log = structlog.stdlib.get_logger()
_MOST_OF_A_PATH: Final = 512  # characters of it in a log line
_FIT_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

#: For every answer that does not say otherwise. Pages bring their own Content-Security-Policy.
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_Header = tuple[bytes, bytes]
_SECURITY_HEADERS: Final[list[_Header]] = [
    (name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()
]


class Straight:
    """The way of a stream past the layers, which look only at how an answer begins.

    While it is sent they are let go: `rest` sends what comes behind the beginning, once the app has
    returned; `give_back` is called at the end, whether or not it came to that.
    """

    __slots__ = ("count", "give_back", "rest", "send")

    def __init__(self, send: Send) -> None:
        self.send = send
        self.count: Callable[[int], None] = _count_nothing
        """Is to be told how many bytes of bodies were sent, now and then."""
        self.rest: Callable[[], Coroutine[Any, Any, None]] | None = None
        self.give_back: Callable[[], None] | None = None


def straight_of(scope: Scope) -> Straight:
    """The request's."""
    return scope["state"]["straight"]


def _count_nothing(size: int) -> None:
    """Until it is known who asks."""


class RequestLayer:
    """Wraps the app. A fit `X-Request-Id` of the client's is kept, else one is made.

    `root_path` is the prefix that clients see, whether or not a proxy has taken it off.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, traffic: Traffic, root_path: str) -> None:
        self._app = app
        self._metrics = metrics
        self._traffic = traffic
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if self._root_path:  # not uvicorn's own option, which puts it before the path once more
            scope["root_path"] = self._root_path
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send)
        else:
            await self._serve_request(scope, receive, send, request_id)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        try:
            await self._app(scope, receive, send)
        finally:
            code = scope["state"].get("closed")
            self._metrics.socket_closed("client" if code is None else str(int(code)))
            _log.info(
                "socket",
                path=scope["path"][:_MOST_OF_A_PATH],
                closed=None if code is None else int(code),
                address=scope["client"][0] if scope.get("client") else None,
                seconds=round(time.monotonic() - began),
            )

    async def _serve_request(
        self, scope: Scope, receive: Receive, send: Send, request_id: str
    ) -> None:
        began = time.monotonic()
        status = 500
        straight = scope["state"]["straight"] = Straight(send)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = collected(scope) | {"X-Request-Id": request_id}
                message["headers"] = _headers(message["headers"], given)
                # By now it is known who asks, if that will be known at all.
                straight.count = self._counting(scope["state"].get("identity"))
            await send(message)
            if body := message.get("body"):
                straight.count(len(body))

        try:
            await self._app(scope, receive, send_with_headers)
            if straight.rest is not None:
                _forget_stacks(scope)
                # In a task of its own, so that each piece of it wakes none of the layers.
                await asyncio.create_task(straight.rest())
        finally:
            if straight.give_back is not None:
                straight.give_back()
            self._done(scope, status, time.monotonic() - began)

    def _counting(self, identity: Identity | None) -> Callable[[int], None]:
        if identity is None:
            return self._traffic.of(None, "nobody")
        return self._traffic.of(identity.user_id, "guest" if identity.guest else identity.role)

    def _done(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.request(scope["method"], route, status)
        # The path only: a query may carry a ticket or a token.
        _log.info(
            "request",
            method=scope["method"],
            path=scope["path"][:_MOST_OF_A_PATH],
            status=status,
            ms=round(seconds * 1000),
        )


def _headers(own: Iterable[_Header], given: Mapping[str, str]) -> list[_Header]:
    """An answer's own, those it was given on its way, and what is said of all that say nothing."""
    earned = {
        name.lower().encode("latin-1"): value.encode("latin-1") for name, value in given.items()
    }
    headers = [*(header for header in own if header[0] not in earned), *earned.items()]
    said = {name for name, _ in headers}
    return headers + [header for header in _SECURITY_HEADERS if header[0] not in said]


def _forget_stacks(scope: Scope) -> None:
    """FastAPI's three, which it has closed: each has room for 64 things to close."""
    for key in [key for key in scope if key.endswith("_astack")]:
        del scope[key]


def _request_id(given: str | None) -> str:
    if given is not None and _FIT_ID.fullmatch(given):
        return given
    return str(uuid_utils.uuid7())
