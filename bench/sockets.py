"""What WebSockets cost: PYTHONPATH=tests python bench/sockets.py."""  # noqa: INP001 - a program

import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from apart import Apart, apart
from websockets.asyncio.client import ClientConnection, connect

from provider import Answer, Provider

#: So many bytes a frame may have whose length is one byte.
SHORT = 125
END = {"session": b'"type":"stream_end"', "events": b"data: [DONE]\n", "text": b"data: [DONE]\n"}


class Bytes(asyncio.Protocol):
    """Reads as fast as it can, and looks for nothing but an end."""

    def __init__(self, request: bytes, end: bytes) -> None:
        self._request = request
        self._end = end
        self._tail = b""
        self.count = 0
        self.begun = asyncio.get_running_loop().create_future()
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.count += len(data)
        if not self.begun.done():
            self.begun.set_result(None)
        seen = self._tail + data
        if self._end in seen and not self.done.done():
            self.done.set_result(None)
        self._tail = seen[-len(self._end) :]

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def raw(url: str, request: bytes, end: bytes) -> Bytes:
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, reader = await loop.create_connection(
        lambda: Bytes(request, end), parts.hostname, parts.port
    )
    await reader.begun
    return reader


def opening(path: str, token: str) -> bytes:
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: x",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Authorization: Bearer {token}",
        "",
        "",
    )
    return "\r\n".join(lines).encode()


def frame(**members: object) -> bytes:
    """Masked with nothing: it is the reader's work that is measured."""
    data = json.dumps(members).encode()
    assert len(data) <= SHORT
    return bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data


def question(path: str, token: str, **members: object) -> bytes:
    body = json.dumps(members).encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


TOKENS = 4000
REPLAYED = 30_000
IDLE = 1000
ROUNDS = 5
SETTINGS = {
    "websocket_max_connections": 5000,
    "websocket_max_connections_per_user": 5000,
    "idle_timeout_seconds": 600,
}


def said(ask: Any) -> Answer:
    """So many tokens, so many seconds apart, as the question says; each is when it was said."""
    number, delay = ask["messages"][-1]["content"].split()
    return Answer(Times(int(number)), delay=float(delay))


class Times(Sequence[str]):
    """Pieces that are made when they are wanted."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index: Any) -> Any:
        return f"{time.perf_counter():.6f} "

    def __iter__(self) -> Iterator[str]:
        return (f"{time.perf_counter():.6f} " for _ in range(self._number))


async def cost(server: Apart, token: str, door: str, devices: int) -> float:
    """Microseconds of the server's CPU a token of one answer that so many read."""
    name = f"s{time.monotonic_ns()}"
    ask = f"{TOKENS} 0"
    if door == "session":
        path = f"/ws/{name}"
        readers = [await raw(server.url, opening(path, token), END[door]) for _ in range(devices)]
        before = server.do("cpu")
        readers[0].transport.write(frame(type="message", content=ask))
    else:
        before = server.do("cpu")
        request = question("/api/generate", token, prompt=ask, format=door, session_id=name)
        readers = [await raw(server.url, request, END[door])]
    async with asyncio.timeout(120):
        await asyncio.gather(*(reader.done for reader in readers))
    used = server.do("cpu") - before
    for reader in readers:
        reader.transport.abort()
    return used / TOKENS * 1e6


async def costs(server: Apart, token: str) -> None:
    doors = (("text", 1), ("events", 1), ("session", 1), ("session", 20))
    rows: dict[tuple[str, int], list[float]] = {door: [] for door in doors}
    for _ in range(ROUNDS):
        for door in doors:
            rows[door].append(await cost(server, token, *door))
    base = statistics.median(rows["text", 1])
    for (door, readers), row in rows.items():
        middle = statistics.median(row)
        each = ", ".join(f"{one:.0f}" for one in row)
        tell(f"{door}, {readers} reading: {each} us a token; {middle / base:.2f} of text")


def link(server: Apart, path: str, token: str) -> Any:
    return connect(
        f"ws{server.url.removeprefix('http')}{path}",
        additional_headers={"Authorization": f"Bearer {token}"},
        ping_interval=None,
        max_queue=None,
        close_timeout=2,
        proxy=None,
        compression=None,
    )


async def lateness(server: Apart, token: str) -> tuple[float, float]:
    """Of tokens at 50 a second: the gap between two of them, and how late they come; p99 in ms."""
    arrived: list[float] = []
    late: list[float] = []
    async with link(server, "/ws/chat/completions", token) as socket:
        await socket.send(json.dumps({"question": "400 0.02"}))
        async for text in socket:
            told = json.loads(text)
            if told["type"] == "token":
                now = time.perf_counter()
                arrived.append(now)
                late.append(now - float(told["text"]))
            elif told["type"] != "start":
                assert told["type"] == "end", told
                break
    gaps = [after - before for before, after in pairwise(arrived)]
    return p99(gaps), p99(late)


