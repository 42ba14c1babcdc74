"""Builds the row of a run from its events, which may arrive in any order and more than once.

The rule that merges the rows of one run is commutative, associative and idempotent. `write.py` contains the same rule
in SQL. A test compares the two.

- One event decides the row. A real end has priority over a presumed end, and any end has priority over a start.
- If a collector died, a run may have several real ends. Then `success` has priority over `failed`, and `failed` over
  `skipped`. If the statuses are equal, the earliest end is used. Of several starts, the one with the latest deadline is
  used, because it is the latest attempt. If two events are equal in all this, the smaller event id is used.
- `started_at` is the earliest known start, `deadline_at` the latest known deadline.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, assert_never
from uuid import UUID

from pydantic_core import to_json

from contracts.runs import RunFinished, RunStarted
from contracts.vocabulary import RunStatus, job_name
from log_writer.timeframe_results import stored_result

RunEvent = RunStarted | RunFinished

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class RunRow(NamedTuple):
    """A row of `job_execution_logs`. The fields are its columns, except for `event_id`, which is in `metadata`."""

    run_id: UUID
    job_name: str
    job_type: str
    config_id: int
    exchange: str
    symbol: str
    trigger: str
    scheduled_for: datetime
    status: str
    started_at: datetime
    finished_at: datetime | None
    deadline_at: datetime | None
    records_collected: int
    error_class: str | None
    error_message: str | None
    metadata: str
    """JSON."""
    closed_by_sweep: bool
    """The end is presumed: log-writer closed the run as lost."""
    event_id: UUID
    """The event that decided the row."""

    @property
    def duration_seconds(self) -> float | None:
        """The duration of the run, never negative: an end is not before its own start, and `started_at` only becomes
        earlier.
        """
        return None if self.finished_at is None else (self.finished_at - self.started_at).total_seconds()


def row_of(event: RunEvent) -> RunRow:
    """The row of this event alone."""
    match event:
        case RunStarted():
            return _row_of_start(event)
        case RunFinished():
            return _row_of_end(event)
        case _:
            assert_never(event)


def merge(one: RunRow, other: RunRow) -> RunRow:
    """Merge two rows of the same run."""
    winner = max(one, other, key=_precedence)
    deadlines = [row.deadline_at for row in (one, other) if row.deadline_at is not None]
    return winner._replace(
        started_at=min(one.started_at, other.started_at), deadline_at=max(deadlines) if deadlines else None
    )


def fold(events: Iterable[RunEvent]) -> list[RunRow]:
    """One row per run, ordered by run id. Writers that lock rows in the same order cannot deadlock."""
    rows: dict[UUID, RunRow] = {}
    for event in events:
        row = row_of(event)
        known = rows.get(row.run_id)
        rows[row.run_id] = row if known is None else merge(known, row)
    return [rows[run_id] for run_id in sorted(rows, key=_by_value)]


def _by_value(run_id: UUID) -> bytes:
    """The sort key of a UUID. It gives the same order as the comparison in Python and in Postgres, but needs no Python
    call for each comparison.
    """
    return run_id.bytes


def _precedence(row: RunRow) -> tuple[int, int, int, int]:
    """The sort key of a row. Of two rows, the one with the larger key is used."""
    if row.finished_at is None:
        return 0, 0, 0 if row.deadline_at is None else (row.deadline_at - _EPOCH) // _MICROSECOND, -row.event_id.int
    return _rank(row), -((row.finished_at - _EPOCH) // _MICROSECOND), 0, -row.event_id.int


def _rank(row: RunRow) -> int:
    if row.closed_by_sweep:
        return 1
    return {RunStatus.RUNNING: 0, RunStatus.SKIPPED: 2, RunStatus.FAILED: 3, RunStatus.SUCCESS: 4}[
        RunStatus(row.status)
    ]


def _row_of_start(event: RunStarted) -> RunRow:
    metadata = {
        "timeframes_collected": 0,
        "timeframes_failed": 0,
        "timeframes": event.timeframes,
        "collector": event.collector,
        "event_id": event.event_id,
    }
    return RunRow(
        run_id=event.run_id,
        job_name=job_name(event.config_id),
        job_type=event.job_type.value,
        config_id=event.config_id,
        exchange=event.exchange,
        symbol=event.symbol,
        trigger=event.trigger.value,
        scheduled_for=event.scheduled_for,
        status=RunStatus.RUNNING.value,
        started_at=event.started_at,
        finished_at=None,
        deadline_at=event.deadline_at,
        records_collected=0,
        error_class=None,
        error_message=None,
        metadata=to_json(metadata).decode(),
        closed_by_sweep=False,
        event_id=event.event_id,
    )


def _row_of_end(event: RunFinished) -> RunRow:
    failed = sum(result.error_class is not None for result in event.results)
    metadata = {
        "timeframes_collected": len(event.results) - failed,
        "timeframes_failed": failed,
        "timeframes": event.timeframes,
        "results": [stored_result(result) for result in event.results],
        "event_id": event.event_id,
    }
    return RunRow(
        run_id=event.run_id,
        job_name=job_name(event.config_id),
        job_type=event.job_type.value,
        config_id=event.config_id,
        exchange=event.exchange,
        symbol=event.symbol,
        trigger=event.trigger.value,
        scheduled_for=event.scheduled_for,
        status=event.status.value,
        started_at=event.started_at,
        finished_at=event.finished_at,
        deadline_at=None,
        records_collected=event.records_collected,
        error_class=None if event.error_class is None else event.error_class.value,
        error_message=event.error_message,
        metadata=to_json(metadata).decode(),
        closed_by_sweep=False,
        event_id=event.event_id,
    )
