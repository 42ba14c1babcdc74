"""An OpenTelemetry endpoint on this machine, and the spans that it has received."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from typing_extensions import override

from runtime.tracing.exporter import RunTracer
from runtime.tracing.spans import using


@dataclass(frozen=True)
class ReceivedSpan:
    service: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for a span without a parent."""
    name: str
    attributes: dict[str, Any]
    start_ns: int
    end_ns: int
    links: tuple[str, ...]
    """The trace ids of linked spans."""

    @property
    def step(self) -> str:
        return f"{self.service}: {self.name}"


@dataclass
class TraceEndpoint:
    """The spans that the endpoint has received."""

    url: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    """The HTTP headers of each request, with names in lower case."""

    def trace_of(self, run_id: object) -> list[ReceivedSpan]:
        """The spans of a run, in the order in which they started."""
        trace_id = UUID(str(run_id)).hex
        return sorted((span for span in list(self.spans) if span.trace_id == trace_id), key=lambda span: span.start_ns)


@contextmanager
def receiving_traces() -> Iterator[TraceEndpoint]:
    """An OTLP endpoint on a free port of the loopback interface."""
    endpoint = TraceEndpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            endpoint.headers.append({name.lower(): value for name, value in self.headers.items()})
            endpoint.spans.extend(_spans_of(ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        @override
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    endpoint.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()


def _spans_of(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for resource in request.resource_spans:
        service = _values(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    service=service,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    name=span.name,
                    attributes=_values(span.attributes),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    links=tuple(link.trace_id.hex() for link in span.links),
                )


def _values(attributes: Iterable[Any]) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@dataclass(frozen=True)
class RecordedSpans:
    """The spans of this process."""

    tracer: RunTracer
    exporter: InMemorySpanExporter

    def ended(self) -> list[ReadableSpan]:
        """In the order of their ends."""
        self.tracer.flush()
        return list(self.exporter.get_finished_spans())

    def clear(self) -> None:
        self.exporter.clear()


@contextmanager
def recording_spans(share: float = 1.0) -> Iterator[RecordedSpans]:
    """Tracing is on in the block, and spans stay in memory."""
    exporter = InMemorySpanExporter()
    tracer = RunTracer(exporter, "a-service", share)
    with using(tracer):
        yield RecordedSpans(tracer, exporter)
    tracer.close()
