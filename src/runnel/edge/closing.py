"""An instance that is ending: who still comes to it is sent to another one."""

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from runnel.edge.dialects.sse import retry_line
from runnel.edge.parts import Parts
from runnel.edge.problems import refusal
from runnel.errors import Code

_ELSEWHERE: Final = "This instance is ending. Ask again: another one will answer."
#: What tells of this instance, and not of the server.
_OWN_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_FOLLOWED: Final = re.compile(r"/api/generations/[^/]+/events")


def come_again() -> Response:
    """For who follows an answer as server-sent events: a stream that breaks off.

    A browser's EventSource comes back after that, and never after a 503.
    """
    return Response(
        retry_line(),
        media_type="text/event-stream",
        headers={
            "Cache-Control": "no-cache, no-transform",
            "Connection": "close",
            "X-Accel-Buffering": "no",
        },
    )


def wants_json(request: Request) -> bool:
    """Whether who follows an answer polls."""
    accepted = ",".join(request.headers.getlist("accept")).split(",")
    kinds = {kind.partition(";")[0].strip().lower() for kind in accepted}
    return "application/json" in kinds and "text/event-stream" not in kinds


class Closing:
    """Wraps the app. Without other instances nobody is sent away: then all but questions goes on.

    The connection is closed behind the refusal, so that the next request is another's.
    """

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._others = bool(parts.settings.redis_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._sends_away(scope):
            await self._app(scope, receive, send)
            return
        await self._sent_away(Request(scope))(scope, receive, send)

    def _sent_away(self, request: Request) -> Response:
        follows = request.method == "GET" and _FOLLOWED.fullmatch(_path(request.scope))
        if follows and not wants_json(request):
            return come_again()
        self._parts.metrics.error(Code.SHUTTING_DOWN)
        refused = refusal(request, Code.SHUTTING_DOWN, _ELSEWHERE)
        refused.headers["Connection"] = "close"
        return refused

    def _sends_away(self, scope: Scope) -> bool:
        if not (self._others and self._parts.sockets.closing and scope["type"] == "http"):
            return False
        return _path(scope) not in _OWN_PATHS


def _path(scope: Scope) -> str:
    return scope["path"].removeprefix(scope.get("root_path", ""))
