"""`/api/generations`: what has become of answers, following them, stopping them."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from runnel.chat.entities import Context, Generation, Status
from runnel.edge.closing import come_again, wants_json
from runnel.edge.deps import SIGNED_IN, AppParts, Caller
from runnel.edge.dialects.members import usage_members
from runnel.edge.dialects.sse import Format, dialect_of
from runnel.edge.http.event_stream import EventStream
from runnel.edge.http.following import Held
from runnel.edge.http.polling import poll
from runnel.edge.http.shapes import (
    READ_TO_THE_END,
    STREAM,
    ContextShape,
    GenerationShape,
    GenerationsShape,
    PollShape,
    error_members,
    shaped,
)
from runnel.edge.http.streaming import SseFrames
from runnel.edge.json import JsonResponse
from runnel.edge.positions import position_of
from runnel.edge.route import TicketRoute, UserRoute
from runnel.errors import Code, RunnelError

_MOST_WAIT_SECONDS: Final = 30
_MOST_A_PAGE: Final = 100

router = APIRouter(
    prefix="/api/generations",
    route_class=UserRoute,
    tags=["generations"],
    dependencies=[*SIGNED_IN],
)
reading = APIRouter(
    prefix="/api/generations",
    route_class=TicketRoute,
    tags=["generations"],
    dependencies=[*SIGNED_IN],
)


@router.get("", response_class=Response, responses=shaped(GenerationsShape))
async def list_generations(
    parts: AppParts,
    caller: Caller,
    status: Status | None = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_A_PAGE)] = 20,
    cursor: str | None = None,
) -> Response:
    """The own answers, newest first. A page may be shorter than `limit` where texts are long."""
    page, following = await parts.chat.generations(caller.user_id, status, cursor, limit)
    shown: GenerationsShape = {
        "generations": [_shown(generation) for generation in page],
        "next_cursor": following,
    }
    return JsonResponse(shown)


@router.get("/{generation_id}", response_class=Response, responses=shaped(GenerationShape))
async def get_generation(parts: AppParts, caller: Caller, generation_id: str) -> Response:
    """An answer's state, with its text exactly up to the position that it names."""
    return JsonResponse(_shown(await parts.chat.generation(caller.user_id, generation_id)))


@router.post(
    "/{generation_id}/abort",
    response_class=Response,
    responses=shaped(GenerationShape) | shaped(GenerationShape, 202),
)
async def abort_generation(parts: AppParts, caller: Caller, generation_id: str) -> Response:
    """Stops an answer for everyone; its text so far is kept. What has ended stays as it is.

    202 with the status `abort_requested` if its end is not confirmed yet.
    """
    generation = await parts.chat.abort(caller.user_id, generation_id)
    if generation.status.terminal:
        return JsonResponse(_shown(generation))
    return JsonResponse({**_shown(generation), "status": "abort_requested"}, 202)


@reading.get(
    "/{generation_id}/events",
    response_class=Response,
    responses={200: {"model": PollShape, "content": STREAM[200]["content"]}} | READ_TO_THE_END,
)
async def follow_generation(
    request: Request,
    parts: AppParts,
    caller: Caller,
    generation_id: str,
    *,
    form: Annotated[Format, Query(alias="format")] = "events",
    last_event_id: Annotated[
        str | None, Header(description="The position of the last event read.")
    ] = None,
    after: Annotated[
        str | None, Query(description="The same, for who cannot send the header.")
    ] = None,
    wait: Annotated[
        float, Query(ge=0, le=_MOST_WAIT_SECONDS, description="Seconds; for JSON only.")
    ] = 0,
    _ticket: Annotated[
        str | None, Query(alias="ticket", description="Of POST /api/tickets, or of a 202.")
    ] = None,
) -> Response:
    """Follow an answer from a position: what was missed, then live, to its end.

    As server-sent events; with `Accept: application/json` as one page of events, for which
    `wait` holds until there is news. A `ticket` stands for the header that EventSource cannot send.
    """
    position = position_of(last_event_id, after)
    polling = wants_json(request)
    try:
        follower = await parts.chat.attach(caller.user_id, generation_id, position, polling=polling)
    except RunnelError as error:
        if polling or error.code is not Code.SHUTTING_DOWN:
            raise
        return come_again()
    if polling:
        return await poll(request, caller, follower, wait)
    with Held(request, caller, follower) as held:
        if follower.finished:
            return Response(status_code=204)
        frames = SseFrames(dialect_of(form, ids=True))
        return EventStream(frames, (), follower, parts.settings, held.living_on().close)


def _shown(generation: Generation) -> GenerationShape:
    return {
        "generation_id": generation.id,
        "session_id": generation.session_id,
        "message_id": generation.message_id,
        "status": generation.status,
        "model": generation.model,
        "provider": generation.provider,
        "text": generation.text,
        "position": str(generation.position) if generation.position else None,
        "context": _context(generation.context),
        "usage": usage_members(generation.usage) if generation.usage else None,
        "finish_reason": generation.finish_reason,
        "error": generation.failure and error_members(generation.failure),
        "created_at": generation.created_at,
        "first_token_ms": generation.first_token_ms,
        "latency_ms": generation.latency_ms,
    }


def _context(context: Context | None) -> ContextShape | None:
    if context is None:
        return None
    return {
        "messages": context.messages,
        "left_out": context.left_out,
        "attachments_cut": context.attachments_cut,
        "attachments_left_out": context.attachments_left_out,
    }
