"""The ASGI application: routers, error handlers and layers around given parts."""

from typing import Any

from fastapi import FastAPI
from sse_starlette.sse import AppStatus
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from runnel import __version__
from runnel.edge import problems
from runnel.edge.http import (
    admin,
    attachments,
    auth,
    branching,
    chats,
    docs,
    exporting,
    generate,
    generations,
    keys,
    openai,
    server,
    sessions,
    tickets,
    usage,
)
from runnel.edge.http.shapes import ANY_PROBLEM
from runnel.edge.parts import Parts
from runnel.edge.requests import RequestLayer
from runnel.edge.ws import routes as ws
from runnel.errors import StartupError

_SHOWN_HEADERS = (
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


def create_app(parts: Parts) -> ASGIApp:
    """The application; the parts are running already and are closed by whoever opened them."""
    settings = parts.settings
    app = FastAPI(
        title="Runnel",
        version=__version__,
        description="The self-hosted chat server for language models whose answers never break.",
        docs_url=None,
        redoc_url=None,
        responses=ANY_PROBLEM,
        # The redirect would carry the query, which may hold a token, to whatever Host was sent.
        redirect_slashes=False,
    )
    app.state.parts = parts
    # It would cut every stream half a second after the signal; the drain ends them instead.
    AppStatus.disable_automatic_graceful_drain()
    problems.install(app)
    for router in (
        generate.router,
        generate.public_router,
        generations.router,
        generations.reading,
        attachments.uploads,
        attachments.router,
        openai.asking,
        openai.listing,
        sessions.router,
        branching.router,
        chats.router,
        tickets.router,
        auth.attempts,
        auth.public,
        auth.own,
        keys.router,
        server.router,
        usage.router,
        admin.router,
        exporting.router,
        docs.router,
        ws.router,
    ):
        app.include_router(router)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            # Nothing here goes by cookies; and OpenAI's own client sends a dozen of its own.
            allow_headers=["*"],
            expose_headers=_SHOWN_HEADERS,
        )
    _refuse_ambiguous_root(app, settings.root_path)
    # Outside of the framework, so that its own answer to an unforeseen fault is covered too.
    wrapped: Any = RequestLayer(  # Any: uvicorn has ASGI types of its own
        app, metrics=parts.metrics, traffic=parts.traffic, root_path=settings.root_path
    )
    wrapped = parts.traced(wrapped)
    if settings.forwarded_allow_ips:
        wrapped = ProxyHeadersMiddleware(wrapped, trusted_hosts=settings.forwarded_allow_ips)
    return wrapped


def _refuse_ambiguous_root(app: FastAPI, root_path: str) -> None:
    """Behind a proxy that takes the prefix off, /chat must not look as if it were still on."""
    paths = [*app.openapi()["paths"], "/ws"]
    if root_path and any(f"{path}/".startswith(f"{root_path}/") for path in paths):
        raise StartupError(
            f"ROOT_PATH: {root_path} is how routes of the server begin; take another"
        )
