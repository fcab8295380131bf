"""Routes that let nobody in too early: who asks, then how often, then what, in this order.

FastAPI alone parses the body before any dependency runs.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute
from typing_extensions import override

from runnel.edge.json import parse_json
from runnel.edge.parts import parts_of
from runnel.errors import Code, RunnelError

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _BoundedRequest(Request):
    """A request whose JSON is parsed with our bounds."""

    @override
    async def json(self) -> object:
        settings = parts_of(self).settings
        return parse_json(await self.body(), max_depth=settings.max_json_depth)


class PublicRoute(APIRoute):
    """A route open to everybody; its JSON body is parsed with our bounds."""

    @override
    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            await self.admit(request)
            return await handler(_BoundedRequest(request.scope, request.receive))

        return guarded

    async def admit(self, request: Request) -> None:
        """Raises RunnelError, or slowapi's RateLimitExceeded, for whoever may not come in."""


class UserRoute(PublicRoute):
    """A route for whoever is signed in."""

    @override
    async def admit(self, request: Request) -> None:
        await sign_in(request)


class AskRoute(UserRoute):
    """A route that asks a model: it counts against the user's limit."""

    @override
    async def admit(self, request: Request) -> None:
        await super().admit(request)
        await parts_of(request).limiter.admit_message(request)


async def sign_in(request: Request) -> None:
    """Finds whose request this is and keeps it in the request's state."""
    identity = await parts_of(request).accounts.authenticate(bearer(request))
    request.state.identity = identity
    structlog.contextvars.bind_contextvars(user_id=identity.user_id)


def bearer(request: Request) -> str | None:
    """The credential of the Authorization header; None without one.

    Raises RunnelError `unauthorized` for another scheme than Bearer.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, credential = header.partition(" ")
    if scheme.lower() != "bearer":
        raise RunnelError(Code.UNAUTHORIZED, "Send `Authorization: Bearer TOKEN`.")
    return credential.strip()
