"""What the tests of the HTTP doors share: problems, open streams, the database file, and forged tokens."""

import json
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
from jose import jwk, jws

import postgres
from provider import Provider
from serving import LiveServer, Signed

NOBODYS_ID: Final = "01890000-0000-7000-8000-000000000000"
END_SECONDS: Final = 5
PRODUCTION_SECRET: Final = "a secret of production, long enough to sign"
Serve = Callable[..., LiveServer]
_MEMBERS: Final = {"type", "title", "status", "detail", "code", "request_id"}


@dataclass(frozen=True, slots=True)
class House:
    """A server, the provider behind it, and a client that blocks."""

    server: LiveServer
    provider: Provider
    http: httpx.Client

    def login(self, signed: Signed) -> dict[str, Any]:
        """The answer of /login: another login of the same user."""
        body = {"username": signed.username, "password": signed.password}
        return self.http.post("/login", json=body).raise_for_status().json()

    def ask(self, who: Signed, message: str = "hi", **members: Any) -> dict[str, Any]:
        body = {"message": message, **members}
        return self.http.post("/chat", json=body, headers=who.headers).raise_for_status().json()

    def settle(self) -> None:
        """Waits until every answer that is being made has ended and is stored."""
        settle(self.server)


def ask(house: House, who: Signed, path: str = "/chat", **members: Any) -> httpx.Response:
    """The answer to a question, whatever its status."""
    body = {"message": "hi", **members}
    return house.http.post(path, json=body, headers=who.headers)


def settle(server: LiveServer) -> None:
    running = server.server.parts.chat._running
    server.call(running.drain(30))
    running._closing = running._ending = False


def models_of(provider: Provider) -> dict[str, Any]:
    """`chat/test` answers at once, `chat/gated` when the gate opens."""
    aliases = {
        f"chat/{model}": {"provider": "openai", "model": model, "base_url": provider.url}
        for model in ("test", "gated")
    }
    return {"default": "chat/test", "aliases": aliases}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def problem(
    response: httpx.Response, status: int, code: str, *, more: set[str] | None = None
) -> dict[str, Any]:
    """The body of a problem, which has to be whole; `more` are the members it has besides."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert set(body) == _MEMBERS | (more or set())
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == f"urn:runnel:problem:{code}"
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["title"]
    assert body["detail"]
    return body


def refused_field(response: httpx.Response, field: str) -> str:
    """What a 422 says of the one field it refuses."""
    errors = problem(response, 422, "invalid_request", more={"errors"})["errors"]
    assert [error["field"] for error in errors] == [field]
    return errors[0]["message"]


def but_id(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "request_id"}


def query(server: LiveServer, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Runs SQL on the server's own database, beside it; `?` stands for a value."""
    url = server.settings.database_url
    if url.startswith("postgresql"):
        return postgres.select(url, sql, *values)
    file = server.settings.data_dir / "runnel.db"
    with closing(sqlite3.connect(file, timeout=10)) as database, database:
        return database.execute(sql, values).fetchall()


def cells(server: LiveServer) -> Iterator[tuple[str, str]]:
    """Every cell of every table, as text, with the name of its table."""
    for table in _tables(server):
        for row in query(server, f'SELECT * FROM "{table}"'):  # noqa: S608 - the database's own names
            yield from ((table, str(cell)) for cell in row)


def _tables(server: LiveServer) -> list[str]:
    if server.settings.database_url.startswith("postgresql"):
        return postgres.tables(server.settings.database_url)
    listed = query(server, "SELECT name FROM sqlite_master WHERE type = 'table'")
    return [name for (name,) in listed]


def claims_of(token: str) -> dict[str, Any]:
    return json.loads(jws.get_unverified_claims(token))


def forged(
    server: LiveServer,
    claims: dict[str, Any],
    *,
    secret: str | None = None,
    algorithm: str = "HS256",
    headers: dict[str, Any] | None = None,
) -> str:
    """A token signed with the server's own secret, unless another is given."""
    if secret is None:
        secret = (server.settings.data_dir / "jwt_secret").read_text().strip()
    key = jwk.construct(secret.encode(), algorithm)
    return jws.sign(json.dumps(claims).encode(), key, headers, algorithm)


def now() -> int:
    return int(time.time())


class OpenStream:
    """A stream of `chat/gated`, read up to its first token."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.status_code == 200, response.read()
        self.generation_id: str = response.headers["x-generation-id"]
        self._lines = response.iter_lines()
        self.read: list[str] = []
        while self.read[-1:] != ["data: first"]:
            self.read.append(next(self._lines))

    def to_the_end(self) -> list[str]:
        self.read += self._lines
        return self.read


@contextmanager
def streaming(house: House, token: str, **members: Any) -> Generator[OpenStream]:
    body = {"message": "hi", "model": "chat/gated", **members}
    with (
        httpx.Client(base_url=house.server.url, timeout=END_SECONDS) as http,
        http.stream("POST", "/api/generate", json=body, headers=bearer(token)) as response,
    ):
        yield OpenStream(response)
