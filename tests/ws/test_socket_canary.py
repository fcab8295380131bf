"""Secrets that sing, over sockets: no log holds a credential, a question, an answer or a broken frame."""

import asyncio
import json
import re
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from processes import COMMAND, environment, house_of
from provider import Answer, Provider
from sockets import Socket
from wire import bearer

QUESTION: Final = "canary-words-of-a-question-7c7c"
ANSWER: Final = "canary-words-of-an-answer-5e5e"
BROKEN: Final = "canary-in-a-broken-frame-9a9a"
TOKEN: Final = "canary-of-no-token-3b3b"
FORGED: Final = "forged-line"
ADMIN_PASSWORD: Final = "canary-admin-password-91ab"
JWT_SECRET: Final = "canary-jwt-secret-that-is-long-enough-6a1d"
PATHS: Final = ("/ws", "/ws/a-session", "/ws/chat/completions")


@dataclass
class Running:
    """A server, what it has written after its end, and the secrets that it has made."""

    url: str
    token: str
    made: list[str] = field(default_factory=list[str])  # besides the token
    written: str = ""


@contextmanager
def running(folder: Path, provider: Provider) -> Generator[Running]:
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [*COMMAND, "serve"],
            env=environment(
                house_of(provider, folder),
                LOG_LEVEL="debug",
                ENVIRONMENT="production",
                JWT_SECRET=JWT_SECRET,
                ADMIN_PASSWORD=ADMIN_PASSWORD,
                UPSTREAM_RETRIES="0",
            ),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        assert process.stdout is not None
        try:
            seen = ""
            while "curl " not in seen:
                seen += process.stdout.readline()
            url = re.findall(r"listens on (http://\S+)", seen)[0]
            there = Running(url, login(url))
            yield there
        finally:
            process.send_signal(signal.SIGTERM)
            rest, _ = process.communicate(timeout=30)
    there.written = rest + (folder / "stderr").read_text()
    assert process.returncode == 0


def login(url: str) -> str:
    body = {"username": "admin", "password": ADMIN_PASSWORD}
    return httpx.post(f"{url}/login", json=body).raise_for_status().json()["access_token"]


async def talk(there: Running, path: str, headers: dict[str, str], **options: Any) -> None:
    """Right and wrong frames, until it is over."""
    url = there.url.replace("http", "ws") + path
    usual: dict[str, Any] = {"additional_headers": headers, "proxy": None, "close_timeout": 2}
    async with connect(url, **usual | options) as connection:
        socket = Socket(connection)
        with suppress(ConnectionClosed):
            for frame in (
                f'{{"type": "{BROKEN}"',
                f'"{BROKEN}"',
                BROKEN.encode(),
                {"type": BROKEN, "action": BROKEN},
                {"type": "message", "content": {"a": BROKEN}},
                {"question": [BROKEN]},
                {"type": "resume", "generation_id": BROKEN, "after": BROKEN},
                {"action": "abort", "task_id": BROKEN},
                {"question": QUESTION, "session_id": f"{BROKEN} {BROKEN}"},
                {"type": "ping", BROKEN: f"\r\n{FORGED}\u2028{FORGED}"},
            ):
                await socket.send(frame)
            await socket.told()
            for text in (QUESTION, f"{QUESTION}, once more"):
                frames = {
                    "/ws": {"action": "send_message", "chat_id": 1, "content": text},
                    "/ws/a-session": {"type": "message", "content": text},
                    "/ws/chat/completions": {"question": text},
                }
                await socket.send(frames[path.partition("?")[0]])
                assert await socket.answer()
            await socket.send("a" * 70_000 + BROKEN)
            await socket.closed()


async def all_of_it(there: Running) -> None:
    own = bearer(there.token)
    async with httpx.AsyncClient(base_url=there.url, headers=own) as client:
        key = (await client.post("/api/keys", json={"name": "k"})).json()["key"]
        there.made.append(key)
        for path in PATHS:
            made = (await client.post("/api/tickets", json={"websocket": True})).json()["ticket"]
            there.made.append(made)
            await talk(there, path, own)
            await talk(there, path, {}, subprotocols=[Subprotocol("bearer"), Subprotocol(key)])
            await talk(there, f"{path}?ticket={made}", {})
            await talk(there, f"{path}?ticket={made}", {})  # spent
            await talk(there, f"{path}?token={there.token}", {})
            await talk(there, f"{path}?token={TOKEN}&more={TOKEN}", {})
            await talk(there, path, bearer(TOKEN))
            await talk(there, path, {"Authorization": f"Basic {TOKEN}"})
            await talk(there, path, {}, subprotocols=[Subprotocol("bearer"), Subprotocol(TOKEN)])
    for frame in ({"type": "auth", "token": there.token}, {"type": "auth", "token": TOKEN}):
        url = there.url.replace("http", "ws")
        async with connect(f"{url}/ws", proxy=None) as connection:
            await connection.send(json.dumps(frame))
            with suppress(ConnectionClosed):
                await Socket(connection).told()
        # Whoever puts it into the path, as into a field that asks for a user.
        for path in (f"/ws/users/{frame['token']}", f"/ws/%0a{FORGED}"):
            async with connect(f"{url}{path}", additional_headers=own, proxy=None) as connection:
                with suppress(ConnectionClosed):
                    await Socket(connection).told()


def test_nothing_of_a_socket_gets_into_the_log(tmp_path: Path, provider: Provider) -> None:
    provider.answer(
        "test",
        Answer([ANSWER]),
        Answer([ANSWER], cut_after=1),
        Answer(status=401, error_message=ANSWER),
        Answer([ANSWER]),
    )
    with running(tmp_path, provider) as there:
        asyncio.run(all_of_it(there))
    everything = [there.token, *there.made, JWT_SECRET, ADMIN_PASSWORD, QUESTION, ANSWER, BROKEN]
    assert [secret for secret in everything if secret in there.written] == []
    lines = there.written.splitlines()
    assert not [line for line in lines if line.lstrip().startswith(FORGED)]
    # A path is logged as it is, and what looks like no token is none of ours.
    told = [line for line in lines if TOKEN in line]
    assert all(f"/{TOKEN}" in line for line in told)
    assert not [line for line in lines if "Traceback" in line]
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    for path in files:
        kept = path.read_bytes()
        assert not [each for each in (there.token, *there.made, TOKEN) if each.encode() in kept], (
            path.name
        )
