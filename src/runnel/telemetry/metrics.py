"""Prometheus metrics of one server. Labels are bounded: no user, no id, no raw path."""

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


# They double the page, and what they tell is the time of the server's start.
disable_created_metrics()


class Metrics:
    """Counts what happens; `exposition` gives the page that Prometheus reads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "runnel_http_requests",
            "HTTP requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._errors = Counter(
            "runnel_errors", "Errors, by their code.", ("code",), registry=self._registry
        )
        self._generations = Counter(
            "runnel_generations",
            "Answers that ended, by how they ended.",
            ("status",),
            registry=self._registry,
        )

    def request(self, method: str, route: str, status: int) -> None:
        # A client may send any word as a method.
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()

    def error(self, code: str) -> None:
        self._errors.labels(code).inc()

    def generation_ended(self, status: str, error_code: str | None) -> None:
        self._generations.labels(status).inc()
        if error_code is not None:
            self.error(error_code)

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
