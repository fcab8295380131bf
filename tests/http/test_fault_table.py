"""STREAMS.md's fault table on one instance: what every door tells, and what is stored afterwards.

The rows of SIGTERM and kill -9 are in test_process_ends.py, those of users in test_users_who_go.py.
Left out are the rows that one instance cannot have (those of Redis) and those of sessions, which
no route ends yet.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from door_readers import Reader, all_show, followed_at_every_door, following, told_by
from doors import DOORS, FLOWING, HTTP, RESUMING, STREAMS, Asked, ask_in_background, raw
from provider import Answer
from reading import parsed
from runnel.chat import running
from socket_doors import SOCKETS
from sockets import Socket, is_end, opened, text_of
from standing import Json, locked, standing
from waiting import soon

WHOLE = "one two three"
SHORT = [f"{number:02} " for number in range(20)]
#: A database that is away is found out soon; many may read at once, so that nobody waits for that.
HASTY: dict[str, Any] = {"database_timeout_seconds": 0.4, "database_pool_size": 20}
LARGE = ["x" * 100_000] * 40


async def test_database_away_and_back(migrated: Path, tmp_path: Path) -> None:
    with standing(migrated, tmp_path, **HASTY) as stand:
        async with followed_at_every_door(stand) as (asked, readers):
            with locked(stand):
                stand.provider.release()
                await all_show(readers, WHOLE)
                # The provider has ended; the row has not, so that nobody is told.
                assert [reader for reader in readers.values() if reader.end or reader.over] == []
                assert stand.generation(asked.generation_id)["status"] == "running"
        for reader in readers.values():
            assert (reader.status, reader.text, reader.end, reader.done) == (
                200,
                WHOLE,
                "end",
                True,
            )
            assert "reset" not in reader.events
        assert stand.ended(asked.generation_id) == ("completed", WHOLE, None, None)
        assert stand.rows("SELECT * FROM checkpoints") == []


async def test_database_away_for_long(migrated: Path, tmp_path: Path) -> None:
    with standing(migrated, tmp_path, store_retry_seconds=0.3, **HASTY) as stand:
        async with AsyncExitStack() as stack:
            asked, first = await stack.enter_async_context(followed_at_every_door(stand))
            with locked(stand):
                stand.provider.release()
                await stack.aclose()  # all of them are let go
                again = await told_by(asked, FLOWING)
                abort = stand.client.post(f"/api/generations/{asked.generation_id}/abort")
                assert stand.ended(asked.generation_id)[0] == "running"
        for reader in (*first.values(), *again.values()):
            assert_let_go(reader, asked, WHOLE)
        assert (abort.status_code, abort.json()["code"]) == (503, "store_unavailable")
        # Who comes while a last try fails is let go once more.
        await soon(lambda: stand.ended(asked.generation_id)[0] == "completed")
        for reader in (await told_by(asked, after="1-2")).values():
            rest = " three" if reader.door in RESUMING else WHOLE
            assert (reader.status, reader.text, reader.end) == (200, rest, "end")
        assert stand.ended(asked.generation_id) == ("completed", WHOLE, None, None)
        assert stand.rows("SELECT * FROM checkpoints") == []


async def test_a_stop_while_the_database_is_away(
    migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rows at once: no end can be stored or told, so that all are let go in good order."""
    monkeypatch.setattr(running, "END_WAIT_SECONDS", 0.3)
    with standing(migrated, tmp_path, **HASTY) as stand:
        chat = stand.server.server.parts.chat
        async with AsyncExitStack() as stack:
            asked, readers = await stack.enter_async_context(followed_at_every_door(stand))
            with locked(stand):
                await asyncio.to_thread(stand.server.call, chat.drain(0))
                await stack.aclose()
        for reader in readers.values():
            assert_let_go(reader, asked, "one")
        # It is back before the process has ended.
        await soon(lambda: stand.held()["producers"] == 0)
        assert stand.ended(asked.generation_id) == ("interrupted", "one", "interrupted", None)


def assert_let_go(reader: Reader, asked: Asked, text: str) -> None:
    """Without an end, and in good order: to come again later."""
    if reader.door == "json":
        assert (reader.status, reader.told["code"]) == (503, "stream_unavailable"), reader
        assert reader.told["generation_id"] == asked.generation_id
        assert int(reader.headers["Retry-After"]) >= 1
    else:
        assert (reader.status, reader.text, reader.end) == (200, text, None), reader
        assert (reader.done, reader.broken) == (False, False)
    if reader.door in SOCKETS:  # which goes on
        assert (reader.told["code"], reader.told["retryable"]) == ("stream_unavailable", True)
        assert reader.told["generation_id"] == asked.generation_id


