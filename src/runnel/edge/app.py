"""The ASGI application: routers, error handlers and layers around given parts."""

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.types import ASGIApp

from runnel import __version__
from runnel.edge import problems
from runnel.edge.closing import Closing
from runnel.edge.http import (
    admin,
    admin_usage,
    admin_users,
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
    page,
    server,
    sessions,
    tickets,
    usage,
)
from runnel.edge.http.shapes import ANY_PROBLEM
from runnel.edge.layers import covered, shared_with_origins
from runnel.edge.parts import Parts
from runnel.edge.ws import routes as ws
from runnel.errors import StartupError


def create_app(parts: Parts) -> ASGIApp:
    """The application; the parts are running already and are closed by whoever opened them."""
    settings = parts.settings
    app = FastAPI(
        title="Runnel",
        version=__version__,
        description="The self-hosted chat server for language models whose answers never break.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        responses=ANY_PROBLEM,
        # The redirect would carry the query, which may hold a token, to whatever Host was sent.
        redirect_slashes=False,
    )
    app.state.parts = parts
    problems.install(app)
    # One after the other is asked whether a request is meant for it.
    for router in (
        generate.router,
        generate.public_router,
        ws.router,
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
        admin_users.router,
        admin_usage.router,
        exporting.router,
        docs.router,
        page.router,
    ):
        app.include_router(router)
    app.add_middleware(Closing, parts=parts)
    app.add_middleware(shared_with_origins, settings=settings)
    _refuse_ambiguous_root(app, settings.root_path)
    return covered(app, settings, metrics=parts.metrics, traffic=parts.traffic, traced=parts.traced)


def _refuse_ambiguous_root(app: FastAPI, root_path: str) -> None:
    """Behind a proxy that takes the prefix off, /chat must not look as if it were still on."""
    # With this look, FastAPI makes the routes ready that it would else make while the first asks.
    routes = [each.original_route for each in iter_route_contexts(app.routes)]
    paths = [each.path for each in routes if isinstance(each, APIRoute) and each.include_in_schema]
    paths += ["/ws", "/page"]
    if root_path and any(f"{path}/".startswith(f"{root_path}/") for path in paths):
        raise StartupError(
            f"ROOT_PATH: {root_path} is how routes of the server begin; take another"
        )
