"""OpenTelemetry, for TRACING=true alone: a span a request, a span a generation, none a frame.

Where they go, and how many of them, the standard OTEL_… variables say. Needs the extra `tracing`.
"""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final

import structlog
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, Status, StatusCode

from runnel.chat.entities import Generation

_log = structlog.stdlib.get_logger()
Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: How long the end of the server waits for the last spans to be taken.
_CLOSE_SECONDS: Final = 5.0
_MOST_OF_A_PATH: Final = 512  # characters of it in a span
_KEPT: Final = "runnel.kept"
#: Of a request's headers spans may know these; who a request continues is told by further ones.
_SHOWN_HEADERS: Final = frozenset({"host", "user-agent", "content-length"})


class Tracing:
    """Spans of one server. `conceal` takes secrets out of paths; `close` sends what is left.

    Raises ValueError for an OTEL_… variable that says nothing.
    """

    def __init__(self, version: str, conceal: Callable[[str], str]) -> None:
        self._conceal = conceal
        # Not the process' own end but the server's sends the last of them.
        self._provider = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("runnel", version)

    def around(self, app: App) -> App:
        """The application, with a span around each HTTP request."""
        return _Traced(app, self._provider, self._conceal)

    def ended(self, generation: Generation, question: str) -> None:
        """A span for an answer that has just ended, below that of the request which asked."""
        del question
        end = time.time_ns()
        # A producer runs in the context of its request, also when that is long over.
        span = self._tracer.start_span(
            "generation",
            start_time=end - (generation.latency_ms or 0) * 1_000_000,
            attributes=_attributes(generation),
        )
        if generation.failure is not None:
            span.set_status(Status(StatusCode.ERROR, generation.failure.code))
        span.end(end)

    async def close(self) -> None:
        """Sends what is left, for a while at most."""
        loop = asyncio.get_running_loop()
        closed = asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(closed.set)

        # A thread that the end of the process does not wait for: a collector may hang.
        threading.Thread(target=shut_down, name="tracing-close", daemon=True).start()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await closed.wait()
        except TimeoutError:
            _log.warning("tracing.not_flushed")


class _Traced:
    """The instrumentation's layer, which is shown of each request only what a span may know."""

    def __init__(self, app: App, provider: TracerProvider, conceal: Callable[[str], str]) -> None:
        self._app = app
        self._conceal = conceal
        self._shown_headers = _SHOWN_HEADERS | propagate.get_global_textmap().fields
        self._layer = OpenTelemetryMiddleware(
            self._inside,
            tracer_provider=provider,
            meter_provider=NoOpMeterProvider(),
            exclude_spans=["receive", "send"],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        kept = _Kept(scope)
        await self._layer(self._shown(scope) | {_KEPT: kept}, receive, send)
        if kept.error is not None:
            raise kept.error

    def _shown(self, scope: Scope) -> dict[str, Any]:
        """Without the query, which may hold a ticket, and without who signs in."""
        headers = [
            (name, value)
            for name, value in scope["headers"]
            if name.decode("latin-1").lower() in self._shown_headers
        ]
        return dict(scope) | {
            "path": self._conceal(scope["path"])[:_MOST_OF_A_PATH],
            "query_string": b"",
            "headers": headers,
        }

    async def _inside(self, shown: Scope, receive: Receive, send: Send) -> None:
        kept: _Kept = shown[_KEPT]
        span = trace.get_current_span()

        async def naming(message: Message) -> None:
            if message["type"] == "http.response.start":  # by now it is known which route it is
                _name(span, kept.scope)
            await send(message)

        try:
            await self._app(kept.scope, receive, naming)
        except Exception as error:  # noqa: BLE001 - raised again outside: its words may be secret
            span.set_status(Status(StatusCode.ERROR))
            kept.error = error


class _Kept:
    """The request as it came, past the layer that sees less of it; and what it raised."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.error: Exception | None = None


def _name(span: Span, scope: Scope) -> None:
    route = getattr(scope.get("route"), "path", None)
    if route is not None:
        span.update_name(f"{scope['method']} {route}")
        span.set_attribute("http.route", route)


def _resource(version: str) -> Resource:
    named = "OTEL_SERVICE_NAME" in os.environ or SERVICE_NAME in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    return Resource.create({SERVICE_VERSION: version} | ({} if named else {SERVICE_NAME: "runnel"}))


def _attributes(generation: Generation) -> dict[str, str | int | float]:
    usage = generation.usage
    failure = generation.failure
    attributes = {
        "runnel.generation_id": generation.id,
        "runnel.alias": generation.model,
        "runnel.provider": generation.provider,
        "runnel.model": generation.provider_model,
        "runnel.status": generation.status.value,
        "runnel.finish_reason": generation.finish_reason,
        "runnel.error_code": failure and failure.code.value,
        "runnel.first_token_ms": generation.first_token_ms,
        "runnel.prompt_tokens": usage and usage.prompt_tokens,
        "runnel.completion_tokens": usage and usage.completion_tokens,
        "runnel.cost": usage and usage.cost,
    }
    return {name: value for name, value in attributes.items() if value is not None}
