"""Compares `GET /candles/chart` of a series with two million candles with sorted arrays of all candles of each point.

    python -m benchmarks.chart_bench [--quick]

The times are without HTTP. If the points of both sides differ, the benchmark fails.
"""

import argparse
import asyncio
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import asyncpg
from benchmarks.infrastructure import a_database
from benchmarks.report import Row, table
from benchmarks.timing import milliseconds, spread

from admin_api.candles.chart import MAX_POINTS, Chart, ChartQuery, chart_of
from runtime.database import build_engine
from runtime.settings import DatabaseSettings

CANDLES = 2_000_000
QUICK_CANDLES = 100_000
TARGET_MS = 50.0
_ROUNDS = 20
_START = datetime(2023, 1, 1, tzinfo=UTC)
_ZOOMS = (("a day", timedelta(days=1)), ("a month", timedelta(days=31)), ("a year", timedelta(days=365)), ("all", None))

_FILL = """
INSERT INTO series (id, exchange, symbol, timeframe, candle_count, first_open, last_open) OVERRIDING SYSTEM VALUE
VALUES (1, 'binance', 'BTC/USDT', '1m', {candles}, '{start}', '{start}'::timestamptz + {last} * interval '1 minute');
INSERT INTO candles (series_id, open_time, open, high, low, close, volume, fetched_at)
SELECT 1, '{start}'::timestamptz + n * interval '1 minute', price, price + 1, price - 1, price + 0.5, n % 100, now()
FROM generate_series(0, {last}) AS n, LATERAL (SELECT 60000 + n % 7919 - n % 4001 AS price) AS prices;
ANALYZE series, candles
"""
_PLAIN = """
SELECT date_bin($1, open_time, 'epoch') AS open_time, (array_agg(open ORDER BY open_time))[1] AS open,
       max(high) AS high, min(low) AS low, (array_agg(close ORDER BY open_time DESC))[1] AS close,
       sum(volume) AS volume, count(*) AS candles
FROM candles WHERE series_id = 1 AND open_time >= $2 AND open_time < $3 GROUP BY 1 ORDER BY 1
"""


def main(*, quick: bool = False) -> list[Row]:
    """Takes about a minute; with `quick` (fewer candles) some seconds."""
    return asyncio.run(_measure(QUICK_CANDLES if quick else CANDLES))


async def _measure(candles: int) -> list[Row]:
    async with a_database() as url:
        engine = build_engine(DatabaseSettings(database_url=url), "bench")
        raw = await asyncpg.connect(url, command_timeout=600)
        try:
            await raw.execute("SET TIME ZONE 'UTC'; SET jit = off")
            await raw.execute(_FILL.format(candles=candles, start=_START.isoformat(), last=candles - 1))
            await raw.execute("VACUUM (ANALYZE) candles")
            return [await _zoom(engine, raw, candles, name, span) for name, span in _ZOOMS]
        finally:
            await raw.close()
            await engine.dispose()


async def _zoom(engine: Any, raw: asyncpg.Connection, candles: int, name: str, span: timedelta | None) -> Row:
    end = _START + timedelta(minutes=candles)
    query = ChartQuery(
        exchange="binance",
        symbol="BTC/USDT",
        timeframe="1m",
        start=None if span is None else end - span,
        end=end,
        points=MAX_POINTS,
    )
    ours, chart = await milliseconds(lambda: chart_of(engine, query), _ROUNDS)
    window = (timedelta(seconds=chart.length_seconds or 0), chart.start, chart.end)
    plain, rows = await milliseconds(lambda: raw.fetch(_PLAIN, *window), 3)
    _check_equal(chart, rows)
    read = sum(point["candles"] for point in chart.points)
    note = f"{spread(ours)}; {read:,} candles in {len(chart.points):,} points, of {candles:,}"
    return Row.compare(f"/candles/chart, {name}", median(ours), median(plain), "ms", note, ours_below=TARGET_MS)


def _check_equal(chart: Chart, rows: Any) -> None:
    if [tuple(point.values()) for point in chart.points] != [tuple(row) for row in rows]:
        raise AssertionError("/candles/chart and plain SQL differ")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chart_bench")
    parser.add_argument("--quick", action="store_true", help="fewer candles")
    print(table(main(quick=parser.parse_args().quick)))
