"""The stored result of a timeframe: nothing that the event contains is missing, and its size is bounded."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json

import contracts
from contracts.bounds import MAX_MESSAGE_LENGTH, MAX_NOTE_LENGTH
from contracts.coverage import (
    MAX_REJECTED_ROWS_PER_RESULT,
    MAX_SPANS_PER_RESULT,
    Absence,
    AbsenceClass,
    RejectedRow,
    Span,
)
from contracts.runs import RunFinished, TimeframeResult
from contracts.topics import RUN_EVENTS
from contracts.vocabulary import ErrorClass
from log_writer.runs import row_of
from log_writer.timeframe_results import MAX_NOTES, MAX_SPANS, MAX_TEXT, stored_result
from runtime.kafka.codec import decode
from support.run_histories import NOON, a_result

EXAMPLES = Path(contracts.__file__).parents[2] / "examples/RunFinished"
STORED_AS = {"first_open": "from", "last_open": "to", "error_message": "error"}
"""The fields that are stored with another name."""


def at(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def a_span(start: int, end: int) -> Span:
    return Span(start=at(start), end=at(end))


def stored(result: TimeframeResult) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(to_json(stored_result(result)))
    return document


WITH_A_HOLE = a_result(
    notes=("kraken no longer has candles before 10:00.",),
    anchor=at(9),
    verified=(a_span(0, 5), a_span(7, 10)),
    requested=(a_span(5, 7),),
    open_hole=Absence(start=at(5), end=at(7), absence_class=AbsenceClass.UNKNOWN, evidence="two pages began at 12:07"),
    rejected=(RejectedRow(open_time=at(6), reason="the high is below the low", row="[1,2,1,2,1,0]"),),
    rejected_count=3,
    error_class=ErrorClass.TIMEOUT,
    error_message="no answer within 10 s",
)


def test_spans_notes_rejected_rows_the_open_hole_and_the_anchor_are_stored() -> None:
    assert stored(WITH_A_HOLE) == {
        "timeframe": "1m",
        "candles": 10,
        "pages": 1,
        "from": "2026-11-22T12:00:00Z",
        "to": "2026-11-22T12:00:00Z",
        "error": "no answer within 10 s",
        "error_class": "timeout",
        "notes": ["kraken no longer has candles before 10:00."],
        "anchor": "2026-11-22T12:09:00Z",
        "verified": [
            {"start": "2026-11-22T12:00:00Z", "end": "2026-11-22T12:05:00Z"},
            {"start": "2026-11-22T12:07:00Z", "end": "2026-11-22T12:10:00Z"},
        ],
        "verified_count": 2,
        "requested": [{"start": "2026-11-22T12:05:00Z", "end": "2026-11-22T12:07:00Z"}],
        "requested_count": 1,
        "lost": [],
        "open_hole": {
            "start": "2026-11-22T12:05:00Z",
            "end": "2026-11-22T12:07:00Z",
            "absence_class": "unknown",
            "evidence": "two pages began at 12:07",
        },
        "rejected": [
            {"open_time": "2026-11-22T12:06:00Z", "reason": "the high is below the low", "row": "[1,2,1,2,1,0]"}
        ],
        "rejected_count": 3,
    }


def test_every_field_of_a_result_is_stored() -> None:
    fields = {STORED_AS.get(name, name) for name in TimeframeResult.model_fields}
    assert fields - stored(WITH_A_HOLE).keys() == set(), "log-writer drops a field that collectors report"


@pytest.mark.parametrize("version", ["1", "2"])
def test_runs_of_both_schema_versions_are_read(version: str) -> None:
    for example in sorted((EXAMPLES / version).glob("*.json")):
        document = json.loads(example.read_text(encoding="utf-8"))
        if document["results"]:
            document["results"][0]["note" if version == "1" else "notes"] = "a note" if version == "1" else ["a note"]
        run = decode(RUN_EVENTS, json.dumps(document).encode())
        assert isinstance(run, RunFinished)
        metadata = json.loads(row_of(run).metadata)
        assert [each["timeframe"] for each in metadata["results"]] == [
            each["timeframe"] for each in document["results"]
        ]
        if metadata["results"]:
            first = metadata["results"][0]
            assert (first["notes"], first["anchor"]) == (["a note"], first["to"])
            assert [*first["verified"]] == document["results"][0].get("verified", [])


def test_a_result_of_any_length_has_a_bounded_size_and_keeps_the_newest_spans() -> None:
    spans = tuple(a_span(10 * n, 10 * n + 5) for n in range(MAX_SPANS_PER_RESULT))
    text, note = "x" * MAX_MESSAGE_LENGTH, "y" * MAX_NOTE_LENGTH
    result = a_result(
        verified=spans,
        requested=spans,
        notes=(note,) * 100,
        error_class=ErrorClass.BAD_RESPONSE,
        error_message=text,
        rejected=(RejectedRow(open_time=NOON, reason="y" * 300, row="z" * 500),) * MAX_REJECTED_ROWS_PER_RESULT,
        rejected_count=9000,
    )
    found = stored(result)
    assert len(to_json(found)) < 100_000
    newest = [{"start": f"{span.start:%Y-%m-%dT%H:%M:%SZ}", "end": f"{span.end:%Y-%m-%dT%H:%M:%SZ}"} for span in spans]
    assert found["verified"] == found["requested"] == newest[-MAX_SPANS:]
    assert (found["verified_count"], found["requested_count"], found["rejected_count"]) == (
        *(MAX_SPANS_PER_RESULT, MAX_SPANS_PER_RESULT, 9000),
    )
    assert len(found["error"]) == len(found["notes"][0]) == MAX_TEXT
    assert found["notes"][MAX_NOTES:] == ["80 more notes are not stored."]
    assert len(found["rejected"]) == MAX_REJECTED_ROWS_PER_RESULT


def test_texts_that_postgres_cannot_store_lose_only_the_character() -> None:
    result = a_result(
        notes=("a\x00b",),
        open_hole=Absence(start=at(0), end=at(1), absence_class=AbsenceClass.UNREAD, evidence="c\x00d"),
        rejected=(RejectedRow(open_time=NOON, reason="e\x00f", row='["\\u0000", "g\x00h"]'),),
    )
    text = to_json(stored_result(result)).decode()
    assert "\\u0000" not in text.replace("\\\\u0000", "")
    assert all(part in text for part in ("a�b", "c�d", "e�f", "g�h"))
