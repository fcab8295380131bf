"""Who may open a WebSocket: where its page comes from, and who signs in."""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from runnel.accounts.entities import Identity
from runnel.edge.parts import Parts
from runnel.edge.route import bearer
from runnel.errors import Code, RunnelError

#: The subprotocol that tells that the next one offered is a token.
BEARER: Final = "bearer"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def origin_allowed(connection: HTTPConnection, allowed: Collection[str]) -> bool:
    """Whether a page of that origin may connect: of the same host, a listed one, or no page."""
    origin = connection.headers.get("origin")
    if origin is None or origin in allowed or "*" in allowed:
        return True
    host = connection.headers.get("host", "")
    page = _host_and_port(origin)
    # The scheme is not compared: a proxy in front may have taken the TLS off.
    return page is not None and page == _host_and_port(f"{urlsplit(origin).scheme}://{host}")


def _host_and_port(url: str) -> tuple[str, int | None] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return None if parts.hostname is None else (parts.hostname, port)


def offers_bearer(websocket: WebSocket) -> bool:
    return BEARER in websocket.scope["subprotocols"]


async def identify(websocket: WebSocket, parts: Parts) -> Identity | None:
    """Whose socket it is by its handshake; None if that holds nothing to tell.

    Raises RunnelError `unauthorized`, `store_unavailable`.
    """
    token = _in_header(websocket)
    if token is None:
        token = _offered(websocket)
    ticket = websocket.query_params.get("ticket")
    if token is None and ticket is not None:
        return await parts.tickets.redeem_for_socket(ticket)
    if token is None:
        token = websocket.query_params.get("token")
    if token is None and not parts.settings.anonymous_access:
        return None
    return await parts.accounts.authenticate(token)


def token_of(frame: object) -> str:
    """The token of a frame that signs in. Raises RunnelError `unauthorized` for any other."""
    match frame:
        case {"type": "auth", "token": str(token)}:
            return token
        case _:
            raise RunnelError(Code.UNAUTHORIZED, 'Send {"type": "auth", "token": "…"} first.')


def _in_header(websocket: WebSocket) -> str | None:
    """A page cannot help it if its browser sends what a proxy wants, as with the scheme Basic."""
    try:
        return bearer(websocket)
    except RunnelError:
        return None


def _offered(websocket: WebSocket) -> str | None:
    """The token behind `bearer` among the subprotocols that are offered."""
    match websocket.scope["subprotocols"]:
        case [first, token] if first == BEARER:
            return str(token)
        case offered if BEARER in offered:
            return ""  # which holds for nobody
        case _:
            return None
