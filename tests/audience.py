"""What the tests of `on_disconnect` share: answers that need a reader, and a clock for their grace."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from json import dumps
from typing import Any, Final

import httpx
import pytest

from provider import BEFORE_HEADERS, Answer
from reading import Incoming, parsed_events
from runnel.chat.audiences import Audiences
from standing import Json, Standing
from waiting import until

GENERATE: Final = "/api/generate"
CHAT: Final = "/chat"
GRACE: Final = 0.2
GATED: Final = Answer(("Hello", " world"), gate_after=1)
ABORTING: Final[Json] = {"on_disconnect": "abort"}


class Clock:
    """The time that the grace is measured by; it stands still until the test moves it."""

    def __init__(self, stand: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
        self._stand = stand
        self._now = 1000.0
        monkeypatch.setattr(audiences_of(stand), "_clock", lambda: self._now)

    def pass_by(self, seconds: float) -> None:
        """And the server looks who is there still."""

        async def look() -> None:
            self._now += seconds
            await self._stand.server.server.parts.chat._running._stop_deserted()

        self._stand.server.call(look())


def audiences_of(stand: Standing) -> Audiences:
    return stand.server.server.parts.chat._followers.audiences


def alone(stand: Standing) -> None:
    """Waits until nobody reads anything any more."""

    async def readers() -> int:
        return len(stand.server.server.parts.chat._followers)

    # In the server's loop, where who leaves has left wholly.
    until(lambda: stand.server.call(readers()) == 0)


def assert_nothing_left(stand: Standing) -> None:
    """No audience is kept once its answer has ended and its readers have gone."""
    stand.provider.release()
    until(lambda: stand.held()["producers"] == 0)
    alone(stand)
    assert audiences_of(stand)._audiences == {}


@contextmanager
def reading(
    stand: Standing, method: str, path: str, *, silent: bool = False, **options: Any
) -> Generator[tuple[httpx.Response, Incoming]]:
    """A stream of its own connection, read until something is said; its client leaves at the end."""
    with (
        httpx.Client(base_url=stand.server.url, headers=stand.user.headers, timeout=30) as client,
        client.stream(method, path, **options) as response,
    ):
        reader = Incoming(response.iter_raw())
        if not silent:
            reader.until(b"Hello")
        yield response, reader


@contextmanager
def asked(
    stand: Standing, answer: Answer = GATED, path: str = GENERATE, **body: Any
) -> Generator[str]:
    """The id of an answer that needs a reader, and has one till the end."""
    content = {"message": stand.prompt(answer)} | ABORTING | body
    silent = answer.gate_after == BEFORE_HEADERS
    with reading(stand, "POST", path, silent=silent, json=content) as (response, _):
        yield response.headers["X-Generation-Id"]


def attached(stand: Standing, generation_id: str) -> Any:
    """Another reader of it; a context manager."""
    return reading(stand, "GET", f"/api/generations/{generation_id}/events")


def asking(stand: Standing, prompt: str) -> socket.socket:
    """A connection that has asked, and that nobody reads."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", httpx.URL(stand.server.url).port))
    content = dumps({"prompt": prompt} | ABORTING)
    head = (
        f"POST {GENERATE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stand.user.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    connection.sendall((head + content).encode())
    return connection


def running(stand: Standing) -> str:
    """The id of the one answer that is being made."""
    shown = stand.client.get("/api/generations?status=running").json()["generations"]
    [generation] = shown
    return generation["generation_id"]


def ended(stand: Standing, generation_id: str) -> Json:
    """The generation, once it has ended."""
    until(lambda: stand.generation(generation_id)["status"] not in {"queued", "running"})
    return stand.generation(generation_id)


def assert_deserted(stand: Standing, generation_id: str, text: str = "Hello") -> None:
    """It was aborted, for nobody was there; what it had said is kept."""
    kept = ended(stand, generation_id)
    assert (kept["status"], kept["text"]) == ("aborted", text)
    assert kept["usage"]["source"] == "estimated"
    assert (kept["usage"]["completion_tokens"] > 0) == bool(text)
    query = "SELECT aborted_by FROM generations WHERE id = "
    assert stand.rows(f"{query}'{generation_id}'") == [("disconnect",)]
    events = stand.client.get(f"/api/generations/{generation_id}/events").content
    assert parsed_events(events)[-1].data == {"by": "disconnect", "usage": kept["usage"]}


def assert_goes_on(stand: Standing, generation_id: str) -> None:
    """It lives, and is made to its end once the provider goes on."""
    assert stand.generation(generation_id)["status"] == "running"
    stand.provider.release()
    kept = ended(stand, generation_id)
    assert (kept["status"], kept["text"]) == ("completed", "Hello world")
