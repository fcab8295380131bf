"""The application from the first connection on, while the server behind it is still being opened."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from runnel.edge.json import JsonResponse
from runnel.edge.layers import covered, shared_with_origins
from runnel.edge.problems import refusal
from runnel.edge.sockets import CloseCode
from runnel.edge.ws.admission import BEARER, offers_bearer
from runnel.errors import Code
from runnel.settings import Settings
from runnel.telemetry.metrics import Metrics
from runnel.telemetry.traffic import Traffic

_WAIT: Final = "The database does not answer yet. Try again shortly."


class Front:
    """Whatever `app` is by now; as long as it is nothing, who asks is told to come back."""

    def __init__(self, settings: Settings) -> None:
        self.app: ASGIApp | None = None
        metrics = Metrics()  # shown to nobody: the server brings its own
        self._opening = covered(
            shared_with_origins(_opening, settings),
            settings,
            metrics=metrics,
            traffic=Traffic(metrics.bytes_sent),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.app or self._opening)(scope, receive, send)


async def _opening(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await _refuse(WebSocket(scope, receive, send))
        return
    await _answer(Request(scope))(scope, receive, send)


def _answer(request: Request) -> Response:
    """Alive, not ready, and a problem for all else, whoever asks."""
    match request.scope["path"].removeprefix(request.scope.get("root_path", "")):
        case "/healthz":
            return JsonResponse({"status": "ok"})
        case "/readyz":
            components = {"database": "unavailable"}
            return JsonResponse(
                {"status": "unavailable", "components": components}, status_code=503
            )
        case _:
            return refusal(request, Code.STORE_UNAVAILABLE, _WAIT)


async def _refuse(websocket: WebSocket) -> None:
    """With a code that the client can see, for which it has to be let in first."""
    await websocket.accept(BEARER if offers_bearer(websocket) else None)
    websocket.state.closed = CloseCode.TRY_LATER
    await websocket.close(CloseCode.TRY_LATER, _WAIT)