def p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)] * 1000


async def idle(
    server: Apart, token: str, stack: AsyncExitStack, number: int = IDLE
) -> list[ClientConnection]:
    """Some at a time."""
    limit = asyncio.Semaphore(20)

    async def come(number: int) -> ClientConnection:
        async with limit:
            path = "/ws" if number % 2 else f"/ws/desk{number % 50}"
            return await stack.enter_async_context(link(server, path, token))

    return list(await asyncio.gather(*map(come, range(number))))


async def idle_ones(server: Apart, token: str, other: str, *, traced: bool) -> None:
    await lateness(server, token)
    alone = [await lateness(server, token)]
    before = server.do("used")
    async with AsyncExitStack() as stack:
        number = IDLE // 5 if traced else IDLE
        sockets = await idle(server, other, stack, number)
        server.do("joined", number=number)
        after = server.do("used")
        kind = "traced" if traced else "resident"
        each = (after[kind] - before[kind]) / number / 1024
        tell(f"{number} idle sockets: {each:.1f} KiB {kind} each")
        if traced:
            for socket in sockets:
                socket.transport.abort()
            await asyncio.to_thread(server.do, "joined", number=0)
            return
        among = [await lateness(server, token)]
        tell(f"sweep {milliseconds(server, 'sweep')}, look {milliseconds(server, 'look')}")
        users = server.do("look_at_users", number=IDLE) * 1000
        tell(f"look with {IDLE} users more: {users:.1f} ms")
        for sockets_too in (True, False):
            server.do("probe")
            if sockets_too:
                among.append(await lateness(server, token))
                what = "chatting beside them"
            else:
                for socket in sockets:
                    socket.transport.abort()
                await asyncio.to_thread(server.do, "joined", number=0)
                what = "all of them cut at once"
            tell(f"{what}: {works(server)}")
    alone.append(await lateness(server, token))
    for name, row in (("alone", alone), ("among them", among)):
        each = "; ".join(f"{gap:.1f}, {late:.1f}" for gap, late in row)
        tell(f"{name}: p99 of the gap, of the delay: {each} ms")


async def drained(server: Apart, other: str) -> None:
    async with AsyncExitStack() as stack:
        sockets = await idle(server, other, stack)
        server.do("joined", number=IDLE)
        closing = asyncio.gather(*(socket.wait_closed() for socket in sockets))
        took = await asyncio.to_thread(server.do, "drain")
        await closing
        codes = {socket.close_code for socket in sockets}
        tell(f"drain of {IDLE}: {took:.2f} s, closed with {codes}")


def works(server: Apart) -> str:
    worst, collector = (seconds * 1000 for seconds in server.do("worst"))
    return f"the loop works {worst:.1f} ms at a time at most, the collector {collector:.1f}"


def milliseconds(server: Apart, what: str) -> str:
    return "/".join(f"{server.do(what) * 1000:.1f}" for _ in range(3)) + " ms"


async def replays(server: Apart, token: str) -> None:
    """A long answer is read again, by one who is quick and by one who reads nothing."""
    path = "/ws/long"
    async with link(server, path, token) as socket, link(server, path, token) as asleep:
        await socket.send(json.dumps({"type": "message", "content": f"{REPLAYED} 0"}))
        generation_id = ""
        async for text in socket:
            told = json.loads(text)
            generation_id = told.get("generation_id", generation_id)
            if told["type"] == "stream_end":
                break
        for who in (socket, asleep):
            server.do("probe")
            if who is asleep:
                asleep.transport.pause_reading()
            await who.send(json.dumps({"type": "resume", "generation_id": generation_id}))
            if who is socket:
                await until_end(socket)
            else:
                gap, late = await lateness(server, token)
                tell(f"beside one who reads nothing: p99 {gap:.1f}, {late:.1f} ms")
            tell(f"replay of {REPLAYED}: {works(server)}")
        asleep.transport.abort()


async def until_end(socket: ClientConnection) -> None:
    async for text in socket:
        if '"stream_end"' in str(text):
            return


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main() -> None:
    gc.disable()  # on this side; else it is what comes late
    with Provider() as provider:
        provider.answer("test", said)
        with (
            tempfile.TemporaryDirectory() as folder,
            apart(Path(folder), provider.url, **SETTINGS) as server,
        ):
            await costs(server, *server.do("users", number=1))
        for traced in (False, True):
            with (
                tempfile.TemporaryDirectory() as folder,
                apart(Path(folder), provider.url, **SETTINGS) as server,
            ):
                token, other = server.do("users", number=2)
                if traced:
                    server.do("trace")
                await idle_ones(server, token, other, traced=traced)
                if not traced:
                    await replays(server, token)
                    await drained(server, other)


if __name__ == "__main__":
    asyncio.run(main())
