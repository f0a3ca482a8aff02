"""A collector of traces: a real HTTP server that reads OTLP with the protocol's own classes."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Value = Any


@dataclass(frozen=True)
class Seen:
    """A span as it came; ids in hexadecimal digits."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Value]
    events: list[tuple[str, dict[str, Value]]]
    is_error: bool
    said: str


class Collector:
    """``status`` is what it answers next; 200 takes the spans. ``before`` runs ahead of it."""

    def __init__(self) -> None:
        self.status = 200
        self.before: Callable[[], object] = lambda: None
        self.spans: list[Seen] = []
        self.resources: list[dict[str, Value]] = []
        self.requests = 0
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.port = 0
        self._news = threading.Condition()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until(self, holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
        with self._news:
            assert self._news.wait_for(holds, timeout_s), f"the collector has {self.spans}"

    def wait_for(self, count: int) -> list[Seen]:
        self.wait_until(lambda: len(self.spans) >= count)
        return self.spans[:]

    def called(self, name: str) -> list[Seen]:
        return [span for span in self.spans if span.name == name]

    def took(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.before()
        with self._news:
            self.requests += 1
            self.paths.append(path)
            self.headers.append(headers)
            self.bodies.append(body)
            if self.status == 200:
                request = ExportTraceServiceRequest()
                request.ParseFromString(body)
                for ours in request.resource_spans:
                    self.resources.append(_attributes(ours.resource))
                    for scope in ours.scope_spans:
                        self.spans += [_seen(span) for span in scope.spans]
            self._news.notify_all()
            return self.status


@contextlib.contextmanager
def collecting(port: int = 0, collector: Collector | None = None) -> Iterator[Collector]:
    """Serve a collector on loopback; one that was stopped may be started again."""
    collector = collector or Collector()
    taking = collector

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = taking.took(self.path, headers, body)
            answer = ExportTraceServiceResponse().SerializeToString()
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True

    server = Server(("127.0.0.1", port), Handler)
    collector.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


def _seen(span: Span) -> Seen:
    return Seen(
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span),
        events=[(event.name, _attributes(event)) for event in span.events],
        is_error=span.status.code == 2,
        said=span.status.message,
    )


def _attributes(holder: Message) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in holder.attributes}


def _value(value: Any) -> Value:
    if value.WhichOneof("value") == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, value.WhichOneof("value"))
