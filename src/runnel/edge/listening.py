"""The socket that the server listens on, and how WebSockets are spoken on it."""

import errno
import socket
from typing import Final, TypedDict

from runnel.edge.socket_protocol import SocketProtocol
from runnel.errors import StartupError
from runnel.settings import SocketSettings

_BACKLOG: Final = 2048
#: How much the system takes for a client beyond what is on its way to it.
_UNSENT_BYTES: Final = 128 * 1024


class WebSocketOptions(TypedDict):
    """Those of uvicorn's options that concern WebSockets. Sizes are bytes, times seconds."""

    ws: type[SocketProtocol]
    ws_max_size: int
    ws_ping_interval: float
    ws_ping_timeout: float
    ws_per_message_deflate: bool


def websocket_options(settings: SocketSettings) -> WebSocketOptions:
    """How uvicorn speaks WebSocket, here and wherever a test starts it."""
    return {
        "ws": SocketProtocol,
        "ws_max_size": settings.websocket_max_frame_bytes,
        "ws_ping_interval": settings.websocket_ping_seconds,
        "ws_ping_timeout": settings.websocket_pong_seconds,
        # bench/README.md: a token costs up to seven times as much, an idle socket six times.
        "ws_per_message_deflate": False,
    }


def bind(host: str, port: int, *, send_timeout_seconds: float) -> socket.socket:
    """Takes a port, which refuses connections until `open_port`; port 0 takes a free one.

    Raises StartupError if it cannot be had. A client that takes nothing for
    `send_timeout_seconds` is hung up on by the system, where it can: the server alone only stops
    writing, and keeps the connection with what is left in it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol's number, asyncio switches Nagle's algorithm off on what is accepted;
    # without it, a frame may wait 40 ms for an acknowledgement.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted sockets inherit it
        milliseconds = round(send_timeout_seconds * 1000)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        # Of itself the system takes megabytes for a client that reads slowly; a ping, which is to
        # tell whether somebody is there, would wait behind them.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise _refused(host, port, error) from None
    return bound


def open_port(bound: socket.socket) -> None:
    """From now on connections are taken. Raises StartupError if another was faster."""
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        host, port = bound.getsockname()[:2]
        raise _refused(host, port, error) from None


def _refused(host: str, port: int, error: OSError) -> StartupError:
    wrong_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
    remedy = (
        "HOST is an address of this machine: 127.0.0.1 for itself, 0.0.0.0 for everybody"
        if wrong_host
        else "choose another with PORT=8001"
    )
    return StartupError(f"cannot listen on {host} port {port} ({error.strerror}); {remedy}")
