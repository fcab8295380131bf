"""What speaks WebSocket best: python bench/ws_implementations.py [rounds]."""  # noqa: INP001 - a program

import asyncio
import http.client
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect

from runnel.edge.listening import bind, open_port, websocket_options
from runnel.settings import SocketSettings

IMPLEMENTATIONS: Final = ("ours", "wsproto", "websockets-sansio", "websockets")
KINDS: Final = [(name, deflate) for deflate in (False, True) for name in IMPLEMENTATIONS]
#: Bytes of a frame, connections at once, frames for each.
STREAMS: Final = [(60, 1, 8000), (60, 20, 400), (600, 1, 8000), (600, 20, 400)]
TEXTS: Final = 400
IDLE: Final = 1000
BOMB_BYTES: Final = 60_000_000
SERVER_CORE, CLIENT_CORE = 0, 1
WORDS: Final = re.findall("[a-z]+", Path(__file__).with_name("README.md").read_text())
TWO_BYTES: Final = 126  # RFC 6455 section 5.2: the length stands in the next two


@cache
def token(number: int, size: int) -> str:
    """A frame as of a session's channel, of this many bytes; no two are the same."""
    head = {"type": "token", "position": f"1-{number:05}", "text": ""}
    text = " ".join(random.Random(number).choices(WORDS, k=size))  # noqa: S311 - no cryptography
    return json.dumps(head | {"text": text[: size - len(json.dumps(head))]})


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """`/cpu` says in µs what the process has used; a WebSocket's path `/size/frames` is a stream."""
    if scope["type"] == "http":
        used = str(round(time.process_time() * 1e6)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": used})
        return
    size, frames = map(int, scope["path"].strip("/").split("/"))
    await receive()
    await send({"type": "websocket.accept"})
    for number in range(frames):
        await send({"type": "websocket.send", "text": token(number % TEXTS, size)})
        await asyncio.sleep(0)  # tokens come one at a time
    while (await receive())["type"] != "websocket.disconnect":
        pass


def serve(name: str, *, deflate: bool) -> None:
    os.sched_setaffinity(0, {SERVER_CORE})
    for number in range(TEXTS):  # beforehand
        for size in (60, 600):
            token(number, size)
    options = websocket_options(SocketSettings())
    options["ws_per_message_deflate"] = deflate
    if name != "ours":
        options["ws"] = name
    config = uvicorn.Config(
        application, lifespan="off", log_level="error", access_log=False, **options
    )
    with bind("127.0.0.1", 0, send_timeout_seconds=30) as listening:
        open_port(listening)
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        uvicorn.Server(config).run(sockets=[listening])


class Server:
    """One of these in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.port = int(process.stdout.readline())

    def cpu(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", "/cpu")
        return int(connection.getresponse().read())

    def kilobytes(self, field: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{field}:")[1].split()[0])


@contextmanager
def serving(name: str, *, deflate: bool) -> Generator[Server]:
    command = [sys.executable, __file__, "serve", name, str(int(deflate))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            yield Server(process)
        finally:
            process.send_signal(signal.SIGKILL)


async def read(port: int, path: str, frames: int, *, deflate: bool) -> int:
    """Bytes of a stream's frames, as they came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    extensions = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else ""
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"{extensions}\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert deflate == (b"permessage-deflate" in head), head
    length = 0
    for _ in range(frames):
        first, short = await reader.readexactly(2)
        assert first & 15 == 1
        assert deflate == bool(first & 64)
        size = int.from_bytes(await reader.readexactly(2)) if short == TWO_BYTES else short
        await reader.readexactly(size)
        length += size + (4 if short == TWO_BYTES else 2)
    writer.close()
    await writer.wait_closed()
    return length


async def stream(server: Server, of: tuple[int, int, int], *, deflate: bool) -> tuple[float, float]:
    """CPU of the server in µs for each frame, and the frame's bytes."""
    size, connections, frames = of
    before = server.cpu()
    lengths = await asyncio.gather(
        *(
            read(server.port, f"/{size}/{frames}", frames, deflate=deflate)
            for _ in range(connections)
        )
    )
    total = connections * frames
    return (server.cpu() - before) / total, sum(lengths) / total


async def idle(server: Server, *, deflate: bool) -> float:
    """KiB of memory for each connection over which a frame went either way."""
    compression = "deflate" if deflate else None
    url = f"ws://127.0.0.1:{server.port}/60/1"
    async with connect(url, compression=compression) as first:
        await first.recv()
    before = server.kilobytes("VmRSS")
    async with AsyncExitStack() as clients:
        for _ in range(IDLE):
            client = await clients.enter_async_context(connect(url, compression=compression))
            await client.recv()
            await client.send("a question of some length")
        return (server.kilobytes("VmRSS") - before) / IDLE


async def bomb(server: Server) -> float:
    """MiB that one frame under our bound, which unfolds to BOMB_BYTES, adds to the most ever used."""
    before = server.kilobytes("VmHWM")
    async with connect(f"ws://127.0.0.1:{server.port}/60/0", max_size=None) as client:
        await client.send("a" * BOMB_BYTES)
        await client.wait_closed()
    return (server.kilobytes("VmHWM") - before) / 1024


async def streams(rounds: int) -> None:
    """The implementations in turn, in every round; ratios are to ours without compression."""
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(serving(kind[0], deflate=kind[1])) for kind in KINDS}
        for of in STREAMS:
            cpu: dict[tuple[str, bool], list[float]] = {kind: [] for kind in KINDS}
            wire: dict[tuple[str, bool], float] = {}
            for _ in range(rounds):
                for kind, server in servers.items():
                    used, wire[kind] = await stream(server, of, deflate=kind[1])
                    cpu[kind].append(used)
            for kind, used in cpu.items():
                first = zip(used, cpu[KINDS[0]], strict=True)
                ratio = statistics.median(mine / ours for mine, ours in first)
                row = f"{used_of(used)} µs, {ratio:.2f}, {wire[kind]:.0f} bytes"
                say(f"{of[0]} bytes × {of[1]}, {named(kind)}: {row}")


async def memory() -> None:
    for kind in KINDS:
        with serving(kind[0], deflate=kind[1]) as server:
            say(f"idle, {named(kind)}: {await idle(server, deflate=kind[1]):.1f} KiB")
            if kind[1]:
                say(f"a frame of {BOMB_BYTES / 1e6:.0f} MB: {await bomb(server):.0f} MiB")


def used_of(values: list[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values)


def named(kind: tuple[str, bool]) -> str:
    return f"{kind[0]}{' with deflate' if kind[1] else ''}"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], deflate=sys.argv[3] == "1")
    else:
        os.sched_setaffinity(0, {CLIENT_CORE})
        asyncio.run(streams(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
        asyncio.run(memory())
