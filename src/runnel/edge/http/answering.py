"""Delivers an answer over HTTP: as a stream of server-sent events, or whole, as JSON."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack

import structlog
from fastapi import Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from runnel.accounts.entities import Identity
from runnel.chat.entities import Ask, Generation, Status
from runnel.chat.ports import LogReader
from runnel.edge.answer_headers import add_headers
from runnel.edge.dialects.members import usage_members
from runnel.edge.dialects.sse import SseDialect, encode, retry_line
from runnel.edge.http.shapes import AnswerShape
from runnel.edge.json import JsonResponse
from runnel.edge.parts import Parts, parts_of
from runnel.edge.route import sign_in
from runnel.errors import Code, RunnelError
from runnel.events import Batch, Failed, Start
from runnel.settings import Settings

_log = structlog.stdlib.get_logger()


class AnswerStream(EventSourceResponse):
    """One answer as server-sent events. Closing it, however it comes, only detaches."""

    def __init__(
        self,
        first: Sequence[Batch],
        reader: LogReader,
        dialect: SseDialect,
        settings: Settings,
        held: ExitStack,
    ) -> None:
        self._first = first
        self._reader = reader
        self._dialect = dialect
        self._held = held
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - its dict has no types
            self._frames(),
            ping=settings.heartbeat_seconds,
            ping_message_factory=_heartbeat,
            send_timeout=settings.send_timeout_seconds,
            sep="\n",
            headers={"Cache-Control": "no-cache, no-transform"},
        )

    async def _frames(self) -> AsyncGenerator[bytes]:
        yield retry_line() + encode(self._dialect, self._first)
        batches = self._first
        while not (batches and batches[-1].events[-1].terminal):
            batches = await self._reader.next()
            if not batches:
                return  # closed by us: without an end, so that the client attaches again
            yield encode(self._dialect, batches)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            try:
                await super().__call__(scope, receive, send)
            except SendTimeoutError:
                _log.info("reader.stalled")


def _heartbeat() -> ServerSentEvent:
    return ServerSentEvent(comment="heartbeat", sep="\n")


async def ask(request: Request, question: Ask) -> Generation:
    """Asks, and gives the answer's headers the ids, whatever becomes of it."""
    generation = await parts_of(request).chat.ask(question)
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
    request: Request, caller: Identity, generation: Generation, dialect: SseDialect
) -> Response:
    """The answer as a stream. A fault known before the first token is raised instead."""
    parts = parts_of(request)
    with ExitStack() as held:
        reader = _follow(parts, caller, generation, held)
        first = await _first_batches(reader, parts.settings.headers_after_seconds)
        failure = _failed_at_once(first)
        if failure is not None:
            ended = await parts.chat.generation(caller.user_id, generation.id)
            raise _failure(ended)
        return AnswerStream(first, reader, dialect, parts.settings, held.pop_all())
    raise AssertionError  # ExitStack swallows nothing


async def whole(request: Request, caller: Identity, generation: Generation) -> Response:
    """The answer as one JSON object, when it has ended."""
    parts = parts_of(request)
    with ExitStack() as held:
        reader = _follow(parts, caller, generation, held)
        while batches := await reader.next():
            if batches[-1].events[-1].terminal:
                break
    ended = await parts.chat.generation(caller.user_id, generation.id)
    if not ended.status.terminal:
        await sign_in(request)  # the reader is closed for whoever may not read any more
        raise RunnelError(
            Code.STREAM_UNAVAILABLE,
            "The end of the answer is not stored yet. Get it by its generation_id.",
            facts={"generation_id": ended.id},
        )
    if ended.failure is not None:
        raise _failure(ended)
    return JsonResponse(_answer(ended))


def _follow(parts: Parts, caller: Identity, generation: Generation, held: ExitStack) -> LogReader:
    reader = parts.chat.attach(generation.id)
    held.callback(reader.close)
    held.enter_context(parts.watch.holding(caller, reader.close))
    return reader


async def _first_batches(reader: LogReader, seconds: float) -> list[Batch]:
    """What there is once something beyond `start` is there, or after so many seconds."""
    first: list[Batch] = []
    try:
        async with asyncio.timeout(seconds):
            while batches := await reader.next():
                first += batches
                if not isinstance(batches[-1].events[-1], Start):
                    break
    except TimeoutError:
        pass
    return first


def _failed_at_once(first: Sequence[Batch]) -> Failed | None:
    events = [event for batch in first for event in batch.events]
    beyond = [event for event in events if not isinstance(event, Start)]
    return beyond[0] if beyond and isinstance(beyond[0], Failed) else None


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
