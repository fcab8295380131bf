"""Following an answer as clients do, and the frames that the contract promises them for it."""

import json
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import httpx

from provider import Answer
from reading import Incoming
from serving import Signed
from standing import Json, Standing
from waiting import until
from wire import but_id, problem, query

PIECES: Final = ("Hello", " world", "\n", "a\nb", " é\N{SNOWMAN}\N{GRINNING FACE}")
TEXT: Final = "".join(PIECES)
#: The position of its terminal event.
END: Final = "1-6"
#: In the future of epoch 1, and of epochs that there were not.
ELSEWHERE: Final = ["1-7", "1-99", f"1-{'9' * 18}", "2-0", "2-3", "999999999-0"]
MALFORMED: Final = [
    *("1", "1-", "-1", "-", "--", "1-1-1", "-1-1", "1--1", "1-1-", "0-0", "0-1"),
    *("01-1", "1-01", "1-00", "00-1", "+1-1", "1-+1", "1.0-1", "1e3-1", "0x1-1", "1_0-1"),
    *("a-b", "1-a", "1:1", "1/1", "1,1", "null", "None", "undefined", "*", "latest", "$"),
    *(f"1-{'9' * 19}", f"{'9' * 10}-1", f"{'9' * 5000}-{'9' * 5000}", "1-1;DROP", "1-1 1-2"),
]
#: Only a query can hold these: HTTP takes the spaces off a header's ends.
MALFORMED_IN_A_QUERY: Final = [
    *(" 1-1", "1-1 ", " ", "\t", "1-1\n", "1-1\0", "1 -1", "1-1\r\nX: y"),
    *("\uff11-1", "1-\u0661", "\u00b9-1", "1\u20131", "1\u22121", "\u200b1-1", "\N{GRINNING FACE}"),
]
_RETRY: Final = re.compile(rb"retry: [0-9]{4}\n\n")
_IDLE: Final = {"producers": 0, "tasks": 0, "readers": 0, "holdings": 0}


def path_of(generation_id: str) -> str:
    return f"/api/generations/{generation_id}/events"


def finished(stand: Standing, answer: Answer | None = None) -> str:
    """The id of an answer that is whole, or that ended as the provider had it."""
    return stand.ask("/chat", answer or Answer(PIECES)).json()["generation_id"]


@contextmanager
def gated(
    stand: Standing,
    gate_after: int = 2,
    pieces: Sequence[str] = PIECES,
    *,
    client: httpx.Client | None = None,
) -> Generator[str]:
    """The id of an answer that waits at its gate until the provider is told to `release`.

    `client` asks for it, else the stand's own. In the end nobody may be left who makes it or
    follows it.
    """
    stand.provider.hold()
    body = {"message": stand.prompt(Answer(pieces, gate_after=gate_after)), "background": True}
    asked = (client or stand.client).post("/chat", json=body)
    generation_id = asked.raise_for_status().json()["generation_id"]
    stand.provider.at_gate.wait_at_least(1)
    try:
        yield generation_id
    finally:
        stand.provider.release()
        until(lambda: stand.held() == _IDLE)
        stand.provider.at_gate.wait_at_most(0)
    until(lambda: not len(stand.server.server.parts.chat._followers))


def attach(client: httpx.Client, generation_id: str, last: str = "", **query: str) -> bytes:
    """What a reader is sent to its end, behind the `retry:` line. Nothing is the answer to 204."""
    headers = {"Last-Event-ID": last} if last else {}
    response = client.get(path_of(generation_id), params=query, headers=headers)
    if response.status_code == 204:
        assert response.content == b""
        return b""
    assert response.status_code == 200, response.text
    return after_retry(response.content)


def after_retry(body: bytes) -> bytes:
    """What follows the `retry:` frame, whose number is free."""
    match = _RETRY.match(body)
    assert match is not None, body[:40]
    return body[match.end() :]


@contextmanager
def following(
    client: httpx.Client, generation_id: str, last: str = "", **query: str
) -> Generator[Incoming]:
    """A stream as it comes; leaving it cuts the connection."""
    headers = {"Last-Event-ID": last} if last else {}
    path = path_of(generation_id)
    with client.stream("GET", path, params=query, headers=headers) as response:
        assert response.status_code == 200, response.read()
        yield Incoming(response.iter_raw())


