"""Every way of following one answer, as what leads there: requests over HTTP, frames over sockets."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

import httpx

from serving import Signed
from socket_doors import SOCKETS, path_at, question_at
from standing import Json

#: A poll that comes back empty before this was sent away.
POLL_SECONDS: Final = 30
_numbers = count(1)
#: Nobody here speaks TLS, but to make what speaks it takes longer than to ask.
TLS: Final = httpx.create_ssl_context()


@dataclass(frozen=True, slots=True)
class _Door:
    """`body`: what the question holds besides, where it is asked again with its key."""

    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Json | None = None


_DOORS: Final[Mapping[str, _Door]] = {
    "post text": _Door("/api/generate", body={}),
    "post events": _Door("/api/generate", body={"format": "events"}),
    "chat events": _Door("/chat", body={"stream": True, "format": "events"}),
    "attach text": _Door(query={"format": "text"}),
    "attach events": _Door(),
    "ticket": _Door(),
    "poll": _Door(query={"wait": str(POLL_SECONDS)}),
    "json": _Door("/chat", body={}),
}
HTTP: Final = tuple(_DOORS)
DOORS: Final = HTTP + SOCKETS
STREAMS: Final = HTTP[:6]
#: Those that read piece by piece.
FLOWING: Final = HTTP[:7] + SOCKETS
#: Those that go on behind a position; the others begin anew.
RESUMING: Final = (*HTTP[:7], "ws session")
#: Those that begin with a question, whose fault may be the status.
ASKING: Final = tuple(name for name, door in _DOORS.items() if door.body is not None)


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer that was asked for in the background with a key, so that every door leads to it."""

    url: str
    authorization: str
    question: Json
    key: str
    generation_id: str
    session_id: str
    ticket: str

    @property
    def user(self) -> Signed:
        return Signed("", "", self.authorization.removeprefix("Bearer "))

    def path(self, door: str) -> str:
        """Where a socket is opened."""
        return path_at(door, self.session_id)

    def frame(self, door: str, after: str | None = None) -> Json:
        """What a client sends at a socket: it resumes, or where nobody can, asks again."""
        if door != "ws session":
            session = self.question.get("session_id", "")
            return question_at(door, self.question["prompt"], session=session, key=self.key)
        behind = {} if after is None else {"after": after}
        return {"type": "resume", "generation_id": self.generation_id} | behind

    def request(self, door: str, after: str | None = None) -> httpx.Request:
        """What a client sends over HTTP that has read the answer up to a position."""
        there = _DOORS[door]
        headers = {"Authorization": self.authorization}
        query = dict(there.query)
        if door == "ticket":
            headers, query = {}, {"ticket": self.ticket}
        if door == "poll":
            headers["Accept"] = "application/json"
        if after is not None and door != "json":
            headers["Last-Event-ID"] = after
        path = there.path or f"/api/generations/{self.generation_id}/events"
        url = httpx.URL(f"{self.url}{path}", params=query)
        if there.body is None:
            return httpx.Request("GET", url, headers=headers)
        headers["Idempotency-Key"] = self.key
        return httpx.Request("POST", url, headers=headers, json=self.question | there.body)

    def served_by(self, url: str) -> "Asked":
        """The same answer at a server that was started anew."""
        return replace(self, url=url)


def raw(request: httpx.Request) -> bytes:
    """What a client sends that speaks HTTP by itself."""
    lines = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + request.content


def ask_in_background(client: httpx.Client, prompt: str) -> Asked:
    key = f"key-{next(_numbers)}"
    response = client.post(
        "/api/generate",
        json={"prompt": prompt, "background": True},
        headers={"Idempotency-Key": key},
    )
    assert response.status_code == 202, response.text
    accepted = response.json()
    return _asked(client, prompt, key, response.headers, accepted["ticket"])


def ask_and_leave(client: httpx.Client, prompt: str, **body: Any) -> Asked:
    """Asks for a stream and reads nothing of it but its headers."""
    key = f"key-{next(_numbers)}"
    question = {"prompt": prompt, **body}
    headers = {"Idempotency-Key": key}
    with client.stream("POST", "/api/generate", json=question, headers=headers) as response:
        named = {"generation_id": response.headers["X-Generation-Id"]}
    ticket = client.post("/api/tickets", json=named).json()["ticket"]
    return _asked(client, prompt, key, response.headers, ticket)


def _asked(
    client: httpx.Client, prompt: str, key: str, headers: httpx.Headers, ticket: str
) -> Asked:
    return Asked(
        url=str(client.base_url).rstrip("/"),
        authorization=client.headers["Authorization"],
        question={"prompt": prompt},
        key=key,
        generation_id=headers["X-Generation-Id"],
        session_id=headers["X-Session-Id"],
        ticket=ticket,
    )
