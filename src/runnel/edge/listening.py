"""The socket that the server listens on."""

import socket
from typing import Final

from runnel.errors import StartupError

_BACKLOG: Final = 2048


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
    return StartupError(
        f"cannot listen on {host} port {port} ({error.strerror}); choose another with PORT=8001"
    )
