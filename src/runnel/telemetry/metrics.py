"""Prometheus metrics of one server. Labels are bounded: no user, no id, no raw path."""

from collections.abc import Callable
from typing import Final, Literal

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

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


# They double the page, and what they tell is the time of the server's start.
disable_created_metrics()


class Metrics:
    """Implements chat.ports.Observer; `exposition` gives the page that Prometheus reads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter(
            "http_requests", "HTTP requests answered.", "method", "route", "status"
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
        self._gaps = Histogram(
            "runnel_inter_token_seconds",
            "From one piece of an answer to the next.",
            ["model"],
            registry=self._registry,
        )

    def gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Shows a number that is asked for whenever the page is read."""
        Gauge(f"runnel_{name}", what, registry=self._registry).set_function(value)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"runnel_{name}", what, labels, registry=self._registry)

    def request(self, method: str, route: str, status: int) -> None:
        # A client may send any word as a method.
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()

    def error(self, code: str) -> None:
        self._errors.labels(code).inc()

    def ended(self, generation: Generation, question: str) -> None:
        del question
        self._generations.labels(generation.status).inc()
        if generation.failure is not None:
            self.error(generation.failure.code)
        if generation.status is Status.ABORTED:
            self._aborts.labels(generation.aborted_by).inc()
        if generation.status is Status.INTERRUPTED:
            self.interrupted("shutdown", 1)

    def interrupted(self, reason: Literal["shutdown", "crash"], answers: int) -> None:
        self._interruptions.labels(reason).inc(answers)

    def resumed(self) -> None:
        self._resumes.inc()

    def reset(self, reason: str) -> None:
        self._resets.labels(reason).inc()

    def retried(self, code: str) -> None:
        self._retries.labels(code).inc()

    def waited(self, model: str, seconds: float) -> None:
        self._gaps.labels(model).observe(seconds)

    def passed_on(self, model: str, code: str) -> None:
        self._passed_on.labels(model, code).inc()

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
