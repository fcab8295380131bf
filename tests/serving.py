"""A real server in the test's own process: uvicorn on a real port, in a thread with its own loop."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import pytest
import uvicorn

from databases import all_on_postgres, postgres_of
from runnel.accounts.entities import UserRole
from runnel.bootstrap.server import Server, open_server
from runnel.edge.app import create_app
from runnel.edge.listening import bind, open_port, websocket_options
from runnel.settings import Settings

_T = TypeVar("_T")
START_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Signed:
    """A user of a test, with a valid access token."""

    username: str
    password: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class LiveServer:
    """Started on `with`; stopped, and all its threads joined, at its end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._started: Future[Server] = Future()
        self._thread = threading.Thread(target=self._run, name="runnel-under-test")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._uvicorn: uvicorn.Server | None = None
        self.url = ""

    @property
    def server(self) -> Server:
        """The running parts. Use them from the server's loop only: see `call`."""
        return self._started.result(START_SECONDS)

    def call(self, work: Coroutine[Any, Any, _T], seconds: float = 30) -> _T:
        """Runs a coroutine in the server's loop, from the test's thread."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def user(self, username: str, role: UserRole = "user") -> Signed:
        """A new account, signed in."""
        password = f"password of {username}"

        async def make() -> str:
            administration = self.server.administration
            await administration.add_user(username, password, role)
            return await administration.issue_token(username)

        return Signed(username, password, self.call(make()))

    def client(self, signed: Signed | None = None, **options: Any) -> httpx.AsyncClient:
        """An HTTP client of this server; close it with `async with`."""
        headers = signed.headers if signed else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, **options)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        assert self._uvicorn is not None
        return len(self._uvicorn.server_state.connections)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result(START_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(30)
        assert not self._thread.is_alive(), "the server did not stop"

    def _stop(self) -> None:
        assert self._uvicorn is not None
        self._uvicorn.should_exit = True

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with open_server(self.settings) as server:
            config = uvicorn.Config(
                create_app(server.parts),
                host="127.0.0.1",
                port=0,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=5,
                **websocket_options(self.settings),
            )
            listening = bind(
                "127.0.0.1", 0, send_timeout_seconds=self.settings.send_timeout_seconds
            )
            open_port(listening)
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            self._uvicorn = _Announcing(config, lambda: self._started.set_result(server))
            await self._uvicorn.serve(sockets=[listening])
            listening.close()


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Any) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self._announce()


def forget_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine has set of our settings does not reach the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def settings_for(folder: Path, **changes: Any) -> Settings:
    """Settings of a server that keeps everything below a folder, and hurries."""
    defaults: dict[str, Any] = {
        "data_dir": folder,
        "models_file": folder / "models.json",
        "demo_tokens_per_second": 2000,
        "checkpoint_seconds": 0.05,
        "revocation_check_seconds": 0.1,
        "startup_check": "off",
        "runs_dir": folder / "runs",
        "upstream_retries": 0,
        "rate_limit_messages_per_minute": 10_000,
        "login_attempts_per_minute": 10_000,
        "login_attempts_per_minute_per_address": 10_000,
    }
    if all_on_postgres() and "database_url" not in changes:
        defaults["database_url"] = postgres_of(folder)
    return Settings(**(defaults | changes))
