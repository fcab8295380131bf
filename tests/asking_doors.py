"""A question asked at any door, and what whoever asked it there was told, alike."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import httpx
from httpx_sse import ServerSentEvent

from doors import TLS
from reading import cleaned, parsed
from serving import Signed
from socket_doors import SOCKETS, event_of, path_at, question_at
from sockets import Socket, opened
from standing import Json

#: The path of a question over HTTP, and what its body says of the delivery.
ASKED_OVER_HTTP: Final[Mapping[str, tuple[str, Json]]] = {
    "json": ("/chat", {}),
    "text": ("/api/generate", {}),
    "events": ("/chat", {"stream": True, "format": "events"}),
}
ASKED_AT: Final = (*ASKED_OVER_HTTP, *SOCKETS)


class Asking(Protocol):
    """A server, wherever it runs."""

    @property
    def url(self) -> str: ...

    def client(self, signed: Signed | None = None, **options: Any) -> httpx.AsyncClient: ...


@dataclass(slots=True)
class Heard:
    """`end`: the event that ended the answer; `refused`: the code of the error there was instead.

    `told`: what the end or the error says; `status` that of HTTP.
    """

    generation_id: str = ""
    text: str = ""
    end: str | None = None
    refused: str | None = None
    told: Json = field(default_factory=dict[str, Any])
    frames: list[Json] = field(default_factory=list[Json])
    status: int = 0
    question: str = ""
    chat_id: str | int | None = None

    def take(self, frame: Json) -> None:
        """A frame of a socket."""
        match frame:
            case {"message": {"chat_id": chat_id, "is_ai": False, "content": self.question}}:
                self.chat_id = chat_id
            case {"chat_id": chat_id} | {"message": {"chat_id": chat_id}} if (
                self.question and chat_id != self.chat_id
            ):
                return
            case _:
                pass
        self.frames.append(frame)
        event = event_of(frame)
        if event is not None:
            self._take_event(*event)
        elif frame["type"] == "error":
            self.refused, self.told = frame["code"], frame

    def _take_event(self, name: str, members: Json) -> None:
        assert self.end is None, f"{members} behind the end"
        match name:
            case "start":
                self.generation_id = members.get("task_id") or members["generation_id"]
                self.text = ""
            case "token":
                assert members["text"], "an empty token"
                self.text += members["text"]
            case "reset":
                self.text = members["text"]
            case _:
                self.end, self.told = name, members
                _assert_whole(members, self.text)


def _assert_whole(end: Json, text: str) -> None:
    """Where an end holds the whole text, it is the one that was told in pieces."""
    match end:
        case {"full_text": str(whole)} | {"message": {"content": str(whole)}}:
            assert whole == text
        case _:
            pass


async def asked_at(
    server: Asking, user: Signed, door: str, question: str, *, session: str, **members: str
) -> Heard:
    """What came of it when nothing more comes. `members`: `key`, `model`."""
    if door in SOCKETS:
        path = path_at(door, session)
        async with opened(server, path, user, max_size=None) as socket:
            await socket.send(question_at(door, question, session=session, **members))
            return await heard_at(socket, question)
    path, delivery = ASKED_OVER_HTTP[door]
    key = members.pop("key", "")
    headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
    body = {"message": question, "session_id": session, **members, **delivery}
    async with server.client(user, verify=TLS) as client:
        # Half a pair of surrogates has no UTF-8, but an escape.
        response = await client.post(path, content=json.dumps(body), headers=headers)
    heard = Heard(response.headers.get("X-Generation-Id", ""), status=response.status_code)
    if response.headers["Content-Type"].startswith("application/"):
        _take_whole(heard, response.json())
    else:
        for frame in parsed(response.content):
            _take_frame(heard, frame)
    return heard


async def heard_at(socket: Socket, question: str = "", *, before: Sequence[Json] = ()) -> Heard:
    """What is told there up to the next end, or to an error; `before`: what it told already.

    A user's channel tells of other answers, too: from there it is that of the question.
    """
    heard = Heard(question=cleaned([question]))
    for frame in before:
        heard.take(frame)
    while heard.end is None and heard.refused is None:
        heard.take(await socket.next())
    return heard


def _take_whole(heard: Heard, body: Json) -> None:
    heard.text, heard.told = body.get("text", ""), body
    if heard.status == 200:
        heard.end = "aborted" if body["finish_reason"] == "aborted" else "end"
    elif heard.generation_id:
        heard.end = "failed"
        heard.told = body | {"message": body["detail"]}
    else:
        heard.refused = body["code"]


def _take_frame(heard: Heard, frame: ServerSentEvent) -> None:
    if frame.data == "[DONE]":
        heard.end = heard.end or "end"
    elif frame.event in {"message", "token"}:
        heard.text += frame.data if frame.event == "message" else frame.json()["text"]
    elif frame.event == "reset":
        heard.text = frame.json()["text"]
    elif frame.event != "start":
        heard.end, heard.told = frame.event, frame.json()
