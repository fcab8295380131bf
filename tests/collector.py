"""A stand-in for an OpenTelemetry collector: OTLP over real HTTP, on loopback."""

import gzip
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from typing_extensions import override


@dataclass(frozen=True, slots=True)
class Seen:
    """A span as it came over the wire; times in nanoseconds, ids in hexadecimal."""

    name: str
    span_id: str
    parent_id: str
    trace_id: str
    began: int
    ended: int
    failed: bool
    attributes: dict[str, Any]
    service: str


class Collector:
    """`spans` are all that came so far, `raw` their bytes; closed `gate`: no request is answered."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.raw = b""
        self.paths: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.url = ""

    def take(self, path: str, body: bytes) -> None:
        self.paths.add(path)
        self.raw += body
        asked = ExportTraceServiceRequest.FromString(body)
        for resource in asked.resource_spans:
            named = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [_seen(span, named["service.name"]) for span in scope.spans]

    def named(self, name: str) -> list[Seen]:
        return [span for span in self.spans if span.name == name]


def _seen(span: Any, service: str) -> Seen:
    def value(of: Any) -> object:
        return getattr(of, of.WhichOneof("value"))

    return Seen(
        span.name,
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.trace_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == 2,
        {pair.key: value(pair.value) for pair in span.attributes},
        service,
    )


@contextmanager
def collecting() -> Generator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.gate.wait(30)
            collector.take(self.path, body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            """It says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield collector
        finally:
            collector.gate.set()
            server.shutdown()
            thread.join()
