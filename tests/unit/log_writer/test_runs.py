import json
from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.vocabulary import ErrorClass, RunStatus
from log_writer.runs import RunEvent, RunRow, fold, merge, row_of
from support.run_histories import NOON, History, a_result, a_start, an_ending, histories


def only_row(*events: RunEvent) -> RunRow:
    [row] = fold(events)
    return row


def presumed_lost(row: RunRow) -> RunRow:
    return row._replace(
        status="failed",
        error_class="collector_lost",
        finished_at=row.started_at + timedelta(seconds=180),
        closed_by_sweep=True,
    )


@given(histories(), st.data())
def test_any_order_and_any_duplicates_give_the_same_row(history: History, data: st.DataObject) -> None:
    expected = only_row(*history)
    delivered = data.draw(st.permutations(history * 2))
    assert only_row(*delivered) == expected


@given(histories(), st.integers(0, 6))
def test_two_batches_give_the_same_rows_as_one(history: History, cut: int) -> None:
    first, second = history[:cut], history[cut:]
    rows = [only_row(*part) for part in (first, second) if part]
    merged = rows[0] if len(rows) == 1 else merge(*rows)
    assert merged == only_row(*history)


@given(histories())
def test_a_row_never_has_a_negative_duration_and_is_running_exactly_without_an_end(history: History) -> None:
    row = only_row(*history)
    assert (row.status == "running") == (row.finished_at is None) == (row.duration_seconds is None)
    assert row.duration_seconds is None or row.duration_seconds >= 0


@given(histories())
def test_the_best_real_end_wins(history: History) -> None:
    row = only_row(*history)
    endings = {event.status for event in history if event.type == "RunFinished"}
    best = [status for status in (RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.SKIPPED) if status in endings]
    assert row.status == (best[0] if best else RunStatus.RUNNING)


@given(histories(), st.data())
def test_a_presumed_end_is_replaced_only_by_a_real_end(history: History, data: st.DataObject) -> None:
    presumed = presumed_lost(row_of(a_start(run_id=history[0].run_id)))
    rows = [row_of(event) for event in history]
    position = data.draw(st.integers(0, len(rows)))
    merged = presumed
    for row in [*rows[:position], presumed, *rows[position:]]:
        merged = merge(merged, row)
    ended = any(event.type == "RunFinished" for event in history)
    assert merged.closed_by_sweep is not ended
    assert merged.status != "running"


def test_a_start_may_arrive_after_the_end() -> None:
    start = a_start(started_at=NOON)
    end = an_ending(run_id=start.run_id, started_at=NOON, finished_at=NOON + timedelta(seconds=3.2))
    row = only_row(end, start)
    assert (row.status, row.duration_seconds, row.deadline_at) == ("success", 3.2, start.deadline_at)


def test_a_run_with_two_attempts_started_at_the_first_one() -> None:
    first = a_start(started_at=NOON)
    again = a_start(run_id=first.run_id, started_at=NOON + timedelta(minutes=1), collector="collector-2")
    end = an_ending(run_id=first.run_id, started_at=again.started_at, finished_at=NOON + timedelta(seconds=70))
    for order in permutations([first, again, end]):
        row = only_row(*order)
        assert (row.started_at, row.duration_seconds, row.deadline_at) == (NOON, 70.0, again.deadline_at)
    assert json.loads(only_row(first, again).metadata)["collector"] == "collector-2"


def test_of_two_equal_ends_the_earlier_counts_in_any_order_of_arrival() -> None:
    early = an_ending(finished_at=NOON + timedelta(seconds=5), records_collected=1)
    late = an_ending(run_id=early.run_id, finished_at=NOON + timedelta(seconds=9), records_collected=2)
    assert only_row(late, early).records_collected == only_row(early, late).records_collected == 1


def test_rows_are_ordered_by_run_id() -> None:
    rows = fold([an_ending() for _ in range(50)])
    assert [row.run_id for row in rows] == sorted(row.run_id for row in rows)


def test_the_metadata_has_the_fields_of_the_guide_and_a_result_per_timeframe() -> None:
    broken = a_result(
        "1h", candles=0, first_open=None, last_open=None, error_class=ErrorClass.RATE_LIMITED, error_message="slow down"
    )
    end = an_ending(status=RunStatus.FAILED, results=(a_result("1m", candles=11), broken))
    metadata = json.loads(row_of(end).metadata)
    results = metadata.pop("results")
    assert metadata == {
        "timeframes_collected": 1,
        "timeframes_failed": 1,
        "timeframes": ["1m", "1h"],
        "event_id": str(end.event_id),
    }
    times = ("2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z")
    keys = ("timeframe", "candles", "from", "to", "error", "error_class")
    assert [tuple(result[key] for key in keys) for result in results] == [
        ("1m", 11, *times, None, None),
        ("1h", 0, None, None, "slow down", "rate_limited"),
    ]


@pytest.mark.parametrize("text", ["<html>\x00</html>", "\x00"])
def test_a_run_whose_error_message_postgres_cannot_store_gets_its_end(text: str) -> None:
    result = a_result(error_class=ErrorClass.BAD_RESPONSE, error_message=text)
    row = row_of(an_ending(status=RunStatus.FAILED, error_message=text, results=(result,)))
    assert "\x00" not in row.error_message
    assert "\\u0000" not in row.metadata
