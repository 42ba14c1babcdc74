"""Compares `GET /completeness` over 10,000 series and 90 days with plain SQL over the spans of the ledger.

    python -m benchmarks.completeness_bench [--quick]

The times are without HTTP. Each series is in a config. A third of the series have open holes and lost time, up to ten
stretches each. If the numbers of both sides differ, the benchmark fails.
"""

import argparse
import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from unittest import mock

import asyncpg
from benchmarks.infrastructure import a_database
from benchmarks.large_run_log import EXCHANGES
from benchmarks.report import Row, table
from benchmarks.timing import milliseconds, spread

from admin_api.coverage import completeness_sql
from admin_api.coverage.completeness import completeness_of
from admin_api.coverage.completeness_schemas import Completeness, CompletenessQuery
from candle_writer.recount import recount_outdated
from contracts.coverage import SETTLE_TIME
from runtime.database import build_engine
from runtime.settings import DatabaseSettings

SERIES = 10_000
QUICK_SERIES = 1_000
DAYS = 90
TARGET_MS = 50.0
_TIMEFRAMES = ("1m", "5m", "1h", "1d")
_ROUNDS = 40
_PLAIN_ROUNDS = 5

_CONFIGS = """
SELECT setseed(0.42);
INSERT INTO data_collection_configs (symbol, exchange, timeframes, interval_minutes, enabled)
SELECT 'C' || n || '/USDT', ({exchanges})[1 + n % cardinality({exchanges})], {timeframes}, 10, true
FROM generate_series(1, {series} / cardinality({timeframes})) AS n
"""

LEDGERS = """
INSERT INTO config_timeframes (exchange, symbol, timeframe, config_id)
SELECT exchange, symbol, unnest(timeframes), id FROM data_collection_configs;
INSERT INTO series (exchange, symbol, timeframe) SELECT exchange, symbol, timeframe FROM config_timeframes;
CREATE TEMP TABLE gaps AS
SELECT id AS series_id, starts_at, starts_at + ceil(random() * 600) * interval '1 minute' AS ends_at,
       CASE WHEN random() < 0.3 THEN 'lost' WHEN random() < 0.3 THEN 'unread' END AS absence_class
FROM series, LATERAL (
  SELECT date_trunc('day', now(), 'UTC') - (8 * number + floor(random() * 6) + 2) * interval '1 day'
           + floor(random() * 1440) * interval '1 minute' AS starts_at
  FROM generate_series(1, ceil(random() * 10)::int) AS number WHERE series.id % 3 = 0
) AS starts;
CREATE INDEX ON gaps (series_id);
INSERT INTO coverage (series_id, verified, updated_at)
SELECT id, tstzmultirange(tstzrange(
         date_trunc('day', now(), 'UTC') - (85 + floor(random() * 20)) * interval '1 day',
         date_trunc('minute', now()) - CASE WHEN random() < 0.02 THEN interval '3 hours' ELSE '5 minutes' END
       )) - coalesce((SELECT range_agg(tstzrange(starts_at, ends_at)) FROM gaps WHERE series_id = id), '{}'), now()
FROM series;
INSERT INTO absences (series_id, starts_at, ends_at, absence_class, evidence, first_seen, last_checked, run_id)
SELECT series_id, starts_at, ends_at, absence_class, 'an answer', now(), now(), gen_random_uuid()
FROM gaps WHERE absence_class IS NOT NULL;
ANALYZE series, coverage, absences, data_collection_configs, config_timeframes
"""
"""The series of all configs, with their ledgers."""

_LONG_HOLE = """
INSERT INTO series (exchange, symbol, timeframe) VALUES ('binance', 'LONG/USDT', '1m');
INSERT INTO coverage (series_id, verified, updated_at)
SELECT id, tstzmultirange(tstzrange(now() - interval '6 years', now() - interval '2191 days'),
                          tstzrange(now() - interval '1 day', now())), now()
FROM series WHERE symbol = 'LONG/USDT'
"""
# Every third series of the others, on every day of a year.
_MORE_DAYS = """
INSERT INTO series_days (series_id, day, unverified, whole, answered)
SELECT id, day, 5, 0, 0 FROM series, generate_series(now()::date - 365, now()::date, interval '1 day') AS day
WHERE id % 3 = 0 ON CONFLICT DO NOTHING
"""

_PLAIN_SERIES = """
SELECT exchange, length, verified, verified + lost AS answered,
       tstzrange(least(lower(verified), first_absence), greatest(upper(verified), lost_until, $3)) AS target
FROM series JOIN coverage ON series_id = series.id, LATERAL (
  SELECT min(starts_at) AS first_absence, max(ends_at) FILTER (WHERE absence_class = 'lost') AS lost_until,
         coalesce(range_agg(tstzrange(starts_at, ends_at)) FILTER (WHERE absence_class = 'lost'), '{}') AS lost
  FROM absences WHERE absences.series_id = series.id
) AS absent, LATERAL (
  SELECT CASE timeframe WHEN '1m' THEN 60 WHEN '5m' THEN 300 WHEN '1h' THEN 3600 ELSE 86400 END AS length
) AS periods
"""


def _periods(span: str) -> str:
    """The number of periods that lie completely in a span."""
    end, start = (f"extract(epoch FROM {bound}({span}))::bigint" for bound in ("upper", "lower"))
    return f"coalesce(greatest(0, {end} / length - ({start} + length - 1) / length), 0)"


