"""The socket that the server listens on."""

import socket

from runnel.errors import StartupError


def listen(host: str, port: int, *, send_timeout_seconds: float) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises StartupError if it cannot be had.

    A client that takes nothing for `send_timeout_seconds` is hung up on by the system, where it
    can: the server alone only stops writing, and keeps the connection with what is left in it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol's number, asyncio switches Nagle's algorithm off on what is accepted;
    # without it, a frame may wait 40 ms for an acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted sockets inherit it
        milliseconds = round(send_timeout_seconds * 1000)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise StartupError(
            f"cannot listen on {host} port {port} ({error.strerror}); choose another with PORT=8001"
        ) from None
    return listening
