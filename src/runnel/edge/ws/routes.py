"""The addresses of WebSockets, and one socket's life from its handshake to its close."""

import asyncio
import time
from contextlib import ExitStack
from typing import Final

import structlog
from fastapi import APIRouter
from starlette.websockets import WebSocket

from runnel.accounts.connections import Connected
from runnel.accounts.entities import Identity
from runnel.edge.parts import Parts, parts_of
from runnel.edge.sockets import CloseCode, restarting
from runnel.edge.ws.admission import BEARER, identify, offers_bearer, origin_allowed, token_of
from runnel.edge.ws.connection import Connection
from runnel.edge.ws.deliveries import Deliveries
from runnel.edge.ws.places import PathKind, Place, place_of
from runnel.edge.ws.wire import ClosedError, Wire
from runnel.errors import Code, RunnelError

_log = structlog.stdlib.get_logger()
_MOST_OF_A_USER_AGENT: Final = 256  # characters
_MOST_OF_A_REASON: Final = 123  # bytes, RFC 6455 section 5.5

_BETWEEN_RECONNECTS_SECONDS: Final = 1.0

router = APIRouter()


@router.websocket("/ws")
async def own_channel(websocket: WebSocket) -> None:
    await _Socket(websocket).live("bare", "me")


@router.websocket("/ws/chat/completions")
async def completions(websocket: WebSocket) -> None:
    await _Socket(websocket).live("completions", "")


@router.websocket("/ws/users/{user_id}")
async def user_channel(websocket: WebSocket, user_id: str) -> None:
    await _Socket(websocket).live("users", user_id)


@router.websocket("/ws/{name}")
async def channel(websocket: WebSocket, name: str) -> None:
    await _Socket(websocket).live("bare", name)


@router.websocket("/ws/{_rest:path}")
async def nothing(websocket: WebSocket) -> None:
    await _Socket(websocket).live("unknown", "")


