"""The progress of a series after results, at minutes after noon."""

from contracts.runs import TimeframeResult
from scheduler.progress import (
    Series,
    after_range,
    after_result,
)
from support.schedules import HOUR_MS, NOON_MS

MINUTE = 60_000
INTERVAL = 10 * MINUTE
NOW = NOON_MS + 2 * HOUR_MS


def at(minutes: float) -> int:
    """Minutes after noon, in milliseconds."""
    return NOON_MS + int(minutes * MINUTE)


def after(series: Series, *results: TimeframeResult, finished_at: int = NOON_MS, now: int = NOW) -> Series:
    for result in results:
        series = after_result(series, result, finished_at=finished_at, now=now, interval_ms=INTERVAL)
    return series


def after_a_range(series: Series, result: TimeframeResult, finished_at: int = NOW) -> Series:
    return after_range(series, result, finished_at=finished_at, now=NOW)
