"""The layers around the application, and around what stands in for it: the same for both."""

from collections.abc import Callable
from typing import Any, Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from runnel.edge.requests import RequestLayer
from runnel.settings import Settings
from runnel.telemetry.metrics import Metrics
from runnel.telemetry.traffic import Traffic

_SHOWN_HEADERS: Final = (
    "X-Session-Id",
    "X-Message-Id",
    "X-User-Message-Id",
    "X-Generation-Id",
    "X-Request-Id",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "Retry-After",
)


def shared_with_origins(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Lets pages of the origins in the settings call."""
    if not settings.cors_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=["*"],
        # Nothing here goes by cookies; and OpenAI's own client sends a dozen of its own.
        allow_headers=["*"],
        expose_headers=_SHOWN_HEADERS,
    )


def covered(
    app: ASGIApp,
    settings: Settings,
    *,
    metrics: Metrics,
    traffic: Traffic,
    traced: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> ASGIApp:
    """Gives each request its id, its log line and its headers, and the client's own address."""
    # Outside of the framework, so that its own answer to an unforeseen fault is covered too.
    wrapped: Any = traced(  # Any: uvicorn has ASGI types of its own
        RequestLayer(app, metrics=metrics, traffic=traffic, root_path=settings.root_path)
    )
    if settings.forwarded_allow_ips:
        wrapped = ProxyHeadersMiddleware(wrapped, trusted_hosts=settings.forwarded_allow_ips)
    return wrapped
