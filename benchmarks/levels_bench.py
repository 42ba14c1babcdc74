"""Compares the write path of candle-writer with and without the triggers that note stale levels of charts.

    python -m benchmarks.levels_bench [--quick]

The figures are processor times of this process and of its Postgres connections together, per candle. Rounds take turns
on the same data, and the results are medians.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

import asyncpg
from benchmarks.infrastructure import a_database
from benchmarks.report import Row, table
from benchmarks.writers_baseline import CONFIGS, START_MS, in_batches, make_series, some_fetches
from sqlalchemy.ext.asyncio import AsyncEngine

from candle_writer.series import SeriesIds
from candle_writer.write import write_candles
from contracts.candles import CandlesCollected
from contracts.timeframes import DAY_MS
from runtime.database import build_engine
from runtime.settings import DatabaseSettings
from store.chart_levels import levels_of

CANDLES = 60_000
ROUNDS = 10
MOST = 1.1
"""The target: the triggers may take a tenth of the time."""

_TICKS = os.sysconf("SC_CLK_TCK")
_EMPTY = "TRUNCATE candles, series RESTART IDENTITY CASCADE"
_ADD_LEVELS = """
INSERT INTO series_levels (series_id, starts_at, ends_at, lengths)
SELECT id, 'epoch', 'epoch'::timestamptz + $1 * interval '1 millisecond', $2 FROM series
"""
_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'bench'"


def main(*, quick: bool = False) -> list[Row]:
    """Takes about two minutes; with `quick` (fewer candles and rounds) 20 seconds."""
    return asyncio.run(_measure(CANDLES // 6, 3) if quick else _measure(CANDLES, ROUNDS))


async def _measure(candles: int, rounds: int) -> list[Row]:
    tails, pages, singles = (some_fetches(candles // size, size) for size in (10, 1000, 3))
    cases = (
        ("levels, 10 candles per message, 1000 messages per batch", list(in_batches(tails, 1000)), START_MS),
        ("- 3 candles per message, one message per batch", list(in_batches(singles[: candles // 60], 1)), START_MS),
        ("- 1000 candles per message, 20 messages per batch", list(in_batches(pages, 20)), START_MS),
        ("- the same, into filled levels", list(in_batches(pages, 20)), START_MS + 400 * DAY_MS),
    )
    async with a_database() as url:
        engine = build_engine(DatabaseSettings(database_url=url), "bench", pool_size=1)
        raw = await asyncpg.connect(url)
        try:
            return [await _compare(engine, raw, name, batches, end, rounds) for name, batches, end in cases]
        finally:
            await raw.close()
            await engine.dispose()


async def _compare(
    engine: AsyncEngine,
    raw: asyncpg.Connection,
    name: str,
    batches: Sequence[Sequence[CandlesCollected]],
    levels_until: int,
    rounds: int,
) -> Row:
    candles = sum(len(event.rows) for batch in batches for event in batch)
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds + 1):
        for triggers in (True, False) if number % 2 else (False, True):
            await raw.execute(_EMPTY)
            await make_series(raw)
            await raw.execute(_ADD_LEVELS, levels_until, list(levels_of("1m")))
            await raw.execute(f"ALTER TABLE candles {'ENABLE' if triggers else 'DISABLE'} TRIGGER USER")
            seconds = await _write(engine, raw, batches)
            if number:  # the first round warms up
                times[triggers].append(seconds / candles * 1e6)
    await raw.execute("ALTER TABLE candles ENABLE TRIGGER USER")
    ratios = [one / other for one, other in zip(times[True], times[False], strict=True)]
    low, middle, high = quantiles(ratios, n=4)
    note = f"ratio of pairs {middle:.3f} ({low:.3f} to {high:.3f}), {candles} candles of {CONFIGS} series"
    limit = MOST * median(times[False])
    return Row.compare(name, median(times[True]), median(times[False]), "µs", note, ours_below=limit)


async def _write(engine: AsyncEngine, raw: asyncpg.Connection, batches: Sequence[Sequence[CandlesCollected]]) -> float:
    """Seconds of processor time."""
    series = SeriesIds(engine)
    async with engine.connect():
        pass  # connected, so the next line finds the process
    backends = [row["pid"] for row in await raw.fetch(_BACKENDS)]
    before = time.process_time() + _seconds_of(backends)
    for batch in batches:
        await write_candles(engine, series, batch)
    return time.process_time() + _seconds_of(backends) - before


def _seconds_of(processes: Sequence[int]) -> float:
    """Processor time of other processes, from the scheduler of Linux if it has it, otherwise in ticks of the clock."""
    total = 0.0
    for process in processes:
        times = Path(f"/proc/{process}/schedstat")
        if times.exists():
            total += int(times.read_text().split()[0]) / 1e9
        else:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.levels_bench")
    parser.add_argument("--quick", action="store_true", help="fewer candles and rounds")
    print(table(main(quick=parser.parse_args().quick)))