async def test_a_reader_that_stalls(migrated: Path, tmp_path: Path) -> None:
    with standing(migrated, tmp_path, send_timeout_seconds=1) as stand:
        stand.provider.hold()
        prompt = stand.prompt(Answer([*SHORT, *LARGE], gate_after=len(SHORT)))
        asked = ask_in_background(stand.client, prompt)
        async with AsyncExitStack() as stack:
            async with following(asked, DOORS) as readers:
                await all_show(readers, SHORT[-1])
                await soon(lambda: stand.followers == len(DOORS))
                stalled = {
                    door: stack.enter_context(asking_and_not_reading(asked, door)) for door in HTTP
                }
                sockets = {
                    door: await stack.enter_async_context(opened_and_not_read(asked, door))
                    for door in SOCKETS
                }
                await soon(lambda: stand.followers == 2 * len(DOORS))
                stand.provider.release()
            for reader in readers.values():
                assert (reader.text, reader.end) == ("".join([*SHORT, *LARGE]), "end")
            stand.client.close()
            await soon(lambda: stand.server.connections == 0)
            assert stand.held() == dict.fromkeys(stand.held(), 0)
            assert stand.ended(asked.generation_id)[0] == "completed"
            for door, connection in stalled.items():
                await assert_can_go_on(asked, door, what_had_come(connection))
            for door, opened_one in sockets.items():
                await assert_can_resume(asked, door, await frames_that_came(opened_one))


async def assert_can_go_on(asked: Asked, door: str, received: bytes) -> None:
    """What came before it was cut off has no end, and its last position is good to go on with."""
    head, _, chunks = received.partition(b"\r\n\r\n")
    assert head == b"" or head.startswith(b"HTTP/1.1 200")
    assert b"[DONE]" not in chunks
    before, after = "", None
    if door in STREAMS:
        frames = parsed(whole_frames(chunks))
        after = frames[-1].id
        said = [frame for frame in frames if frame.event in {"message", "token"}]
        before = "".join(f.data if f.event == "message" else f.json()["text"] for f in said)
        assert len(said) >= len(SHORT)
    assert len(chunks) < len("".join(LARGE))
    await assert_rest(asked, door, before, after)


async def assert_can_resume(asked: Asked, door: str, frames: list[Json]) -> None:
    """The same of a socket."""
    assert not any(map(is_end, frames))
    said = text_of(frames)
    assert said.startswith("".join(SHORT))
    assert len(said) < len("".join(LARGE))
    if door in RESUMING:
        await assert_rest(asked, door, said, frames[-1]["position"])
    else:
        await assert_rest(asked, door, "", None)


async def assert_rest(asked: Asked, door: str, before: str, after: str | None) -> None:
    [reader] = (await told_by(asked, [door], after)).values()
    assert (before + reader.text, reader.end) == ("".join([*SHORT, *LARGE]), "end")
    assert "reset" not in reader.events


def asking_and_not_reading(asked: Asked, door: str) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", httpx.URL(asked.url).port))
    # A poll has what there is at once; only behind it there will be much.
    after = f"1-{len(SHORT)}" if door == "poll" else None
    connection.sendall(raw(asked.request(door, after)))
    connection.settimeout(10)
    return connection


@asynccontextmanager
async def opened_and_not_read(asked: Asked, door: str) -> AsyncGenerator[Socket]:
    connection = socket.create_connection(("127.0.0.1", httpx.URL(asked.url).port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    # The client's own buffer holds one frame; it reads no more until that is taken.
    stalling: dict[str, Any] = {"sock": connection, "max_queue": 1, "max_size": None}
    async with opened(asked, asked.path(door), asked.user, **stalling) as there:
        await there.send(asked.frame(door))
        yield there


async def frames_that_came(there: Socket) -> list[Json]:
    """What a socket that was cut off still gives."""
    frames: list[Json] = []
    with suppress(ConnectionClosed):
        while True:
            frames.append(await there.next())
    return frames


def what_had_come(connection: socket.socket) -> bytes:
    """What a connection that was cut off still gives."""
    received = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(1 << 20):
            received += piece
    return received


def whole_frames(chunks: bytes) -> bytes:
    """The frames that came whole, of a chunked body that was cut off."""
    body = b""
    while b"\r\n" in chunks:
        size, _, chunks = chunks.partition(b"\r\n")
        body += chunks[: int(size, 16)]
        chunks = chunks[int(size, 16) + 2 :]
    return body[: body.rindex(b"\n\n") + 2]