def poll(client: httpx.Client, generation_id: str, after: str = "", **query: Any) -> Json:
    """One page, as JSON."""
    response = client.get(
        path_of(generation_id),
        params={"after": after, **query},
        headers={"Accept": "application/json"},
    )
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    page = response.json()
    assert set(page) == {"events", "position", "done"}
    return page


def frames_of(
    stand: Standing, generation_id: str, form: str, pieces: Sequence[str] = PIECES
) -> list[bytes]:
    """The frame of each event of an ended answer, by its offset, as the contract writes it."""
    kept = stand.generation(generation_id)
    tokens: list[tuple[str, Mapping[str, Any]]] = [("token", {"text": piece}) for piece in pieces]
    events = [_start(stand, kept), *tokens, _terminal(stand, kept)]
    epoch, end = map(int, kept["position"].split("-"))
    assert end == len(events) - 1
    return [
        frame_of(form, name, data, f"{epoch}-{offset}")
        for offset, (name, data) in enumerate(events)
    ]


def frame_of(form: str, name: str, data: Mapping[str, Any], position: str) -> bytes:
    """An event as the contract writes it in a dialect."""
    content = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    named = f"event: {name}\ndata: {content}\n"
    place = f"id: {position}\n\n"
    done = "data: [DONE]\n"
    terminal = name in {"end", "aborted", "failed"}
    if form == "events":
        frame = named + place + (f"{done}\n" if terminal else "")
    elif name == "token":
        lines = "".join(f"data: {line}\n" for line in data["text"].split("\n"))
        frame = lines + place
    elif terminal:
        frame = ("" if name == "end" else named + place) + done + place
    else:
        frame = "" if name == "start" else named + place
    return frame.encode()


def ending(stand: Standing, generation_id: str, form: str) -> bytes:
    """The frame of an ended answer's terminal event."""
    kept = stand.generation(generation_id)
    name, data = _terminal(stand, kept)
    return frame_of(form, name, data, kept["position"])


def reset_and_end(stand: Standing, generation_id: str, form: str) -> bytes:
    """What a reader is sent who cannot be given an ended answer piece by piece."""
    kept = stand.generation(generation_id)
    epoch, end = map(int, kept["position"].split("-"))
    reset = frame_of(form, "reset", {"text": kept["text"]}, f"{epoch}-{end - 1}")
    return reset + ending(stand, generation_id, form)


def _start(stand: Standing, kept: Json) -> tuple[str, Json]:
    [[asked]] = query(
        stand.server,
        "SELECT user_message_id FROM generations WHERE id = ?",
        kept["generation_id"],
    )
    return "start", {
        "generation_id": kept["generation_id"],
        "session_id": kept["session_id"],
        "message_id": kept["message_id"],
        "user_message_id": asked,
        "model": kept["model"],
    }


def _terminal(stand: Standing, kept: Json) -> tuple[str, Json]:
    if kept["status"] == "aborted":
        sql = "SELECT aborted_by FROM generations WHERE id = ?"
        [[by]] = query(stand.server, sql, kept["generation_id"])
        return "aborted", {"by": by, "usage": kept["usage"]}
    if kept["status"] in {"failed", "interrupted"}:
        return "failed", kept["error"]
    assert kept["status"] == "completed", kept
    return "end", {
        "finish_reason": kept["finish_reason"],
        "usage": kept["usage"],
        "model": kept["model"],
        "provider": kept["provider"],
        "provider_model": "test",
        "text_length": len(kept["text"]),
        "latency_ms": kept["latency_ms"],
        "first_token_ms": kept["first_token_ms"],
    }


def ticket_for(client: httpx.Client, generation_id: str, **options: Any) -> str:
    """A ticket that whoever the client is asks for; `options` are the request's."""
    answer = client.post("/api/tickets", json={"generation_id": generation_id}, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()["ticket"]


def login(client: httpx.Client, signed: Signed) -> Json:
    """The tokens of another login."""
    body = {"username": signed.username, "password": signed.password}
    return client.post("/login", json=body).raise_for_status().json()


def not_signed_in(answer: httpx.Response) -> Json:
    """Asserts that the answer says so; its body, but for what names the request."""
    body = problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    return but_id(body)
