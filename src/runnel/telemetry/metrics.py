"""Prometheus metrics of one server. Labels are bounded: no user, no id, no raw path."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final, Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from runnel.chat.entities import Generation, Status
from runnel.telemetry.counting import Buckets, Counts
from runnel.telemetry.runs import Loss
from runnel.telemetry.traffic import USER_CLASSES, UserClass

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Who follows an answer: a stream of events, a long poll, or who waits for all of it.
Connection = Literal["stream", "poll", "whole", "websocket"]

#: Seconds. Local models speak every few milliseconds, reasoning ones are silent for a minute.
_GAPS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_FIRST_TOKENS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LATENCIES: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)

# They double the page, and what they tell is the time of the server's start.
disable_created_metrics()


class Metrics:
    """Implements chat.ports.Observer; `exposition` gives the page that Prometheus reads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter(
            "http_requests", "HTTP requests answered.", "method", "route", "status"
        )
        self._socket_closes = self._counter(
            "websockets_closed", "WebSockets closed, by the client or with which code.", "by"
        )
        self._errors = self._counter("errors", "Errors, by their code.", "code")
        self._generations = self._counter(
            "generations", "Answers that ended, by how they ended.", "status"
        )
        self._aborts = self._counter("aborts", "Answers that were aborted, by whom.", "by")
        self._interruptions = self._counter(
            "interruptions", "Answers that the server broke off, by why.", "reason"
        )
        self._resumes = self._counter("resumes", "Readers who came back with a position.")
        self._resets = self._counter(
            "resets", "Readers who were given the whole text anew, by why.", "reason"
        )
        self._retries = self._counter(
            "upstream_retries", "Questions put to a provider again, by what it said.", "code"
        )
        self._passed_on = self._counter(
            "fallbacks",
            "Answers that another model was asked for, by whom in vain.",
            "model",
            "code",
        )
        self._tokens = self._counter("tokens", "Tokens of questions and answers.", "model", "kind")
        self._cost = self._counter("cost", "What answers cost, in what prices are in.", "model")
        self._gaps = Buckets(
            "runnel_inter_token_seconds", "From one piece of an answer to the next.", "model", _GAPS
        )
        self._registry.register(self._gaps)
        self._first_tokens = _Bound(
            self._histogram("first_token", "From a question to its first token.", _FIRST_TOKENS)
        )
        self._latencies = _Bound(
            self._histogram("latency", "From a question to the end of its answer.", _LATENCIES)
        )
        self._connections = self._connection_gauges()
        self.bytes_sent = self._byte_counters()
        self._lost_lines = self._counter(
            "run_log_lines_lost", "Lines of the run log that were not written, by why.", "reason"
        )
        for reason in get_args(Loss):
            self._lost_lines.labels(reason)

    def gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Shows a number that is asked for whenever the page is read."""
        Gauge(f"runnel_{name}", what, registry=self._registry).set_function(value)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"runnel_{name}", what, labels, registry=self._registry)

    def _histogram(self, name: str, what: str, seconds: tuple[float, ...]) -> Histogram:
        name = f"runnel_{name}_seconds"
        return Histogram(name, what, ["model"], buckets=seconds, registry=self._registry)

    def _connection_gauges(self) -> Mapping[Connection, Gauge]:
        gauge = Gauge(
            "runnel_active_connections",
            "Connections that follow an answer, and all WebSockets.",
            ["kind"],
            registry=self._registry,
        )
        kinds: tuple[Connection, ...] = get_args(Connection)
        return {kind: gauge.labels(kind) for kind in kinds}

    def _byte_counters(self) -> Mapping[UserClass, Callable[[int], None]]:
        counts = Counts(
            "runnel_bytes_sent", "Bytes of answers' bodies.", "user_class", USER_CLASSES
        )
        self._registry.register(counts)
        return {kind: counts.adding(kind) for kind in USER_CLASSES}

    def request(self, method: str, route: str, status: int) -> None:
        # A client may send any word as a method.
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()

    def socket_closed(self, by: str) -> None:
        """A WebSocket was closed, `by` the client or with a code of the server's."""
        self._socket_closes.labels(by).inc()

    def error(self, code: str) -> None:
        self._errors.labels(code).inc()

    def ended(self, generation: Generation, question: str) -> None:
        del question
        self.spent(generation)
        if generation.first_token_ms is not None:
            self._first_tokens[generation.model](generation.first_token_ms / 1000)
        if generation.latency_ms is not None:
            self._latencies[generation.model](generation.latency_ms / 1000)
        self._generations.labels(generation.status).inc()
        if generation.failure is not None:
            self.error(generation.failure.code)
        if generation.status is Status.ABORTED:
            self._aborts.labels(generation.aborted_by).inc()
        if generation.status is Status.INTERRUPTED:
            self.interrupted("shutdown", 1)

    def spent(self, generation: Generation) -> None:
        """Counts an answer's tokens and cost alone: of one that ended elsewhere, or in a crash."""
        usage = generation.usage
        if usage is None:
            return
        self._tokens.labels(generation.model, "prompt").inc(usage.prompt_tokens)
        self._tokens.labels(generation.model, "completion").inc(usage.completion_tokens)
        if usage.cost is not None:
            self._cost.labels(generation.model).inc(usage.cost)

    def connected(self, kind: Connection) -> AbstractContextManager[None, None]:
        """Inside, a connection of that kind is open."""
        return _Connected(self._connections[kind])

    def line_lost(self, reason: Loss) -> None:
        self._lost_lines.labels(reason).inc()

    def interrupted(self, reason: Literal["shutdown", "crash"], answers: int) -> None:
        self._interruptions.labels(reason).inc(answers)

    def resumed(self) -> None:
        self._resumes.inc()

    def reset(self, reason: str) -> None:
        self._resets.labels(reason).inc()

    def retried(self, code: str) -> None:
        self._retries.labels(code).inc()

    def waited(self, model: str, seconds: float) -> None:
        self._gaps.observe(model, seconds)

    def passed_on(self, model: str, code: str) -> None:
        self._passed_on.labels(model, code).inc()

    def exposition(self) -> bytes:
        return generate_latest(self._registry)


class _Connected:
    """One for each stream that is open: a generator would be heavier."""

    __slots__ = ("_gauge",)

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge

    def __enter__(self) -> None:
        self._gauge.inc()

    def __exit__(self, *_: object) -> None:
        self._gauge.dec()


class _Bound(dict[str, Callable[[float], None]]):
    """A histogram's way to count for each model, found once."""

    def __init__(self, histogram: Histogram) -> None:
        super().__init__()
        self._histogram = histogram

    def __missing__(self, model: str) -> Callable[[float], None]:
        self[model] = observe = self._histogram.labels(model).observe
        return observe
