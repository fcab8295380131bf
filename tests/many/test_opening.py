"""Servers that are started while Postgres is not there: they listen, and wait for it."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

import postgres
from instances import START_SECONDS, Instance, Instances, running
from postgres import Postgres
from provider import Provider
from serving import Signed
from sockets import closing, opened
from waiting import soon, until
from wire import problem

#: On a busy machine servers take long to start.
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def waiting(tmp_path: Path, provider: Provider, own_postgres: Postgres) -> Iterator[Instances]:
    """One, not started, whose Postgres is down."""
    database = own_postgres.create()
    own_postgres.stop()
    with running(
        tmp_path, provider, count=1, started=False, database_url=database, CORS_ORIGINS="*"
    ) as instances:
        yield instances
    own_postgres.stop(at_once=True)
    own_postgres.start()


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [([], {}), ([], {"REDIS_URL": ""}), (["--workers", "2"], {})],
    ids=["one of many", "alone", "workers"],
)
async def test_it_listens_says_what_is_missing_and_serves_once_that_is_there(
    waiting: Instances, own_postgres: Postgres, arguments: list[str], settings: dict[str, str]
) -> None:
    server = waiting.every[0]
    server.start(*arguments, **settings)
    server.wait_until("/healthz", 200)
    await asyncio.to_thread(assert_refuses, server)
    async with opened(server, "/ws", Signed("a", "", "token"), way="subprotocols") as socket:
        code, _ = await closing(socket)
    assert code == 1013
    assert "listens on" not in waiting.logged(0)
    own_postgres.start()
    server.wait_until("/readyz", 200)
    assert waiting.client(0).get("/api/chat/sessions").status_code == 200
    await soon(lambda: "listens on" in waiting.logged(0))
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert waiting.logged(0).count("listens on") == 1


def assert_refuses(server: Instance) -> None:
    with httpx.Client(base_url=server.url) as http:
        ready = http.get("/readyz")
        assert ready.status_code == 503
        components = {"database": "unavailable"}
        assert ready.json() == {"status": "unavailable", "components": components}
        page = {"Origin": "https://example.org"}
        refused = http.post("/chat", json={"message": "?"}, headers=page)
        problem(refused, 503, "store_unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.headers["Access-Control-Allow-Origin"] == "*"
        openai = http.post("/v1/chat/completions", json={})
        assert (openai.status_code, openai.json()["error"]["code"]) == (503, "store_unavailable")


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"]])
def test_nobody_is_refused_once_it_can_be_connected_to(
    tmp_path: Path, provider: Provider, arguments: list[str]
) -> None:
    """What stands before it hands it requests from the first connection on that it takes."""
    with running(tmp_path, provider, count=1, started=False) as instances:
        server = instances.every[0]
        server.start(*arguments)
        first = connected(server)
        others = [connected(server) for _ in range(20)]
        assert {asked(connection) for connection in (first, *others)} == {401}


def connected(server: Instance) -> socket.socket:
    """A connection, as soon as it takes one, with a question on it."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert server.process is not None
        assert server.process.poll() is None, "it ended"
        assert time.monotonic() < deadline
        try:
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        except ConnectionRefusedError:
            continue
        connection.sendall(b"GET /me HTTP/1.1\r\nHost: a\r\n\r\n")
        return connection


def asked(connection: socket.socket) -> int:
    """The status of the answer."""
    with connection, HTTPResponse(connection) as response:
        response.begin()
        return response.status


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"]])
def test_it_ends_when_it_is_told_to_while_it_waits(
    waiting: Instances, arguments: list[str]
) -> None:
    server = waiting.every[0]
    server.start(*arguments)
    server.wait_until("/readyz", 503)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_workers_that_wait_end_with_their_parent(waiting: Instances) -> None:
    parent = waiting.every[0]
    parent.start("--workers", "2")
    parent.wait_until("/readyz", 503)
    parent.signal(signal.SIGKILL)
    parent.wait()
    until(lambda: parent.status("/healthz") == 0)


def test_what_waiting_does_not_help_ends_it_also_later(
    waiting: Instances, own_postgres: Postgres
) -> None:
    server = waiting.every[0]
    server.start(ADMIN_USERNAME="not a name")
    server.wait_until("/readyz", 503)
    own_postgres.start()
    assert server.wait() == 2
    assert "The admin's username" in waiting.logged(0)


@pytest.mark.parametrize("change", [("canary", "wrong"), ("/test", "/nothing")])
def test_a_database_that_lets_nobody_in_ends_it_at_once(
    tmp_path: Path, provider: Provider, change: tuple[str, str]
) -> None:
    url = postgres.migrated_url()
    with running(
        tmp_path, provider, count=1, started=False, database_url=url.replace(*change)
    ) as instances:
        instances.every[0].start()
        assert instances.every[0].wait() == 2
        assert "cannot open the database" in instances.logged(0)
    postgres.give_back(url)


def test_the_application_of_another_server_waits_too(
    waiting: Instances, own_postgres: Postgres, tmp_path: Path
) -> None:
    server = waiting.every[0]
    command = [sys.executable, "-m", "uvicorn", "runnel.asgi:app", "--port", str(server.port)]
    with (tmp_path / "uvicorn.log").open("wb") as log:
        server.process = subprocess.Popen(
            command, env=server.settings, cwd=tmp_path, stdout=log, stderr=log
        )
    server.wait_until("/healthz", 200)
    assert server.status("/readyz") == 503
    problem(httpx.get(f"{server.url}/me"), 503, "store_unavailable")
    own_postgres.start()
    server.wait_until("/readyz", 200)
    assert waiting.token
    server.signal(signal.SIGTERM)
    assert server.wait() in (0, -signal.SIGTERM)
    assert "Admin     admin" in (tmp_path / "uvicorn.log").read_text()


def test_four_that_start_at_once_on_an_empty_database_make_one_admin(
    tmp_path: Path, provider: Provider
) -> None:
    url = postgres.shared().create()
    # Each makes or finds the secret that signs, in the folder that they share.
    with running(
        tmp_path,
        provider,
        count=4,
        database_url=url,
        ADMIN_PASSWORD="",
        JWT_SECRET="",
    ) as instances:
        found = [
            password
            for number in range(4)
            for password in re.findall(
                r"password (\S+) \(shown this once\)", instances.logged(number)
            )
        ]
        assert len(found) == 1
        body = {"username": "admin", "password": found[0]}
        token = httpx.post(f"{instances.url(0)}/login", json=body).json()["access_token"]
        for number in range(4):
            headers = {"Authorization": f"Bearer {token}"}
            assert httpx.get(f"{instances.url(number)}/me", headers=headers).status_code == 200
    postgres.shared().drop(url)
