"""A connection that its client cuts, at any byte."""

import asyncio
import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

#: So long may a stream that nobody cuts take.
WHOLE_SECONDS: Final = 45
# A closed socket that lingers for no time resets its connection.
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a client breaks its connection: after so much of the request, or of the response."""

    sent: int | None = None
    received: int = 2**62
    seconds: float = WHOLE_SECONDS
    reset: bool = False


def some_cut(choice: random.Random, request_bytes: int) -> Cut:
    """In the request, in the head, anywhere in the body, or after a while."""
    reset = choice.random() < 0.4
    where = choice.random()
    if where < 0.05:
        return Cut(sent=choice.randrange(request_bytes), reset=reset)
    if where < 0.15:
        return Cut(received=choice.randrange(600), reset=reset)
    if where < 0.3:
        return Cut(seconds=choice.random() * 0.05, reset=reset)
    return Cut(received=450 + int(choice.expovariate(1 / 800)), reset=reset)


async def exchange(port: int, request: bytes, cut: Cut | None = None) -> bytes:
    """Sends a request and gives back the response, or what has come of it before the cut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        writer.write(request[: cut.sent] if cut else request)
        await writer.drain()
        if cut is None:
            async with asyncio.timeout(WHOLE_SECONDS):
                received = await reader.read()
        elif cut.sent is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(cut.seconds):
                    while part := await reader.read(min(cut.received - len(received), 65_536)):
                        received += part
    finally:
        await leave(writer, cut)
    return received


async def leave(writer: asyncio.StreamWriter, cut: Cut | None) -> None:
    """Closes the connection, or resets it."""
    if cut and cut.reset:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
