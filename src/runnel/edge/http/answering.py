"""Delivers the answer to a question: as a stream, whole as JSON, or by an address to read it at."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from fastapi import Request
from starlette.responses import Response

from runnel.accounts.entities import Identity
from runnel.chat.entities import Ask, Generation, Status
from runnel.chat.following import Follower
from runnel.edge.answer_headers import add_headers
from runnel.edge.clients import client_of
from runnel.edge.dialects.members import usage_members
from runnel.edge.dialects.sse import Format
from runnel.edge.http.event_stream import EventStream
from runnel.edge.http.following import Held
from runnel.edge.http.shapes import AcceptedShape, AnswerShape
from runnel.edge.http.streaming import Frames
from runnel.edge.json import JsonResponse
from runnel.edge.parts import parts_of
from runnel.edge.paths import generation_path
from runnel.edge.route import sign_in
from runnel.errors import Code, RunnelError
from runnel.events import Batch, Failed, Position, Reset, Start, ToolCall

#: nginx's word for a client that has gone; nobody gets it, but the log and the metrics tell.
_CLIENT_LEFT = 499

Beside = ToolCall | Reset
#: Shows a whole answer, given its row, and what was told besides the text.
Show = Callable[[Generation, Sequence[Beside]], object]


async def ask(request: Request, question: Ask) -> Generation:
    """Asks, and gives the answer's headers the ids, whatever becomes of it."""
    generation = await parts_of(request).chat.ask(replace(question, client=client_of(request)))
    add_headers(
        request.scope,
        {
            "X-Session-Id": generation.session_id,
            "X-Message-Id": generation.message_id,
            "X-User-Message-Id": generation.user_message_id,
            "X-Generation-Id": generation.id,
        },
    )
    return generation


async def stream(
    request: Request,
    caller: Identity,
    generation: Generation,
    frames: Frames,
    *,
    after: Position | None = None,
    only_reader: bool = False,
) -> Response:
    """The answer as a stream. A fault known before the first token is raised instead.

    204 if the client has read it to its end before. `only_reader`: nobody else can read it, so
    that it is aborted as soon as the reading ends, whoever ends it.
    """
    parts = parts_of(request)
    follower = await parts.chat.follow(generation, after)
    at_end = partial(parts.chat.abandon, generation) if only_reader else None
    with Held(request, caller, follower, at_end=at_end) as held:
        if follower.finished:
            return Response(status_code=204)
        first = await _first_batches(follower, parts.settings.headers_after_seconds)
        if follower.left:
            return Response(status_code=_CLIENT_LEFT)
        if after is None and _failed_at_once(first):
            raise _failure(await parts.chat.generation(caller.user_id, generation.id))
        give_back = held.living_on().close
        return EventStream(frames, first, follower, parts.settings, give_back)


async def whole(
    request: Request,
    caller: Identity,
    generation: Generation,
    show: Show | None = None,
    *,
    only_reader: bool = False,
) -> Response:
    """The answer as one JSON object, when it has ended. `only_reader`: as of a stream."""
    parts = parts_of(request)
    follower = await parts.chat.follow(generation, whole=True)
    at_end = partial(parts.chat.abandon, generation) if only_reader else None
    with Held(request, caller, follower, kind="whole", at_end=at_end):
        beside = await _beside_the_text(follower)
        client_left = follower.left
    if client_left:
        return Response(status_code=_CLIENT_LEFT)
    ended = follower.outcome or await parts.chat.generation(caller.user_id, generation.id)
    if not ended.status.terminal:
        await sign_in(request)  # the reader is closed for whoever may not read any more
        raise RunnelError(
            Code.STREAM_UNAVAILABLE,
            "The end of the answer is not stored yet. Get it by its generation_id.",
            facts={"generation_id": ended.id},
        )
    if ended.failure is not None:
        raise _failure(ended)
    return JsonResponse(show(ended, beside) if show else _answer(ended))


def accepted(request: Request, caller: Identity, generation: Generation, form: Format) -> Response:
    """202 at once: where to read the answer, and where to abort it."""
    ticket = parts_of(request).tickets.issue(caller, generation.id)
    path = generation_path(request.scope, generation.id)
    shown: AcceptedShape = {
        "generation_id": generation.id,
        "session_id": generation.session_id,
        "message_id": generation.message_id,
        "user_message_id": generation.user_message_id,
        "status": generation.status,
        "events_url": f"{path}/events?ticket={ticket}&format={form}",
        "abort_url": f"{path}/abort",
        "ticket": ticket,
    }
    return JsonResponse(shown, 202)


async def _beside_the_text(follower: Follower) -> list[Beside]:
    """What an answer tells that its row does not keep, from the last `reset` on, to its end."""
    kept: list[Beside] = []
    while batches := await follower.next():
        for batch in batches:
            for event in batch.events:
                if isinstance(event, Reset):
                    kept = [event]
                elif isinstance(event, ToolCall):
                    kept.append(event)
    return kept


async def _first_batches(follower: Follower, seconds: float) -> list[Batch]:
    """What there is once something beyond `start` is there, or after so many seconds."""
    first: list[Batch] = []
    try:
        async with asyncio.timeout(seconds):
            while batches := await follower.next():
                first += batches
                if not isinstance(batches[-1].events[-1], Start):
                    break
    except TimeoutError:
        pass
    return first


def _failed_at_once(first: Sequence[Batch]) -> bool:
    events = [event for batch in first for event in batch.events]
    # An answer that was interrupted before it said anything is told by its row as no text, and
    # the end.
    beyond = [event for event in events if not isinstance(event, Start) and event != Reset("")]
    return bool(beyond) and isinstance(beyond[0], Failed)


def _failure(ended: Generation) -> RunnelError:
    assert ended.failure is not None
    return RunnelError(
        ended.failure.code,
        ended.failure.message,
        retryable=ended.failure.retryable,
        retry_after=ended.failure.retry_after,
        facts={"generation_id": ended.id, "text": ended.text},
    )


def _answer(ended: Generation) -> AnswerShape:
    aborted = ended.status is Status.ABORTED
    return {
        "generation_id": ended.id,
        "session_id": ended.session_id,
        "message_id": ended.message_id,
        "user_message_id": ended.user_message_id,
        "text": ended.text,
        "model": ended.model,
        "provider": ended.provider,
        "provider_model": ended.provider_model,
        "finish_reason": "aborted" if aborted else ended.finish_reason,
        "usage": usage_members(ended.usage) if ended.usage else None,
        "latency_ms": ended.latency_ms,
        "first_token_ms": ended.first_token_ms,
    }
