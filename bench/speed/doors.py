"""Runnel's other doors: an answer over a WebSocket, and one that is followed by a second reader."""

import base64
import json
import re
import struct
from itertools import count
from typing import Final

from bench.speed.load import Ask
from bench.speed.servers import Server, head
from bench.speed.wire import Answer

_names: Final = count()
_GENERATION: Final = re.compile(rb"(?i)x-generation-id: (\S+)")
_SHORT: Final = 126


def socket_ask(server: Server, answer: Answer) -> Ask:
    """A socket for each answer, to the channel of a session of its own: `/ws/{session_id}`."""
    key = base64.b64encode(b"runnel's bench..").decode()
    about = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")

    def handshake() -> bytes:
        path = f"/ws/bench-{next(_names)}"
        return head("GET", server.port, path, server.token, *about, f"Sec-WebSocket-Key: {key}")

    body = server.body(answer)
    message = {"type": "message", "content": body["prompt"], "model": body["model"]}
    return Ask(
        server.port,
        handshake,
        status=b"101",
        end=b'"stream_end"',
        then=_frame(0x1, json.dumps(message).encode()),
        after=b'"connected"',
        farewell=_frame(0x8, struct.pack("!H", 1000)),
    )


def _frame(opcode: int, payload: bytes) -> bytes:
    """A client's frame, whose mask of zeros leaves the payload as it is."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < _SHORT else struct.pack("!BH", 0x80 | _SHORT, size)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def followed_ask(server: Server, answer: Answer) -> Ask:
    """Each answer is attached to by a second reader as soon as its id is known."""
    first = server.ask(answer)

    def attach(response: bytes) -> bytes:
        found = _GENERATION.search(response)
        assert found, response[:500]
        path = f"/api/generations/{found[1].decode()}/events?format=text"
        return head("GET", server.port, path, server.token, "Connection: close")

    return Ask(first.port, first.request, follow=attach)
