"""`/api/generate` and `/chat`: the two doors through which a question comes over HTTP."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from runnel.accounts.entities import Identity
from runnel.edge.asking import AskBody
from runnel.edge.deps import SIGNED_IN, Caller
from runnel.edge.dialects.sse import dialect_of
from runnel.edge.http import answering
from runnel.edge.http.shapes import READ_TO_THE_END, STREAM, AcceptedShape, AnswerShape, shaped
from runnel.edge.http.streaming import writing
from runnel.edge.positions import position_of
from runnel.edge.route import AskRoute
from runnel.errors import Code, RunnelError
from runnel.events import Position

router = APIRouter(route_class=AskRoute, tags=["ask"], dependencies=[*SIGNED_IN])
public_router = APIRouter()
_KEY = "The same key and question join the first answer; kept for a day."
_LAST = "With a key: go on behind the last event that was read."


@dataclass(frozen=True, slots=True)
class _Again:
    """What a request says that may be one sent again: its key, and what was read already."""

    key: str | None
    after: Position | None


def _again(
    idempotency_key: Annotated[str | None, Header(description=_KEY)] = None,
    last_event_id: Annotated[str | None, Header(description=_LAST)] = None,
) -> _Again:
    return _Again(idempotency_key, position_of(last_event_id))


Again = Annotated[_Again, Depends(_again)]


@router.post(
    "/api/generate",
    responses=STREAM | shaped(AcceptedShape, 202) | READ_TO_THE_END,
    response_class=Response,
)
async def generate(request: Request, caller: Caller, again: Again, body: AskBody) -> Response:
    """Ask, and read the answer as it is made: server-sent events that end in `[DONE]`."""
    if body.streams is False:
        raise RunnelError(
            Code.INVALID_REQUEST,
            "/api/generate always streams; POST /chat answers in JSON.",
            field="stream",
        )
    return await _answered(request, caller, again, body, streams=True)


@public_router.get("/api/generate", include_in_schema=False)
async def generate_is_posted(request: Request) -> Response:
    """For whoever opens the address in a browser."""
    # Not the request's own URL: its prefix may have been taken off on the way, and it has a query.
    url = f"{request.base_url}api/generate"
    raise HTTPException(
        405,
        f"Ask with POST: curl -N {url} -H 'Authorization: Bearer TOKEN'"
        " -H 'Content-Type: application/json' -d '{\"prompt\": \"Hello\"}'",
        headers={"Allow": "POST"},
    )


@router.post(
    "/chat",
    response_class=Response,
    responses={
        200: {"model": AnswerShape, "content": {"application/json": {}} | STREAM[200]["content"]}
    }
    | shaped(AcceptedShape, 202)
    | READ_TO_THE_END,
)
async def chat(request: Request, caller: Caller, again: Again, body: AskBody) -> Response:
    """Ask, and get the answer whole as JSON; with `"stream": true`, as `/api/generate` does."""
    return await _answered(request, caller, again, body, streams=bool(body.streams))


async def _answered(
    request: Request, caller: Identity, again: _Again, body: AskBody, *, streams: bool
) -> Response:
    ask = body.to_ask(caller, again.key)
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
    if streams:
        dialect = dialect_of(body.format, ids=ask.key is not None)
        return await answering.stream(
            request, caller, generation, writing(dialect), after=again.after
        )
    return await answering.whole(request, caller, generation)