class _Socket:
    """Implements edge.sockets.OpenSocket."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._parts: Parts = parts_of(websocket)
        settings = self._parts.settings
        self._wire = Wire(
            websocket,
            flush=self._flush,
            max_frame_bytes=settings.websocket_max_frame_bytes,
            max_depth=settings.max_json_depth,
            frames_per_second=settings.websocket_frames_per_second,
        )
        self._deliveries = Deliveries(self._wire, self._told_all)
        self._opened_at = self._told_at = self._wire.heard_at
        self._signed_in = False

    @property
    def unauthorized_since(self) -> float | None:
        return None if self._signed_in else self._opened_at

    @property
    def silent_since(self) -> float | None:
        if not (self._signed_in and self._deliveries.idle):
            return None
        return max(self._wire.heard_at, self._told_at)

    @property
    def stalled_since(self) -> float | None:
        return self._wire.stalled_since

    def end(self, code: CloseCode, reason: str) -> None:
        self._wire.end(code, reason.encode()[:_MOST_OF_A_REASON].decode(errors="ignore"))

    def cut(self) -> None:
        self._wire.cut()

    async def live(self, path: PathKind, name: str) -> None:
        """The socket's whole life."""
        websocket, wire = self._websocket, self._wire
        try:
            await websocket.accept(BEARER if offers_bearer(websocket) else None)
            with self._parts.sockets.opened(self), self._parts.metrics.connected("websocket"):
                await self._live(path, name)
        except ClosedError:
            pass
        except asyncio.CancelledError:
            if not wire.was_cut:
                raise
        except RunnelError as error:
            self.end(*_close_of(error))
        except Exception:  # the outermost frame: the client is told something
            self.end(CloseCode.FAILED, "internal error")
            raise
        finally:
            if wire.ended is None:
                self._deliveries.leave()
            else:
                websocket.state.closed = wire.ended
            await wire.closed()
            self._deliveries.cancel()

    async def _live(self, path: PathKind, name: str) -> None:
        sockets = self._parts.sockets
        if sockets.closing:
            # Whoever reconnects now, as told, would be back in a millisecond.
            await asyncio.sleep(_BETWEEN_RECONNECTS_SECONDS)
            restarting(self)
        elif not origin_allowed(self._websocket, self._parts.settings.cors_origins):
            self.end(CloseCode.FORBIDDEN_ORIGIN, "this origin may not connect")
        else:
            identity = await identify(self._websocket, self._parts) or await self._first_frame()
            self._websocket.state.identity = identity
            structlog.contextvars.bind_contextvars(user_id=identity.user_id)
            self._signed_in = True
            await self._register(
                place_of(path, name, identity, self._websocket.query_params), identity
            )

    async def _first_frame(self) -> Identity:
        client = self._websocket.client
        with self._parts.sockets.waiting_place(client.host if client else "") as is_room:
            self._refuse_unless(is_room)
            try:
                frame = await self._wire.receive()
            except RunnelError as error:  # whatever it is, it signs nobody in
                raise RunnelError(Code.UNAUTHORIZED, error.message) from None
            return await self._parts.accounts.authenticate(token_of(frame))

    def _refuse_unless(self, is_room: bool) -> None:  # noqa: FBT001 - reads as said
        if not is_room:
            self.end(CloseCode.TOO_MANY, "too many connections")
            raise ClosedError

    async def _register(self, place: Place, identity: Identity) -> None:
        """First its user's own bound, so that nobody takes all places by trying."""
        connected = self._connected(place, identity)
        most = self._parts.settings.websocket_max_connections_per_user
        if not await self._parts.connections.enter(connected, most_of_user=most):
            self.end(CloseCode.TOO_MANY, "too many connections of this user")
            return
        try:
            with self._parts.sockets.place() as is_room:
                self._refuse_unless(is_room)
                await self._serve(place, identity)
        finally:
            await asyncio.shield(self._parts.connections.leave(connected.id))

    async def _serve(self, place: Place, identity: Identity) -> None:
        parts = self._parts
        kind = "guest" if identity.guest else identity.role
        self._wire.count = parts.traffic.of(identity.user_id, kind)
        connection = Connection(self._wire, parts, identity, place, self._deliveries)
        with ExitStack() as stack:
            # First of all: what is revoked while it comes in ends it.
            stack.enter_context(parts.watch.holding(identity, self._revoked))
            state = await connection.join(stack)
            if state is not None:
                await parts.connections.locate(connection.id, state.session_id)
            await connection.run(state)

    def _connected(self, place: Place, identity: Identity) -> Connected:
        websocket = self._websocket
        agent = websocket.headers.get("user-agent")
        return Connected(
            id=self._wire.id,
            user_id=identity.user_id,
            username=identity.username,
            channel=place.kind,
            session_id=None,
            address=websocket.client.host if websocket.client else None,
            user_agent=agent and agent[:_MOST_OF_A_USER_AGENT],
            connected_at=self._wire.opened_at,
        )

    async def _flush(self) -> None:
        await self._deliveries.close()

    def _revoked(self) -> None:
        self.end(CloseCode.UNAUTHORIZED, "the login does not hold any more")

    def _told_all(self) -> None:
        self._told_at = time.monotonic()
        if self._parts.sockets.closing:
            restarting(self)


def _close_of(error: RunnelError) -> tuple[CloseCode, str]:
    """How a socket ends that cannot begin."""
    match error.code:
        case Code.NOT_FOUND:
            return CloseCode.UNKNOWN, error.message
        case Code.INVALID_REQUEST:
            return CloseCode.INVALID, error.message
        case Code.RATE_LIMITED:
            return CloseCode.TOO_MANY, error.message
        case Code.STORE_UNAVAILABLE | Code.STREAM_UNAVAILABLE:
            return CloseCode.TRY_LATER, error.message
        case _:
            return CloseCode.UNAUTHORIZED, error.message
