"""Compares `GET /candles/chart` with and without levels, for ten zooms of a series with two million candles.

    python -m benchmarks.chart_bench [--quick]

The times are those of the endpoint without HTTP: from the query to the JSON text. Both sides take turns. There are 500
other series beside it. If the points of the two sides or of plain SQL differ, the benchmark fails.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import asyncpg
from benchmarks.infrastructure import a_database
from benchmarks.report import Row, table
from benchmarks.timing import spread
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.candles.chart import MAX_POINTS, Chart, ChartQuery, chart_of
from candle_writer.levels import fill_levels
from runtime.database import build_engine
from runtime.settings import DatabaseSettings

CANDLES = 2_000_000
QUICK_CANDLES = 100_000
OTHERS = 500
CANDLES_OF_OTHERS = 2_000
TARGET_MS = 50.0
_ROUNDS = 20
_ROUNDS_WITHOUT = 5
_START = datetime(2023, 1, 1, tzinfo=UTC)
_DAYS = {
    "an hour": 1 / 24,
    "a day": 1,
    "a week": 7,
    "two weeks": 14,
    "a month": 31,
    "three months": 92,
    "half a year": 183,
    "a year": 365,
    "two years": 730,
    "all": None,
}

_FILL = """
INSERT INTO series (id, exchange, symbol, timeframe, candle_count, first_open, last_open) OVERRIDING SYSTEM VALUE
SELECT id, 'binance', CASE id WHEN 1 THEN 'BTC' ELSE 'C' || id END || '/USDT', '1m', candles, '{start}',
       '{start}'::timestamptz + (candles - 1) * interval '1 minute'
FROM generate_series(1, 1 + {others}) AS id,
  LATERAL (SELECT CASE id WHEN 1 THEN {candles} ELSE {of_others} END AS candles) AS numbers;
INSERT INTO candles (series_id, open_time, open, high, low, close, volume, fetched_at)
SELECT id, first_open + n * interval '1 minute', price, price + 1, price - 1, price + 0.5, n % 100, now()
FROM series, generate_series(0, candle_count - 1) AS n,
  LATERAL (SELECT 60000 + n % 7919 - n % 4001 AS price) AS prices;
"""
_PLAIN = """
SELECT date_bin($1, open_time, 'epoch') AS open_time, (array_agg(open ORDER BY open_time))[1] AS open,
       max(high) AS high, min(low) AS low, (array_agg(close ORDER BY open_time DESC))[1] AS close,
       sum(volume) AS volume, count(*) AS candles
FROM candles WHERE series_id = 1 AND open_time >= $2 AND open_time < $3 GROUP BY 1 ORDER BY 1
"""
_SIZE = "SELECT sum(pg_total_relation_size(name))::float8 FROM unnest($1::regclass[]) AS name"
_PART_OF_CANDLES = "SELECT avg((series_id = 1)::int)::float8 FROM candles"
_WITHOUT = "UPDATE series_levels SET ends_at = starts_at"
_WITH = "UPDATE series_levels SET ends_at = $1"


def main(*, quick: bool = False) -> list[Row]:
    """Takes about two minutes; with `quick` (fewer candles) some seconds."""
    return asyncio.run(_measure(QUICK_CANDLES if quick else CANDLES, OTHERS // 10 if quick else OTHERS))


async def _measure(candles: int, others: int) -> list[Row]:
    async with a_database() as url:
        engine = build_engine(DatabaseSettings(database_url=url), "bench")
        raw = await asyncpg.connect(url, command_timeout=1800)
        try:
            await raw.execute("SET TIME ZONE 'UTC'; SET jit = off")
            values = {"candles": candles, "others": others, "of_others": CANDLES_OF_OTHERS}
            await raw.execute(_FILL.format(start=_START.isoformat(), **values))
            await raw.execute("VACUUM (ANALYZE) candles")
            rows = await _filling(engine, raw, candles)
            return [*rows, *[await _zoom(engine, raw, candles, name, days) for name, days in _DAYS.items()]]
        finally:
            await raw.close()
            await engine.dispose()


async def _filling(engine: AsyncEngine, raw: asyncpg.Connection, candles: int) -> list[Row]:
    """The time to fill the levels of the long series, and their size."""
    started = time.perf_counter()
    await fill_levels(engine, lambda _: None)
    seconds = time.perf_counter() - started
    await raw.execute("VACUUM (ANALYZE) candle_levels")
    levels = await raw.fetchval(_SIZE, ["candle_levels", "series_levels", "stale_levels"])
    stored = await raw.fetchval(_SIZE, ["candles"]) * await raw.fetchval(_PART_OF_CANDLES)
    note = f"of a series with {candles:,} candles"
    return [
        Row.compare("levels, filled for the first time", seconds, None, "s", note),
        Row.compare("levels, size per candle", levels / candles, stored / candles, "bytes", f"{note}, with indexes"),
    ]


async def _zoom(engine: AsyncEngine, raw: asyncpg.Connection, candles: int, name: str, days: float | None) -> Row:
    end = _START + timedelta(minutes=candles)
    query = ChartQuery(
        exchange="binance",
        symbol="BTC/USDT",
        timeframe="1m",
        start=None if days is None else end - timedelta(days=days),
        end=end,
        points=MAX_POINTS,
    )
    until = await raw.fetchval("SELECT ends_at FROM series_levels")

    async def answer() -> Chart:
        chart = await chart_of(engine, query)
        chart.model_dump_json()
        return chart

    chart, ours = await answer(), list[float]()
    without: list[float] = []
    for number in range(_ROUNDS):
        ours.append(await _milliseconds(answer, chart))
        if number % (_ROUNDS // _ROUNDS_WITHOUT) == 0:
            await raw.execute(_WITHOUT)
            without.append(await _milliseconds(answer, chart))
            await raw.execute(_WITH, until)
    window = (timedelta(seconds=chart.length_seconds or 0), chart.start, chart.end)
    _check_equal(chart, await raw.fetch(_PLAIN, *window))
    read = sum(point["candles"] for point in chart.points)
    note = f"{spread(ours)}; {read:,} candles in {len(chart.points):,} points of {chart.length_seconds:,.0f} s"
    return Row.compare(f"/candles/chart, {name}", median(ours), median(without), "ms", note, ours_below=TARGET_MS)


async def _milliseconds(answer: Callable[[], Awaitable[Chart]], expected: Chart) -> float:
    started = time.perf_counter()
    chart = await answer()
    duration = (time.perf_counter() - started) * 1000
    if chart != expected:
        raise AssertionError("the charts with and without levels differ")
    return duration


def _check_equal(chart: Chart, rows: Any) -> None:
    if [tuple(point.values()) for point in chart.points] != [tuple(row) for row in rows]:
        raise AssertionError("/candles/chart and plain SQL differ")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chart_bench")
    parser.add_argument("--quick", action="store_true", help="fewer candles")
    print(table(main(quick=parser.parse_args().quick)))
