"""Records the spans with OpenTelemetry and sends them by OTLP over HTTP. No other module imports OpenTelemetry.

A separate thread sends the spans. If the endpoint is slow or does not answer, spans wait in a queue of limited size,
and the oldest ones are dropped. Nothing else waits for the endpoint.
"""

import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import INVALID_SPAN_CONTEXT, Link, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from typing_extensions import override

from runtime.tracing.settings import TracingSettings

Headers = Iterable[tuple[str, bytes | None]]
Attributes = Mapping[str, str | int | float | bool | None]

_HEADER: Final = "traceparent"
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_MAX_HEADER_LENGTH: Final = 200
_TIMEOUT_SECONDS: Final = 5.0
_QUEUE: Final = 4096
"""The maximum number of spans that wait for sending. Each needs about 3 KB of memory."""
_BATCH: Final = 512
_MAX_ATTRIBUTE_LENGTH: Final = 200
_INHERITED: Final = ("run_id", "exchange", "symbol", "timeframe")

_trace_id: ContextVar[int] = ContextVar("trace_id")
_request: ContextVar["RequestSpans"] = ContextVar("request_spans")


def build_tracer(settings: TracingSettings, service: str) -> "RunTracer":
    """A tracer that sends to the endpoint of the settings."""
    exporter = OTLPSpanExporter(
        endpoint=f"{settings.otel_exporter_otlp_endpoint}/v1/traces",
        headers=settings.otlp_headers,
        timeout=_TIMEOUT_SECONDS,
    )
    return RunTracer(exporter, service, settings.otel_traces_sampler_arg)


class _RunIds(RandomIdGenerator):
    """Generates ids. The trace id of a new trace is the run id; span ids are random."""

    @override
    def generate_trace_id(self) -> int:
        return _trace_id.get()


class RunSampler(TraceIdRatioBased):
    """Selects a share of the runs by the run id. So all processes select the same runs."""

    TRACE_ID_LIMIT = (1 << 56) - 1
    """OpenTelemetry selects traces by the last 64 bits of the id, but the first two of these bits are the same in every
    UUID. So this sampler uses the last 56 bits, which are random, as W3C's Trace Context Level 2 requires.
    """


class RunTracer:
    """Records spans in the traces of runs."""

    def __init__(self, exporter: SpanExporter, service: str, share: float = 1.0) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(RunSampler(share)),
            resource=Resource.create({"service.name": service, "service.instance.id": socket.gethostname()}),
            shutdown_on_exit=False,  # otherwise the exit would wait up to 30 s for the endpoint
            id_generator=_RunIds(),
            span_limits=SpanLimits(max_attribute_length=_MAX_ATTRIBUTE_LENGTH),
        )
        self._processor = BatchSpanProcessor(exporter, max_queue_size=_QUEUE, max_export_batch_size=_BATCH)
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("candlekeep")
        self.now_ns = time.time_ns

    def close(self) -> None:
        """Send the remaining spans. May take long if the endpoint does not answer."""
        self._provider.shutdown()

    def flush(self) -> None:
        """Send all spans that have ended."""
        self._provider.force_flush()

    def start(
        self,
        name: str,
        run_id: UUID,
        kind: SpanKind,
        *,
        parent: SpanContext = INVALID_SPAN_CONTEXT,
        attributes: Attributes | None = None,
        started_ns: int | None = None,
        links: Sequence[Link] = (),
    ) -> Span:
        """A span in the trace of the run. It is a child of `parent` or of the current span, if that span belongs to the
        same run.
        """
        candidates = (parent, trace.get_current_span().get_span_context())
        above = next((each for each in candidates if each.is_valid and each.trace_id == run_id.int), None)
        context = Context() if above is None else trace.set_span_in_context(trace.NonRecordingSpan(above), Context())
        token = _trace_id.set(run_id.int)
        try:
            return self._tracer.start_span(
                name,
                context,
                kind,
                attributes=_present({"run_id": str(run_id), **(attributes or {})}),
                links=links,
                start_time=started_ns,
            )
        finally:
            _trace_id.reset(token)

    @contextmanager
    def handling(self, name: str, run_id: UUID, headers: Headers, attributes: Attributes) -> Iterator[None]:
        """A span that is the current one inside the block."""
        span = self.start(name, run_id, SpanKind.CONSUMER, parent=_parent_in(headers), attributes=attributes)
        with _current(span):
            yield

    @contextmanager
    def part(self, name: str, attributes: Attributes) -> Iterator[None]:
        """A child of the current span, with the same run, exchange, symbol and timeframe. If there is no current span,
        nothing is recorded.
        """
        above = trace.get_current_span()
        if not above.get_span_context().is_valid:
            yield
            return
        facts = above.attributes or {} if isinstance(above, ReadableSpan) else {}
        same = {each: facts[each] for each in _INHERITED if each in facts}
        with _current(self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes={**same, **_present(attributes)})):
            yield

    def annotate(self, attributes: Attributes) -> None:
        """Add attributes to the current span."""
        trace.get_current_span().set_attributes(_present(attributes))

    @contextmanager
    def sending(self, topic: str, run_ids: Iterable[UUID | None]) -> Iterator[Mapping[UUID | None, dict[str, str]]]:
        """One span per run, which ends with the block."""
        spans: dict[UUID | None, Span] = {
            run_id: self.start(f"send {topic}", run_id, SpanKind.PRODUCER, attributes=_to(topic))
            for run_id in dict.fromkeys(run_ids)
            if run_id is not None
        }
        with _ending(spans.values()):
            yield {run_id: _headers_of(span) for run_id, span in spans.items()}

    @contextmanager
    def forwarding(self, messages: Sequence[tuple[str, dict[str, str]]]) -> Iterator[Sequence[dict[str, str]]]:
        """One span per message with a valid `traceparent`. They end with the block."""
        spans: list[Span] = []
        forwarded = []
        for topic, headers in messages:
            parent = _parent_in((name, value.encode()) for name, value in headers.items())
            if parent.is_valid:
                run_id = UUID(int=parent.trace_id)
                span = self.start(f"send {topic}", run_id, SpanKind.PRODUCER, parent=parent, attributes=_to(topic))
                spans.append(span)
                forwarded.append({**headers, **_headers_of(span)})
            else:
                forwarded.append(headers)
        with _ending(spans):
            yield forwarded

    def record(
        self, name: str, run_id: UUID, headers: Headers, attributes: Attributes, started_ns: int, failed: str
    ) -> None:
        """A span that ends now."""
        span = self.start(
            name,
            run_id,
            SpanKind.CONSUMER,
            parent=_parent_in(headers),
            attributes={**attributes, "error.type": failed or None},
            started_ns=started_ns or None,
        )
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    @contextmanager
    def calling(self, traceparent: str | None) -> Iterator["RequestSpans"]:
        """The context of an API request. `traceparent` is the header of the caller."""
        caller = _parent_in([(_HEADER, traceparent.encode())] if traceparent else ())
        request = RequestSpans(self, self.now_ns(), (Link(caller),) if caller.is_valid else ())
        token = _request.set(request)
        try:
            with _ending(request.spans.values()):
                yield request
        finally:
            _request.reset(token)

    def headers_of_call(self, run_id: UUID) -> dict[str, str]:
        """Headers for the message that starts the run. Empty outside of a request."""
        request = _request.get(None)
        return {} if request is None else _headers_of(request.span_of(run_id))


