"""SIGTERM with sockets open: the idle ones end at once, the others with their answers."""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from websockets.asyncio.client import connect

from processes import Served, environment, house_of, rows_of, starting
from provider import Answer, Provider
from sockets import Socket, closing, text_of
from standing import Json
from wire import bearer

#: On a busy machine a server takes long to start.
pytestmark = pytest.mark.timeout(180)

PIECES: Final = [f"{number} " for number in range(10)]
TEXT: Final = "".join(PIECES)
#: What is there when the server is told to end.
SAID: Final = "0 1 2 3 4 "
PATHS: Final = ("/ws", "/ws/a-session", "/ws/chat/completions")
RESTARTING: Final = (1012, "restarting, reconnect now")
EXIT_SECONDS: Final = 30


@asynccontextmanager
async def joined(url: str, path: str, token: str | None) -> AsyncGenerator[Socket]:
    headers = bearer(token) if token else {}
    async with connect(
        url.replace("http", "ws") + path,
        additional_headers=headers,
        proxy=None,
        close_timeout=2,
        max_queue=None,
    ) as connection:
        yield Socket(connection)


def token_of(served: Served) -> str:
    return served.client.headers["Authorization"].removeprefix("Bearer ")


async def ask(socket: Socket, path: str) -> list[Json]:
    """Asks, and reads what is said before the gate."""
    frames: dict[str, Json] = {
        "/ws": {"action": "send_message", "chat_id": 1, "content": "long"},
        "/ws/a-session": {"type": "message", "content": "long"},
        "/ws/chat/completions": {"question": "long"},
    }
    await socket.send(frames[path])
    told = [await socket.next()]
    while text_of(told) != SAID:
        told.append(await socket.next())
    return told


async def exited(process: subprocess.Popen[str]) -> int:
    return await asyncio.to_thread(process.wait, EXIT_SECONDS)


@pytest.fixture
def gated(provider: Provider) -> Provider:
    provider.answer("test", Answer(PIECES, gate_after=5))
    return provider


async def test_the_idle_end_at_once_and_the_others_with_their_answers(
    tmp_path: Path, gated: Provider
) -> None:
    with starting(house_of(gated, tmp_path)) as start:
        served = start(SHUTDOWN_GRACE_SECONDS="600")
        token = token_of(served)
        async with AsyncExitStack() as stack:
            busy = [
                await stack.enter_async_context(joined(served.url, path, token)) for path in PATHS
            ]
            told = {path: await ask(socket, path) for path, socket in zip(PATHS, busy, strict=True)}
            idle = [
                await stack.enter_async_context(joined(served.url, path, token))
                for path in ("/ws/another-session", "/ws/chat/completions")
            ]
            idle.append(await stack.enter_async_context(joined(served.url, "/ws", None)))
            for socket in idle[:2]:
                await socket.told()
            served.signal(signal.SIGTERM)
            for socket in idle:
                assert await closing(socket) == RESTARTING
            # Answers are being made still, and so the server is there, but lets nobody in.
            for path in PATHS:
                async with joined(served.url, path, token) as socket:
                    assert await closing(socket) == RESTARTING
            for path, socket in zip(PATHS, busy, strict=True):
                told[path] += await socket.told()
            await busy[0].send({"action": "send_message", "chat_id": 2, "content": "one more"})
            error = (await busy[0].until("error"))[-1]
            assert (error["code"], error["retryable"]) == ("shutting_down", True)
            assert error["retry_after"] >= 1
            gated.release()
            # The user's channel is told all three.
            shown = await busy[0].answers(3)
            assert [each["message"]["content"] for each in shown if each["type"] == "message"] == [
                TEXT
            ] * 3
            assert await closing(busy[0]) == RESTARTING
            for path, socket in zip(PATHS[1:], busy[1:], strict=True):
                frames = await socket.answer()
                assert text_of([*told[path], *frames]) == TEXT
                assert frames[-1]["type"] in ("end", "stream_end")
                assert await closing(socket) == RESTARTING
        assert await exited(served.process) == 0
    kept = rows_of(
        tmp_path, "SELECT status, content FROM generations JOIN messages ON messages.id=message_id"
    )
    assert kept == [("completed", TEXT)] * 3


