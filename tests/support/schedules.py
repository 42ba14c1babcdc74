"""Builds configs, entries and finished runs for tests of schedules: `a_config(enabled=False)`."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from contracts.configs import CollectionConfig, ConfigChanged
from contracts.coverage import SeriesProgress, Span, span_of, to_instant, to_milliseconds
from contracts.runs import RunFinished, TimeframeResult
from contracts.spans import Interval
from contracts.ticks import TickDue
from contracts.timeframes import close_of, floor_open, shift
from contracts.vocabulary import ErrorClass, RunStatus, Trigger
from scheduler.due import Policy
from scheduler.entry import Entry, created, plan_of
from scheduler.progress import Series, progress_of

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


def an_entry(
    *,
    settled: int | None = None,
    anchor: int | None = None,
    progress: Mapping[str, Series] | None = None,
    **config: Any,
) -> Entry:
    """An entry with a pending initial tick, or settled up to an instant. `anchor` is one for all timeframes."""
    entry = created(plan_of(a_config(**config)), 0, SPREAD_MS)
    series = progress or {timeframe: Series(anchor) for timeframe in entry.plan.timeframes}
    entry = replace(entry, progress=progress_of(series))
    return entry if settled is None else replace(entry, initial=None, settled=settled)


def anchors(entry: Entry) -> dict[str, int | None]:
    """The anchors of the timeframes of the plan."""
    return {timeframe: entry.progress.of(timeframe).anchor for timeframe in entry.plan.timeframes}


def a_result(
    timeframe: str = "1m",
    *,
    anchor: int | None = None,
    verified: Iterable[Interval] = (),
    requested: Iterable[Interval] = (),
    **changes: Any,
) -> TimeframeResult:
    """The result of one timeframe. Instants are milliseconds since the epoch."""
    values = {
        "timeframe": timeframe,
        "candles": 0,
        "pages": 1,
        "anchor": None if anchor is None else to_instant(anchor),
        "verified": tuple(span_of(interval) for interval in verified),
        "requested": tuple(span_of(interval) for interval in requested),
    }
    return TimeframeResult(**{**values, **changes})


def a_run(
    *,
    ended: int,
    status: RunStatus = RunStatus.SUCCESS,
    config: CollectionConfig,
    results: Iterable[TimeframeResult] | None = None,
    **changes: Any,
) -> RunFinished:
    """A run of a config that ended at an instant (ms). By default, a successful one has read the last 100 candles."""
    succeeded = status is RunStatus.SUCCESS
    at = to_instant(ended)
    if results is None:
        results = [newest_candles(timeframe, ended) for timeframe in config.timeframes] if succeeded else ()
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
        "results": tuple(results),
    }
    return RunFinished(**{**values, **changes})


def newest_closed(timeframe: str, now: int) -> int:
    """The open time of the newest closed candle."""
    return shift(timeframe, floor_open(timeframe, now), -1)


def newest_candles(timeframe: str, now: int, since: int | None = None, page: int = 100) -> TimeframeResult:
    """All candles since an open time; without one, the newest page."""
    anchor = newest_closed(timeframe, now)
    first = shift(timeframe, anchor, 1 - page) if since is None else since
    verified = [(first, close_of(timeframe, anchor))] if first <= anchor else []
    return a_result(timeframe, anchor=max(first, anchor), verified=verified)


def the_run_of(
    tick: TickDue,
    *,
    ended: int,
    status: RunStatus = RunStatus.SUCCESS,
    results: Iterable[TimeframeResult] | None = None,
) -> RunFinished:
    """The event that a collector publishes after the run of a tick. By default, a successful run has read all."""
    if results is None:
        timeframes = tick.config.timeframes if status is RunStatus.SUCCESS else ()
        results = [everything_for(tick.progress_of(timeframe), ended) for timeframe in timeframes]
    return a_run(
        ended=ended,
        status=status,
        config=tick.config,
        results=results,
        run_id=tick.run_id,
        trigger=tick.trigger,
        scheduled_for=tick.scheduled_for,
    )


def everything_for(known: SeriesProgress, ended: int) -> TimeframeResult:
    """All candles since the anchor, and all pending spans."""
    found = newest_candles(known.timeframe, ended, None if known.anchor is None else to_milliseconds(known.anchor))
    pending = tuple(Span(start=span.start, end=span.end) for span in known.pending)
    return found.model_copy(update={"verified": (*pending, *found.verified)})
