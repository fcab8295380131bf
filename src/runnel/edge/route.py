"""Routes that let nobody in too early: who asks, then how often, then what, in this order.

FastAPI alone parses the body before any dependency runs.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Final

import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from typing_extensions import override

from runnel.accounts.entities import Identity
from runnel.edge.json import parse_json
from runnel.edge.parts import parts_of
from runnel.errors import Code, RunnelError
from runnel.settings import Settings

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


#: Bodies of those who are not signed in: names, passwords and tokens. In a larger one, what is
#: wrong with it can be made to take a second to find out.
PUBLIC_BODY_BYTES: Final = 32 * 1024


class _BoundedRequest(Request):
    """A request whose body is read, and its JSON parsed, with our bounds.

    Starlette's middleware for this answers by itself, in plain text, and before it is known
    who asks.
    """

    most_bytes = PUBLIC_BODY_BYTES

    @override
    async def stream(self) -> AsyncGenerator[bytes, None]:
        most = self.most_bytes
        announced = self.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > most:
            raise _too_large(most)
        read = 0
        async with aclosing(super().stream()) as chunks:
            async for chunk in chunks:
                read += len(chunk)
                if read > most:
                    raise _too_large(most)
                yield chunk

    @override
    async def json(self) -> object:
        settings = parts_of(self).settings
        return parse_json(await self.body(), max_depth=settings.max_json_depth)


def _too_large(most: int) -> RunnelError:
    return RunnelError(Code.PAYLOAD_TOO_LARGE, f"The body has more than {most} bytes.")


class PublicRoute(APIRoute):
    """A route open to everybody; its body is read with our bounds."""

    @override
    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            await self.admit(request)
            bounded = _BoundedRequest(request.scope, request.receive)
            bounded.most_bytes = self.most_bytes(parts_of(request).settings)
            return await handler(bounded)

        return guarded

    async def admit(self, request: Request) -> None:
        """Raises RunnelError, or slowapi's RateLimitExceeded, for whoever may not come in."""

    def most_bytes(self, settings: Settings) -> int:
        """How large a body may be."""
        return min(PUBLIC_BODY_BYTES, settings.max_body_bytes)


class UserRoute(PublicRoute):
    """A route for whoever is signed in."""

    @override
    async def admit(self, request: Request) -> None:
        await sign_in(request)

    @override
    def most_bytes(self, settings: Settings) -> int:
        return settings.max_body_bytes


class AdminRoute(UserRoute):
    """A route for admins."""

    @override
    async def admit(self, request: Request) -> None:
        await super().admit(request)
        if request.state.identity.role != "admin":
            raise RunnelError(Code.FORBIDDEN, "This is for admins.")


class TicketRoute(UserRoute):
    """A route to read one generation, for whoever is signed in or brings a ticket for it."""

    @override
    async def admit(self, request: Request) -> None:
        ticket = request.query_params.get("ticket")
        if ticket is None or "authorization" in request.headers:
            await super().admit(request)
            return
        generation_id = request.path_params["generation_id"]
        _signed_in(request, await parts_of(request).tickets.redeem(ticket, generation_id))


class AskRoute(UserRoute):
    """A route that asks a model: it counts against the user's limit."""

    @override
    async def admit(self, request: Request) -> None:
        await super().admit(request)
        await parts_of(request).limiter.admit_message(request)


async def sign_in(request: Request) -> None:
    """Finds whose request this is and keeps it in the request's state."""
    _signed_in(request, await parts_of(request).accounts.authenticate(bearer(request)))


def _signed_in(request: Request, identity: Identity) -> None:
    request.state.identity = identity
    structlog.contextvars.bind_contextvars(user_id=identity.user_id)


def bearer(request: HTTPConnection) -> str | None:
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
