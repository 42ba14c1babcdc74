"""Factories of run events for tests, and Hypothesis strategies for the whole history of a run."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st

from contracts.runs import RunFinished, RunStarted, TimeframeResult
from contracts.schedule import JobScheduled
from contracts.vocabulary import ErrorClass, JobType, RunStatus, Trigger

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

History = list[RunStarted | RunFinished]


def a_start(**changes: Any) -> RunStarted:
    started_at = changes.get("started_at", NOON)
    values: dict[str, Any] = {
        "occurred_at": started_at,
        "run_id": uuid4(),
        "config_id": 7,
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "timeframes": ("1m", "1h"),
        "trigger": Trigger.SCHEDULED,
        "scheduled_for": NOON,
        "started_at": started_at,
        "deadline_at": started_at + timedelta(seconds=120),
        "collector": "collector-1",
    }
    return RunStarted(**values | changes)


def an_ending(**changes: Any) -> RunFinished:
    """By default the end of a successful run. Another `status` also sets a matching error."""
    started_at = changes.get("started_at", NOON)
    finished_at = changes.get("finished_at", started_at + timedelta(seconds=3.2))
    failed = changes.get("status", RunStatus.SUCCESS) is not RunStatus.SUCCESS
    values: dict[str, Any] = {
        "occurred_at": finished_at,
        "run_id": uuid4(),
        "config_id": 7,
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "timeframes": ("1m", "1h"),
        "trigger": Trigger.SCHEDULED,
        "scheduled_for": NOON,
        "started_at": started_at,
        "finished_at": finished_at,
        "status": RunStatus.SUCCESS,
        "records_collected": 0 if failed else 11,
        "error_class": ErrorClass.NETWORK if failed else None,
        "error_message": "no route to host" if failed else None,
        "results": () if failed else (a_result("1m", candles=10), a_result("1h", candles=1)),
    }
    return RunFinished(**values | changes)


def a_result(timeframe: str = "1m", **changes: Any) -> TimeframeResult:
    values: dict[str, Any] = {"timeframe": timeframe, "candles": 10, "pages": 1, "first_open": NOON, "last_open": NOON}
    return TimeframeResult(**values | changes)


def a_state(config_id: int = 1, version: int = 1, seconds: int = 0, **changes: Any) -> JobScheduled:
    """The schedule state at `seconds` after noon."""
    at = NOON + timedelta(seconds=seconds)
    values: dict[str, Any] = {
        "occurred_at": at,
        "config_id": config_id,
        "config_version": version,
        "exchange": "kraken",
        "symbol": "BTC/EUR",
        "timeframes": ("1m",),
        "interval_minutes": 10,
        "active": True,
        "last_slot": at,
        "next_fire_at": at + timedelta(minutes=10),
    }
    return JobScheduled(**values | changes)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """All events of one run with several attempts. The values are chosen from few, so that ties are frequent."""
    run_id = draw(st.uuids(version=4))
    job_type = draw(st.sampled_from(JobType))
    moments = st.integers(0, 3).map(lambda step: NOON + timedelta(seconds=step))

    def start() -> RunStarted:
        started_at = draw(moments)
        return a_start(
            event_id=draw(st.uuids(version=4)),
            run_id=run_id,
            started_at=started_at,
            deadline_at=started_at + timedelta(seconds=draw(st.integers(1, 2))),
            symbol=draw(st.sampled_from(["BTC/USDT", "ETH/USDT"])),
            job_type=job_type,
            collector=draw(st.sampled_from(["a", "b"])),
        )

    def ending() -> RunFinished:
        started_at = draw(moments)
        return an_ending(
            event_id=draw(st.uuids(version=4)),
            run_id=run_id,
            started_at=started_at,
            finished_at=started_at + timedelta(seconds=draw(st.integers(0, 2))),
            status=draw(st.sampled_from([RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.SKIPPED])),
            symbol=draw(st.sampled_from(["BTC/USDT", "ETH/USDT"])),
            job_type=job_type,
        )

    attempts: list[Callable[[], RunStarted | RunFinished]] = [start, ending]
    return [draw(st.sampled_from(attempts))() for _ in range(draw(st.integers(1, 6)))]
