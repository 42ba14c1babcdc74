"""The spans that services record. While tracing is off, each function returns at once.

A span belongs to the trace of its run. Its parent is the span in the message's header `traceparent`, otherwise the
current span of the task. If neither belongs to this run, the span has no parent. So an invalid header only changes how
the trace is displayed.

Attributes are facts about runs, never URLs, credentials or texts of errors: those may contain credentials.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

    from runtime.tracing.exporter import RequestSpans, RunTracer
    from runtime.tracing.settings import TracingSettings

Value = str | int | float | bool | None
"""The value of an attribute. If it is None, the span does not get the attribute."""

STOP_SECONDS: Final = 2.0
"""How long a stopping process waits for the endpoint. Spans that were not sent by then are lost."""


_NO_HEADERS: Final[dict[UUID | None, dict[str, str]]] = {}


_FACTS: Final = ("config_id", "exchange", "symbol", "timeframe", "trigger", "status", "error_class")
"""Fields of events that become attributes."""


@dataclass
class _Process:
    tracer: RunTracer | None = None


_process: Final = _Process()
"""One tracer per process, so that a span needs no parameter through every layer."""


def start_tracing(settings: TracingSettings, service: str) -> bool:
    """Trace runs from now on, if an endpoint is set. Returns whether an endpoint is set."""
    if not settings.otel_exporter_otlp_endpoint:
        return False
    from runtime.tracing.exporter import build_tracer  # noqa: PLC0415 -- costs nothing while tracing is off

    _process.tracer = build_tracer(settings, service)
    return True


def stop_tracing(seconds: float = STOP_SECONDS) -> bool:
    """Send the remaining spans, at most for `seconds`. Returns whether the exporter has ended by then."""
    tracer, _process.tracer = _process.tracer, None
    if tracer is None:
        return True
    closing = threading.Thread(target=tracer.close, name="stop tracing", daemon=True)
    closing.start()
    closing.join(seconds)
    return not closing.is_alive()


@contextmanager
def using(tracer: RunTracer) -> Iterator[None]:
    """Trace runs with `tracer` inside the block."""
    before, _process.tracer = _process.tracer, tracer
    try:
        yield
    finally:
        _process.tracer = before


def is_tracing() -> bool:
    """Whether tracing is on. If not, there is no need to compute attributes."""
    return _process.tracer is not None


def trace_id_of(run_id: object) -> str | None:
    """The trace id of a run, for the log. None while tracing is off."""
    return None if _process.tracer is None else str(run_id).replace("-", "")


def run_span(
    name: str, run_id: UUID, headers: Iterable[tuple[str, bytes | None]] = (), **attributes: Value
) -> AbstractContextManager[None]:
    """A span for the handling of a message about a run. `headers` are the headers of the message."""
    if (tracer := _process.tracer) is None:
        return nullcontext()
    return tracer.handling(name, run_id, headers, attributes)


def span(name: str, **attributes: Value) -> AbstractContextManager[None]:
    """A span for a part of the current span. If there is no current span, none is recorded."""
    if (tracer := _process.tracer) is None:
        return nullcontext()
    return tracer.part(name, attributes)


def annotate(**attributes: Value) -> None:
    """Add attributes to the current span."""
    if (tracer := _process.tracer) is not None:
        tracer.annotate(attributes)


def sending(topic: str, run_ids: Iterable[UUID | None]) -> AbstractContextManager[Mapping[UUID | None, dict[str, str]]]:
    """One span per run, from here until the block ends. Gives the headers for the messages of each run."""
    if (tracer := _process.tracer) is None:
        return nullcontext(_NO_HEADERS)
    return tracer.sending(topic, run_ids)


def forwarding(
    messages: Sequence[tuple[str, dict[str, str]]],
) -> AbstractContextManager[Sequence[dict[str, str]]]:
    """One span per message of the outbox that belongs to a trace, from here until the block ends. `messages` are topics
    and stored headers. Gives the headers to send, in the same order.
    """
    if (tracer := _process.tracer) is None:
        return nullcontext([headers for _, headers in messages])
    return tracer.forwarding(messages)


def now_ns() -> int:
    """The start of a span that is recorded later. 0 while tracing is off."""
    return 0 if (tracer := _process.tracer) is None else tracer.now_ns()


def record_stored(
    messages: Iterable[tuple[Any, Iterable[tuple[str, bytes | None]]]], started_ns: int, *, failed: str = ""
) -> None:
    """One span per message of a batch that belongs to a run, from `started_ns` until now. `messages` are events and
    their headers; `failed` is the class of the error.
    """
    if (tracer := _process.tracer) is not None:
        for event, headers in messages:
            if (run_id := getattr(event, "run_id", None)) is not None:
                name = f"store {type(event).__name__}"
                tracer.record(name, run_id, headers, _facts_of(event), started_ns, failed)


def _facts_of(event: Any) -> dict[str, Value]:
    facts: dict[str, Value] = {name: value for name in _FACTS if (value := getattr(event, name, None)) is not None}
    if (rows := getattr(event, "rows", None)) is not None:
        facts["candles"] = len(rows)
    return facts


def calling(traceparent: str | None) -> AbstractContextManager[RequestSpans | None]:
    """The context of one API request. The spans of the runs that it starts begin here."""
    if (tracer := _process.tracer) is None:
        return nullcontext()
    return tracer.calling(traceparent)


def headers_of_call(run_id: UUID) -> dict[str, str]:
    """Headers for the message that starts a run, from the span of the current API request in the trace of this run.
    Empty outside of a request.
    """
    return {} if (tracer := _process.tracer) is None else tracer.headers_of_call(run_id)
