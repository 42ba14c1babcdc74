"""Traces of runs: one trace per run, also if headers of messages are invalid, and without any effect on the work."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from pydantic import SecretStr, ValidationError

from runtime.consumers.batch_writer import BatchItem, BatchWriter
from runtime.logs import log
from runtime.tracing.exporter import RunTracer
from runtime.tracing.settings import TracingSettings
from runtime.tracing.spans import annotate, calling, forwarding, headers_of_call, run_span, sending, span, using
from support.consuming import a_tick, number_of
from support.log_text import log_text
from support.records import InMemoryDeadLetters, a_record
from support.traces import RecordedSpans, recording_spans

RUN = uuid5(NAMESPACE_URL, "a run")
PARENT = "00f067aa0ba902b7"
VALID = f"00-{RUN.hex}-{PARENT}-01"
SAMPLED = 1
"""The flag in the last byte of the header."""

BAD_HEADERS: dict[str, list[tuple[str, bytes | None]]] = {
    "none": [],
    "null": [("traceparent", None)],
    "empty": [("traceparent", b"")],
    "nonsense": [("traceparent", b"nonsense")],
    "not UTF-8": [("traceparent", b"\xff\xfe\x00" * 20)],
    "zeros": [("traceparent", f"00-{'0' * 32}-{'0' * 16}-01".encode())],
    "unknown version": [("traceparent", f"ff-{RUN.hex}-{PARENT}-01".encode())],
    "too long": [("traceparent", b"0" * 1_000_000)],
    "another run's": [("traceparent", f"00-{uuid4().hex}-{PARENT}-01".encode())],
}


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    with recording_spans() as recorded:
        yield recorded


def trace_id(each: ReadableSpan) -> UUID:
    return UUID(int=each.context.trace_id)


def parent_id(each: ReadableSpan) -> str | None:
    return None if each.parent is None else f"{each.parent.span_id:016x}"


def span_id(each: ReadableSpan) -> str:
    return f"{each.context.span_id:016x}"


@pytest.mark.parametrize("headers", BAD_HEADERS.values(), ids=BAD_HEADERS.keys())
def test_a_bad_header_costs_only_the_parent(spans: RecordedSpans, headers: list[tuple[str, bytes | None]]) -> None:
    with run_span("run", RUN, headers, exchange="binance"):
        annotate(status="success")
    [recorded] = spans.ended()
    assert trace_id(recorded) == RUN
    assert parent_id(recorded) is None
    assert recorded.attributes == {"run_id": str(RUN), "exchange": "binance", "status": "success"}


def test_the_header_of_a_message_names_the_parent(spans: RecordedSpans) -> None:
    with run_span("run", RUN, [("ce_id", b"x"), ("traceparent", VALID.encode())]):
        pass
    [recorded] = spans.ended()
    assert (trace_id(recorded), parent_id(recorded)) == (RUN, PARENT)


def test_parts_are_below_the_run_and_know_what_they_are_about(spans: RecordedSpans) -> None:
    with span("outside of a run"):
        pass
    with run_span("run", RUN, exchange="binance", lane="binance#1"), span("timeframe", timeframe="1m"):
        with span("exchange request"):
            pass
        with sending("candles", [RUN, None, RUN]) as headers:
            assert headers.keys() == {RUN}
    request, sent, timeframe, run = spans.ended()
    assert [each.name for each in (request, sent, timeframe, run)] == [
        "exchange request",
        "send candles",
        "timeframe",
        "run",
    ]
    assert request.attributes == {"run_id": str(RUN), "exchange": "binance", "timeframe": "1m"}
    assert parent_id(request) == parent_id(sent) == span_id(timeframe)
    assert parent_id(timeframe) == span_id(run)
    assert headers[RUN]["traceparent"].startswith(f"00-{RUN.hex}-{span_id(sent)}-")


def test_messages_of_many_runs_that_are_sent_together_have_a_trace_each(spans: RecordedSpans) -> None:
    runs = [uuid4() for _ in range(3)]
    with sending("ticks", runs) as headers:
        pass
    assert [trace_id(each) for each in spans.ended()] == runs
    assert [headers[run]["traceparent"].split("-")[1] for run in runs] == [run.hex for run in runs]


def test_the_text_of_an_error_is_not_recorded(spans: RecordedSpans) -> None:
    secret = uuid4().hex
    with pytest.raises(RuntimeError), run_span("run", RUN), span("exchange request"):
        raise RuntimeError(f"GET https://exchange.example/?key={secret}")
    with pytest.raises(asyncio.CancelledError), sending("ticks", [RUN]):
        raise asyncio.CancelledError(secret)
    recorded = spans.ended()
    assert [each.attributes["error.type"] for each in recorded if each.attributes] == [
        "RuntimeError",
        "RuntimeError",
        "CancelledError",
    ]
    assert not any(secret in each.to_json() for each in recorded)


def test_a_request_is_the_first_span_of_each_run_that_it_starts(spans: RecordedSpans) -> None:
    assert headers_of_call(RUN) == {}
    caller = uuid4()
    with calling(f"00-{caller.hex}-{PARENT}-01") as request:
        assert request is not None
        first, again = headers_of_call(RUN), headers_of_call(RUN)
        headers_of_call(uuid4())
        request.describe("POST", "/configs/{config_id}/trigger", 202, "an-id")
    recorded, other = spans.ended()
    assert first == again
    assert first["traceparent"].startswith(f"00-{RUN.hex}-{span_id(recorded)}-")
    assert trace_id(other) != RUN
    assert recorded.name == "POST /configs/{config_id}/trigger"
    assert [UUID(int=link.context.trace_id) for link in recorded.links] == [caller]
    assert headers_of_call(RUN) == {}


def test_the_relay_continues_the_traces_of_its_rows_and_changes_no_other_row(spans: RecordedSpans) -> None:
    rows = [("ticks", {"ce_id": "1", "traceparent": VALID}), ("ticks", {"ce_id": "2"}), ("ticks", {"traceparent": "?"})]
    with forwarding(rows) as headers:
        pass
    [recorded] = spans.ended()
    assert (trace_id(recorded), parent_id(recorded), recorded.name) == (RUN, PARENT, "send ticks")
    assert headers[0]["ce_id"] == "1"
    assert headers[0]["traceparent"].startswith(f"00-{RUN.hex}-{span_id(recorded)}-")
    assert headers[1:] == [{"ce_id": "2"}, {"traceparent": "?"}]


async def test_each_message_of_a_batch_has_its_own_span_also_if_it_is_refused(spans: RecordedSpans) -> None:
    async def store(events: list[BatchItem]) -> None:
        if any(number_of(event) == 2 for event in events):
            raise ValueError("cannot be stored")

    async def nothing() -> None:
        return

    ticks = [a_tick(number) for number in (1, 2, 3)]
    headers = [("traceparent", f"00-{ticks[0].run_id.hex}-{PARENT}-01".encode())]
    batch = [(tick, a_record(offset=place, headers=headers)) for place, tick in enumerate(ticks)]
    await BatchWriter(InMemoryDeadLetters(), lambda _: False, lambda: None).write(batch, store, nothing)
    recorded = spans.ended()
    stored = [each for each in recorded if each.attributes and "error.type" not in each.attributes]
    assert [trace_id(each) for each in stored] == [ticks[0].run_id, ticks[2].run_id]
    assert [parent_id(each) for each in stored] == [PARENT, None]
    assert {each.name for each in recorded} == {"store TickDue"}
    failed = [each for each in recorded if each.attributes and each.attributes.get("error.type") == "ValueError"]
    assert ticks[1].run_id in {trace_id(each) for each in failed}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("kind", ["uuid4", "uuid5"])
def test_a_run_is_traced_completely_or_not_at_all(share: float, kind: str) -> None:
    run_ids = [uuid4() if kind == "uuid4" else uuid5(NAMESPACE_URL, str(each)) for each in range(1000)]
    with recording_spans(share) as spans:
        with sending("ticks", run_ids) as headers:
            pass
        for run_id in run_ids:
            with run_span("run", run_id, [("traceparent", headers[run_id]["traceparent"].encode())]):
                pass
            with run_span("run", run_id):  # the header was lost
                pass
        counts = Counter(map(trace_id, spans.ended()))
    assert set(counts.values()) <= {3}
    assert len(counts) == pytest.approx(share * 1000, abs=0 if share in {0, 1} else 100)
    sampled = {run for run in run_ids if int(headers[run]["traceparent"][-2:], 16) & SAMPLED}
    assert counts.keys() == sampled


def test_log_lines_about_a_run_have_its_trace_id_while_tracing_is_on() -> None:
    with log_text("json") as text:
        log.info("Off", run_id=str(RUN))
        with recording_spans():
            log.info("On", run_id=str(RUN))
            log.info("Not about a run")
    off, on, other = map(json.loads, text.getvalue().splitlines())
    assert on["trace_id"] == RUN.hex
    assert "trace_id" not in off
    assert "trace_id" not in other


async def test_nothing_happens_while_tracing_is_off() -> None:
    assert isinstance(run_span("run", RUN), nullcontext)
    assert isinstance(span("exchange request"), nullcontext)
    assert headers_of_call(RUN) == {}
    with calling(VALID) as request, sending("ticks", [RUN]) as headers, forwarding([("ticks", {"a": "b"})]) as rows:
        annotate(status="success")
    assert (request, headers, rows) == (None, {}, [{"a": "b"}])


def test_a_service_without_an_endpoint_does_not_load_the_sdk() -> None:
    code = (
        "import sys, log_writer.app, runtime.process.worker\n"
        "from runtime.tracing.spans import start_tracing\n"
        "from runtime.tracing.settings import TracingSettings\n"
        "assert not start_tracing(TracingSettings(), 'log-writer')\n"
        "sys.exit(any(name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter')) for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ("", {}),
        ("Api-Key=abc", {"api-key": "abc"}),
        ("a=1, B=Bearer%20x%2Cy=,", {"a": "1", "b": "Bearer x,y="}),
    ],
)
def test_the_headers_for_the_endpoint_are_read_as_the_standard_says(headers: str, expected: dict[str, str]) -> None:
    assert TracingSettings(otel_exporter_otlp_headers=SecretStr(headers)).otlp_headers == expected


@pytest.mark.parametrize(
    "values",
    [
        {"otel_exporter_otlp_headers": SecretStr("a-secret-without-a-name")},
        {"otel_exporter_otlp_headers": SecretStr("a=a-secret\nb")},
        {"otel_exporter_otlp_endpoint": "http://user:a-secret@localhost:4318"},
        {"otel_exporter_otlp_endpoint": "localhost:4318"},
        {"otel_exporter_otlp_endpoint": "http://localhost:4318?key=a-secret"},
        {"otel_traces_sampler_arg": 1.1},
    ],
)
def test_bad_settings_are_refused_without_showing_a_secret(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        TracingSettings.model_validate(values)
    assert "a-secret" not in str(refused.value)


def test_spans_that_end_after_the_stop_are_dropped_silently() -> None:
    with recording_spans() as spans, run_span("run", RUN):
        tracer: RunTracer = spans.tracer
        tracer.close()
    with using(tracer), run_span("run", RUN):
        pass