async def test_what_the_grace_cut_short_goes_on_at_the_next_server(
    tmp_path: Path, gated: Provider
) -> None:
    """Goes on as far as it was told: with its end, from the position that the client holds."""
    with starting(house_of(gated, tmp_path)) as start:
        served = start(SHUTDOWN_GRACE_SECONDS="0.3")
        async with AsyncExitStack() as stack:
            busy = {
                path: await stack.enter_async_context(joined(served.url, path, token_of(served)))
                for path in PATHS
            }
            told = {path: await ask(socket, path) for path, socket in busy.items()}
            served.signal(signal.SIGTERM)
            for socket in busy.values():
                error = (await socket.answer())[-1]
                assert (error["type"], error["code"]) == ("error", "interrupted")
                assert error["retryable"]
                assert await closing(socket) == RESTARTING
        assert await exited(served.process) == 0
        again = start()
        started = next(frame for frame in told["/ws/a-session"] if "generation_id" in frame)
        position = [frame["position"] for frame in told["/ws/a-session"] if "position" in frame][-1]
        resume = {"type": "resume", "generation_id": started["generation_id"]}
        for after in ({"after": position}, {}):
            async with joined(again.url, "/ws/a-session", token_of(again)) as socket:
                connected = await socket.next()
                assert connected["running"] is None
                await socket.send(resume | after)
                frames = await socket.answer()
                shown = [*told["/ws/a-session"], *frames] if after else frames
                assert text_of(shown) == SAID
                assert frames[-1]["code"] == "interrupted"


async def test_a_second_signal_does_not_wait(tmp_path: Path, gated: Provider) -> None:
    with starting(house_of(gated, tmp_path)) as start:
        served = start(SHUTDOWN_GRACE_SECONDS="600")
        token = token_of(served)
        async with (
            joined(served.url, "/ws/a-session", token) as busy,
            joined(served.url, "/ws/another-session", token) as idle,
        ):
            await ask(busy, "/ws/a-session")
            served.signal(signal.SIGTERM)
            assert await closing(idle) == RESTARTING
            served.signal(signal.SIGTERM)
            assert await exited(served.process) == 0
            # It may be told of the end, or of the restart alone.
            assert (await closing(busy))[0] in (1012, 1006)
    kept = rows_of(
        tmp_path, "SELECT status, content FROM generations JOIN messages ON messages.id=message_id"
    )
    assert kept == [("interrupted", SAID)]


@contextmanager
def uvicorn(folder: Path, **changes: str) -> Generator[tuple[str, subprocess.Popen[str]]]:
    """The application as another server's command starts it, with that server's own options."""
    command = [sys.executable, "-m", "uvicorn", "runnel.asgi:app", "--port", "0"]
    file = folder / "log"
    with file.open("w") as log:
        process = subprocess.Popen(
            [*command, "--no-proxy-headers"],
            env=environment(folder, **changes),
            cwd=folder,
            stdout=log,
            stderr=log,
            text=True,
        )
        try:
            for _ in range(2 * EXIT_SECONDS):
                if found := re.search(r"running on (http://[\d.:]+)", file.read_text()):
                    break
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
            else:
                raise AssertionError(file.read_text())
            yield found[1], process
        finally:
            process.kill()
            process.wait()


async def test_under_another_server_s_command(tmp_path: Path, gated: Provider) -> None:
    """uvicorn itself ends the sockets, at once; what was running is told at the next start."""
    folder = house_of(gated, tmp_path)
    admin = {"username": "admin", "password": "a password of the admin"}
    with uvicorn(folder, SHUTDOWN_GRACE_SECONDS="0.3", ADMIN_PASSWORD=admin["password"]) as (
        url,
        process,
    ):
        async with httpx.AsyncClient(base_url=url) as client:
            token = (await client.post("/login", json=admin)).json()["access_token"]
        async with AsyncExitStack() as stack:
            sockets: dict[str, Any] = {
                path: await stack.enter_async_context(joined(url, path, token)) for path in PATHS
            }
            told = await ask(sockets["/ws/a-session"], "/ws/a-session")
            await sockets["/ws"].told()
            process.send_signal(signal.SIGTERM)
            for socket in sockets.values():
                assert (await closing(socket))[0] == 1012
        assert await exited(process) in (0, -signal.SIGTERM)
    log = (folder / "log").read_text()
    assert "Traceback" not in log
    assert token not in log
    started = next(frame for frame in told if "generation_id" in frame)
    position = [frame["position"] for frame in told if "position" in frame][-1]
    with uvicorn(folder) as (url, _):
        async with joined(url, "/ws/a-session", token) as socket:
            resume = {"type": "resume", "generation_id": started["generation_id"]}
            await socket.send(resume | {"after": position})
            frames = await socket.answer()
            assert text_of([*told, *frames]) == SAID
            assert frames[-1]["code"] == "interrupted"
