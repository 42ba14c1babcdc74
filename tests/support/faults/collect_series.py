"""Collects the evidence about series: candle-writer's tables and topic, and the truth of the simulated exchanges."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from contracts.candles import CandlesCollected
from contracts.coverage import to_milliseconds
from contracts.event import Event
from contracts.spans import Interval, Intervals, union
from contracts.timeframes import close_of
from local_stack.stack import Stack
from support.faults.evidence import AbsentSpan, Candle, Series, SeriesLedger, SeriesTruth


async def read_candles(connection: Any) -> tuple[dict[Series, dict[int, Candle]], dict[Series, dict[int, int]]]:
    """The stored values, and the times of their fetches in microseconds since the epoch."""
    candles: dict[Series, dict[int, Candle]] = {}
    fetched: dict[Series, dict[int, int]] = {}
    for row in await connection.fetch(
        "SELECT exchange, symbol, timeframe, open_time, open, high, low, close, volume, fetched_at"
        " FROM candles JOIN series ON series.id = series_id"
    ):
        series, open_ms = _series(row), to_milliseconds(row["open_time"])
        values = (row["open"], row["high"], row["low"], row["close"], row["volume"])
        candles.setdefault(series, {})[open_ms] = values
        fetched.setdefault(series, {})[open_ms] = _micros(row["fetched_at"])
    return candles, fetched


async def read_ledger(connection: Any) -> dict[Series, SeriesLedger]:
    verified = {
        _series(row): tuple((to_milliseconds(span.lower), to_milliseconds(span.upper)) for span in row["verified"])
        for row in await connection.fetch(
            "SELECT series.*, verified FROM coverage JOIN series ON series.id = series_id"
        )
    }
    absences: dict[Series, list[AbsentSpan]] = {}
    for row in await connection.fetch("SELECT * FROM absences JOIN series ON series.id = series_id ORDER BY starts_at"):
        absent = AbsentSpan(
            span=(to_milliseconds(row["starts_at"]), to_milliseconds(row["ends_at"])),
            absence_class=row["absence_class"],
            first_seen=row["first_seen"].timestamp(),
            last_checked=row["last_checked"].timestamp(),
        )
        absences.setdefault(_series(row), []).append(absent)
    rejected: dict[Series, set[int]] = {}
    for row in await connection.fetch("SELECT * FROM rejected_candles JOIN series ON series.id = series_id"):
        rejected.setdefault(_series(row), set()).add(to_milliseconds(row["open_time"]))
    return {
        series: SeriesLedger(
            verified=verified.get(series, ()),
            absences=tuple(absences.get(series, ())),
            rejected=frozenset(rejected.get(series, ())),
        )
        for series in {*verified, *absences, *rejected}
    }


def newest_fetches(events: Iterable[Event]) -> dict[Series, dict[int, int]]:
    """The time of the newest fetch of each candle in the topic, in microseconds since the epoch."""
    newest: dict[Series, dict[int, int]] = {}
    for event in events:
        if isinstance(event, CandlesCollected):
            known = newest.setdefault((event.exchange, event.symbol, event.timeframe), {})
            for row in event.rows:
                known[row[0]] = max(known.get(row[0], 0), _micros(event.fetched_at))
    return newest


def published_spans(events: Iterable[Event]) -> dict[Series, Intervals]:
    """The spans that the messages of the topic report as verified. Each candle verifies its own period."""
    found: dict[Series, list[Interval]] = {}
    for event in events:
        if isinstance(event, CandlesCollected):
            known = found.setdefault((event.exchange, event.symbol, event.timeframe), [])
            known += [span.milliseconds() for span in event.verified]
            known += [(row[0], close_of(event.timeframe, row[0])) for row in event.rows]
    return {series: union(spans) for series, spans in found.items()}


async def read_truths(
    stack: Stack, candles: Mapping[Series, Mapping[int, Candle]], ledger: Mapping[Series, SeriesLedger]
) -> dict[Series, SeriesTruth]:
    """The truth about each series from its first stored or verified candle up to now."""
    truths: dict[Series, SeriesTruth] = {}
    async with httpx.AsyncClient(base_url=stack.simulator_url or "", timeout=20) as simulator:
        for series in {*candles, *ledger}:
            known = ledger.get(series, SeriesLedger())
            starts = [*candles.get(series, ()), *(start for start, _ in known.verified[:1]), *known.rejected]
            if starts:
                truths[series] = await _truth(simulator, series, min(starts))
    return truths


async def _truth(simulator: httpx.AsyncClient, series: Series, start: int) -> SeriesTruth:
    query = dict(zip(("exchange", "symbol", "timeframe"), series, strict=True)) | {"start": str(start)}
    response = await simulator.get("/control/series", params=query)
    response.raise_for_status()
    truth = response.json()
    return SeriesTruth(
        candles={int(opened): (o, h, low, c, v) for opened, o, h, low, c, v in truth["candles"]},
        offered=frozenset(truth["offered"]),
        impossible=frozenset(truth["impossible"]),
        impossible_shown=frozenset(opened for opened, _ in truth["impossible_shown"]),
    )


def _series(row: Any) -> Series:
    return (row["exchange"], row["symbol"], row["timeframe"])


def _micros(instant: datetime) -> int:
    return round((instant - datetime.fromtimestamp(0, UTC)).total_seconds() * 1_000_000)