@dataclass
class RequestSpans:
    """The spans of one API request, one in the trace of each run that it starts."""

    tracer: RunTracer
    started_ns: int
    links: Sequence[Link]
    spans: dict[UUID, Span] = field(default_factory=dict)

    def span_of(self, run_id: UUID) -> Span:
        if run_id not in self.spans:
            self.spans[run_id] = self.tracer.start(
                "API request", run_id, SpanKind.SERVER, started_ns=self.started_ns, links=self.links
            )
        return self.spans[run_id]

    def describe(self, method: str, route: str, status: int, request_id: str | None) -> None:
        """Add the method, the route, the status and the request id to the spans. Call this when the response has
        started.
        """
        attributes: Attributes = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "request_id": request_id,
        }
        for span in self.spans.values():
            span.update_name(f"{method} {route}")
            span.set_attributes(_present(attributes))
            if status >= 500:  # noqa: PLR2004 -- server errors
                span.set_status(Status(StatusCode.ERROR))


@contextmanager
def _current(span: Span) -> Iterator[None]:
    """Makes the span the current one, and ends it. Only the class of an exception is recorded, because its text may
    contain a URL or a credential.
    """
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except BaseException as error:
            _fail(span, error)
            raise


@contextmanager
def _ending(spans: Iterable[Span]) -> Iterator[None]:
    """Ends the spans at the end of the block. `spans` may grow inside the block."""
    try:
        yield
    except BaseException as error:
        for span in spans:
            _fail(span, error)
        raise
    finally:
        for span in spans:
            span.end()


def _fail(span: Span, error: BaseException) -> None:
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", type(error).__name__)


def _to(topic: str) -> Attributes:
    return {"messaging.system": "kafka", "messaging.destination.name": topic, "messaging.operation.type": "send"}


def _present(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in attributes.items() if value is not None}


def _headers_of(span: Span) -> dict[str, str]:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span, Context()))
    return {name: value for name, value in carrier.items() if name == _HEADER}


def _parent_in(headers: Headers) -> SpanContext:
    """The context of the span that the headers name. It is not valid if the header is missing or malformed."""
    value = next((value for name, value in headers if name == _HEADER), None)
    if not value or len(value) > _MAX_HEADER_LENGTH:
        return INVALID_SPAN_CONTEXT
    carrier = {_HEADER: value.decode("ascii", errors="replace")}
    return trace.get_current_span(_PROPAGATOR.extract(carrier, Context())).get_span_context()
