"""Builds configs, entries and finished runs for tests of schedules: `a_config(enabled=False)`."""

import uuid
from datetime import UTC, datetime
from typing import Any

from contracts.configs import CollectionConfig, ConfigChanged
from contracts.runs import RunFinished
from contracts.ticks import TickDue
from contracts.vocabulary import ErrorClass, RunStatus, Trigger
from scheduler.due import Policy
from scheduler.entry import Entry, created, plan_of
from scheduler.grid import to_instant

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
HOUR_MS = 3_600_000
SPREAD_MS = 300_000


def a_policy(**changes: Any) -> Policy:
    values = {"spread_ms": SPREAD_MS, "catch_up_limit_ms": 24 * HOUR_MS, "deadline_seconds": 120, "lanes": {}}
    return Policy(**{**values, **changes})


def a_config(**changes: Any) -> CollectionConfig:
    values = {
        "config_id": 1,
        "version": 1,
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "timeframes": ("1m", "1h"),
        "interval_minutes": 10,
        "enabled": True,
        "updated_at": NOON,
    }
    return CollectionConfig(**{**values, **changes})


def a_change(**changes: Any) -> ConfigChanged:
    config = a_config(**changes)
    return ConfigChanged(occurred_at=config.updated_at, config=config)


def an_entry(*, settled: int | None = None, covered: int | None = None, **config: Any) -> Entry:
    """An entry with a pending initial tick, or settled up to an instant."""
    entry = created(plan_of(a_config(**config)), 0, SPREAD_MS)
    if settled is None:
        return entry
    return Entry(plan=entry.plan, partition=0, grid=entry.grid, settled=settled, covered=covered)


def a_run(
    *, ended: int, status: RunStatus = RunStatus.SUCCESS, config: CollectionConfig, **changes: Any
) -> RunFinished:
    """A run of a config that ended at an instant (ms). If it was successful, it covers all time before."""
    succeeded = status is RunStatus.SUCCESS
    at = to_instant(ended)
    values = {
        "occurred_at": at,
        "run_id": uuid.uuid4(),
        "config_id": config.config_id,
        "exchange": config.exchange,
        "symbol": config.symbol,
        "timeframes": config.timeframes,
        "trigger": Trigger.SCHEDULED,
        "scheduled_for": at,
        "started_at": at,
        "finished_at": at,
        "status": status,
        "records_collected": 0,
        "error_class": None if succeeded else ErrorClass.NETWORK,
        "error_message": None if succeeded else "the exchange did not respond",
        "results": (),
        "covered_until": at if succeeded else None,
    }
    return RunFinished(**{**values, **changes})


def the_run_of(tick: TickDue, *, ended: int, status: RunStatus = RunStatus.SUCCESS) -> RunFinished:
    """The event that a collector publishes after the run of a tick."""
    return a_run(
        ended=ended,
        status=status,
        config=tick.config,
        run_id=tick.run_id,
        trigger=tick.trigger,
        scheduled_for=tick.scheduled_for,
    )