def _plain(key: str, days: str, window: str) -> str:
    return f"""
SELECT {key}, sum({_periods("part")}) AS closed_periods,
  sum((SELECT sum({_periods("span")}) FROM unnest(verified * tstzmultirange(part)) AS span)) AS verified_periods,
  sum((SELECT sum({_periods("span")}) FROM unnest(answered * tstzmultirange(part)) AS span)) AS answered_periods
FROM ({_PLAIN_SERIES}) AS of_series{days}, LATERAL (SELECT target * {window} AS part) AS parts
GROUP BY 1 ORDER BY 1
"""


_PLAIN_TOTAL = _plain("NULL", "", "tstzrange($1, $2)")
_PLAIN_EXCHANGES = _plain("exchange", "", "tstzrange($1, $2)")
_PLAIN_DAYS = _plain(
    "day",
    ", generate_series($1::timestamptz, $2::timestamptz - interval '1 day', '1 day') AS day",
    "tstzrange(day, day + interval '1 day')",
)
NUMBERS = ("closed_periods", "verified_periods", "answered_periods")


def main(*, quick: bool = False) -> list[Row]:
    """Takes one to two minutes; with `quick` (fewer series) some seconds."""
    return asyncio.run(_measure(QUICK_SERIES if quick else SERIES))


async def _measure(series: int) -> list[Row]:
    async with a_database() as url:
        engine = build_engine(DatabaseSettings(database_url=url), "bench")
        raw = await asyncpg.connect(url)
        try:
            await _fill(raw, engine, series)
            return [*await _rows(engine, raw, series), *await _one_series(engine, raw)]
        finally:
            await raw.close()
            await engine.dispose()


async def _fill(raw: asyncpg.Connection, engine: Any, series: int) -> None:
    """The ledgers with SQL; their daily counts as candle-writer counts them."""
    arrays = {name: f"ARRAY{list(each)}" for name, each in (("exchanges", EXCHANGES), ("timeframes", _TIMEFRAMES))}
    await raw.execute("SET TIME ZONE 'UTC'")
    await raw.execute(_CONFIGS.format(series=series, **arrays))
    await raw.execute(LEDGERS)
    await recount_outdated(engine, lambda _: None)
    await raw.execute("VACUUM (ANALYZE) series_days, series_counts, coverage")


async def _rows(engine: Any, raw: asyncpg.Connection, series: int) -> list[Row]:
    now = datetime.now(UTC)
    end = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    window = (end - timedelta(days=DAYS), end, now - SETTLE_TIME)
    days = await raw.fetchval("SELECT count(*) FROM series_days")
    found: list[Row] = []
    for name, plain, parameters in (
        ("in total", _PLAIN_TOTAL, {}),
        ("by exchange", _PLAIN_EXCHANGES, {"group_by": "exchange"}),
        ("in total and by day", _PLAIN_DAYS, {"per_day": True}),
        ("100 series by day", None, {"per_day": True, "group_by": "series"}),
    ):
        query = CompletenessQuery(start=window[0].date(), end=end.date(), **parameters)
        ours, (page, _) = await milliseconds(lambda query=query: completeness_of(engine, query, now), _ROUNDS)  # type: ignore[misc]
        baseline = None
        if plain is not None:
            rounds = 1 if query.per_day else _PLAIN_ROUNDS
            durations, rows = await milliseconds(lambda plain=plain: raw.fetch(plain, *window), rounds)  # type: ignore[misc]
            _check_equal(page, rows)
            baseline = median(durations)
        note = f"{spread(ours)}; {series:,} series, {DAYS} days, {days:,} days with holes"
        target = TARGET_MS if not query.per_day else None
        found.append(Row.compare(f"/completeness, {name}", median(ours), baseline, "ms", note, ours_below=target))
    return found


async def _one_series(engine: Any, raw: asyncpg.Connection) -> list[Row]:
    """A series with a hole of six years, among many others with holes on each day."""
    await raw.execute(_LONG_HOLE)
    await recount_outdated(engine, lambda _: None)
    await raw.execute(_MORE_DAYS)
    await raw.execute("VACUUM (ANALYZE) series, series_days, series_counts, coverage")
    now = datetime.now(UTC)
    query = CompletenessQuery(symbol="LONG/USDT", per_day=True, start=now.date() - timedelta(days=365))
    days = await raw.fetchval("SELECT count(*) FROM series_days")
    ours, (one, _) = await milliseconds(lambda: completeness_of(engine, query, now), _ROUNDS)
    with mock.patch.object(completeness_sql, "ONLY_KNOWN", ""):
        baseline, (same, _) = await milliseconds(lambda: completeness_of(engine, query, now), _PLAIN_ROUNDS)
    if one != same:
        raise AssertionError("the days of other series change the numbers")
    note = f"{spread(ours)}; {days:,} days with holes; baseline: the days of all series are added up"
    name = "/completeness, one series by day, a year"
    return [Row.compare(name, median(ours), median(baseline), "ms", note, ours_below=TARGET_MS)]


def _check_equal(page: Sequence[Completeness], rows: Sequence[Any]) -> None:
    ours = [each for row in page for each in (row.days if row.days is not None else [row])]
    numbers = [tuple(getattr(each, name) for name in NUMBERS) for each in ours]
    if numbers != [tuple(int(row[name]) for name in NUMBERS) for row in rows]:
        raise AssertionError(f"/completeness and plain SQL differ: {numbers} and {rows}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.completeness_bench")
    parser.add_argument("--quick", action="store_true", help="fewer series")
    print(table(main(quick=parser.parse_args().quick)))
