"""An instance that is ending: who still comes over a kept connection is sent to another one."""

from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from runnel.edge.parts import Parts
from runnel.edge.problems import refusal
from runnel.errors import Code

_ELSEWHERE: Final = "This instance is ending. Ask again: another one will answer."
#: What tells of this instance, and not of the server.
_OWN_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})


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
        self._parts.metrics.error(Code.SHUTTING_DOWN)
        refused = refusal(Request(scope), Code.SHUTTING_DOWN, _ELSEWHERE)
        refused.headers["Connection"] = "close"
        await refused(scope, receive, send)

    def _sends_away(self, scope: Scope) -> bool:
        if not (self._others and self._parts.sockets.closing and scope["type"] == "http"):
            return False
        return scope["path"].removeprefix(scope.get("root_path", "")) not in _OWN_PATHS
