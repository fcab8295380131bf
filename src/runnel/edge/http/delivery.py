"""How a question's answer is delivered, whichever way was asked: stream, JSON, or an address."""

from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

from runnel.accounts.entities import Identity
from runnel.chat.entities import Ask
from runnel.edge.asking import DeliveryBody
from runnel.edge.dialects.sse import dialect_of
from runnel.edge.http import answering
from runnel.edge.http.shapes import (
    READ_TO_THE_END,
    STREAM,
    AcceptedShape,
    AnswerShape,
    Responses,
    shaped,
)
from runnel.edge.http.streaming import SseFrames
from runnel.edge.positions import position_of
from runnel.errors import Code, RunnelError
from runnel.events import Position

_KEY = "The same key and question join the first answer; kept for a day."
_LAST = "With a key: go on behind the last event that was read."


@dataclass(frozen=True, slots=True)
class Again:
    """What a request says that may be one sent again: its key, and what was read already."""

    key: str | None
    after: Position | None


def again_of(request: Request) -> Again:
    """By its headers. Raises RunnelError `invalid_request` for a position that is none."""
    headers = request.headers
    key = headers.get("idempotency-key")
    # White space behind a value is no part of it, but left there by the server.
    return Again(key and key.strip(" \t"), position_of(headers.get("last-event-id")))


def _header(name: str, what: str) -> dict[str, Any]:
    schema = {"anyOf": [{"type": "string"}, {"type": "null"}], "description": what, "title": name}
    shown = {"name": name.lower(), "in": "header", "required": False}
    return shown | {"description": what, "schema": schema}


#: What routes that ask again_of say of it, as their `openapi_extra`: to find two headers takes
#: FastAPI longer than to check the body.
SAYS_AGAIN: Final[dict[str, Any]] = {
    "parameters": [_header("Idempotency-Key", _KEY), _header("Last-Event-Id", _LAST)]
}

#: What a route answers that asks as /chat does.
ANSWERED: Final[Responses] = (
    {200: {"model": AnswerShape, "content": {"application/json": {}} | STREAM[200]["content"]}}
    | shaped(AcceptedShape, 202)
    | READ_TO_THE_END
)


async def answered(
    request: Request,
    caller: Identity,
    again: Again,
    ask: Ask,
    body: DeliveryBody,
    *,
    streams: bool | None = None,
) -> Response:
    """Asks, and delivers the answer as the body says; `streams` where the route says it."""
    if again.after is not None and ask.key is None:
        # Some readers send their POST again when a stream breaks; without a key that would be
        # another question, answered and paid for once more.
        raise RunnelError(
            Code.INVALID_REQUEST,
            "Last-Event-ID goes with an Idempotency-Key, which tells the answer to go on with.",
            field="Last-Event-ID",
        )
    generation = await answering.ask(request, ask)
    if body.background:
        return answering.accepted(request, caller, generation, body.format)
    if body.streams if streams is None else streams:
        dialect = dialect_of(body.format, ids=ask.key is not None)
        return await answering.stream(
            request, caller, generation, SseFrames(dialect), after=again.after
        )
    return await answering.whole(request, caller, generation)
