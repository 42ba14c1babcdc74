"""Compares rows per second of log-writer and candle-writer with a raw asyncpg COPY-merge of the same rows.

    python -m benchmarks.writers_bench [--quick]

There are two figures per writer. *Write path*: from decoded events to the commit, with the service's own function.
*From Kafka*: the whole worker reads a full topic. This is measured from its first committed batch to its last, so
joining the group is not included. All sides write to empty tables, in batches with the same number of rows. Rounds
take turns, and the results are medians.
"""

import argparse
import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any
from unittest import mock

import asyncpg
import uvloop
from benchmarks.infrastructure import a_database, a_kafka
from benchmarks.report import Row, table
from benchmarks.topic_drain import drain_topic, publish_events
from benchmarks.writers_baseline import (
    CANDLE_COLUMNS,
    CONFIGS,
    LOG_COLUMNS,
    START_MS,
    candle_records,
    copy_merge,
    in_batches,
    log_records,
    make_series,
    some_fetches,
    some_runs,
)
from sqlalchemy.ext.asyncio import AsyncEngine

import candle_writer.app
import log_writer.app
from candle_writer.ledger import Claims
from candle_writer.ledger_tables import write_ledger
from candle_writer.series import SeriesIds
from candle_writer.settings import CandleWriterSettings
from candle_writer.write import write_candles
from contracts.spans import Interval
from contracts.timeframes import DAY_MS
from contracts.topics import CANDLES, RUN_EVENTS
from log_writer.runs import fold
from log_writer.schedule import ScheduleChanges
from log_writer.settings import LogWriterSettings
from log_writer.write import write_batch
from runtime.database import build_engine, driver_transaction
from runtime.settings import DatabaseSettings, KafkaSettings

LOG_BATCH = int(LogWriterSettings.model_fields["batch_max_records"].default)
CANDLE_BATCH = int(CandleWriterSettings.model_fields["batch_max_records"].default)
PAGE_BATCH = 20
"""Full pages per batch of the write path: 20,000 candles, about as many as Kafka returns at once."""
MIN_RATIO = 0.6
MIN_RATIO_WITH_COUNTS = 0.9
MIN_RATIO_WITH_LEDGER = 0.9
MAX_LEDGER_BYTES = 200
"""Per series."""
LEDGER_SERIES = 20_000

_EMPTY_TABLES = "TRUNCATE job_execution_logs, candles, series RESTART IDENTITY CASCADE"
_ADD_SERIES = """
INSERT INTO series (exchange, symbol, timeframe) SELECT 'bybit', n, '1m' FROM generate_series(1, $1) AS n RETURNING id
"""

Side = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Infrastructure:
    """The database and Kafka of the benchmark."""

    database_url: str
    engine: AsyncEngine
    raw: asyncpg.Connection
    kafka: KafkaSettings


@dataclass(frozen=True)
class Comparison:
    """One figure to measure. Each side starts with empty tables."""

    name: str
    note: str
    rows: int
    ours: Callable[[], Awaitable[float | None]]
    """Returns the rows per second if it measures them itself, otherwise None."""
    raw: Side
    prepare: Side | None = None
    """Fills the tables before the measurement; not measured."""
    min_ratio: float = MIN_RATIO
    """The target for the ratio."""


def main(*, quick: bool = False) -> list[Row]:
    """Takes about 90 seconds; with `quick` (fewer rows and rounds) 30 seconds."""
    return asyncio.run(_with_infrastructure(runs=3_000 if quick else 15_000, rounds=3 if quick else 5))


async def _with_infrastructure(runs: int, rounds: int) -> list[Row]:
    async with a_kafka() as kafka, a_database() as url:
        # In a separate loop, because the workers run on uvloop, which cannot start Postgres as another user.
        return await asyncio.to_thread(uvloop.run, _compare(kafka, url, runs, rounds))


async def _compare(kafka: KafkaSettings, url: str, runs: int, rounds: int) -> list[Row]:
    engine = build_engine(DatabaseSettings(database_url=url), "bench")
    raw = await asyncpg.connect(url)
    try:
        infra = Infrastructure(url, engine, raw, kafka)
        comparisons = [*await _log_comparisons(infra, runs), *await _candle_comparisons(infra, candles=runs * 6)]
        gc.freeze()  # garbage collections need not visit the prepared rows
        rows = [await _measure(infra, each, rounds) for each in comparisons]
        return [*rows, await _ledger_size(infra)]
    finally:
        await raw.close()
        await engine.dispose()


async def _measure(infra: Infrastructure, comparison: Comparison, rounds: int) -> Row:
    ours: list[float] = []
    raw: list[float] = []
    for number in range(rounds + 1):
        sides = [(ours, comparison.ours), (raw, comparison.raw)]
        for rates, carry_out in sides if number % 2 else reversed(sides):
            await infra.raw.execute(_EMPTY_TABLES)
            await make_series(infra.raw)
            if comparison.prepare is not None:
                await comparison.prepare()
            started = time.perf_counter()
            own_rate = await carry_out()
            rate = own_rate or comparison.rows / (time.perf_counter() - started)
            if number > 0:  # the first round warms up
                rates.append(rate)
    note = f"{comparison.note}, {rounds} rounds"
    return Row.compare(comparison.name, median(ours), median(raw), "rows/s", note, ratio_at_least=comparison.min_ratio)


async def _ledger_size(infra: Infrastructure) -> Row:
    """The size after many batches. It does not grow with time, because each batch extends the span of its series."""
    await infra.raw.execute(_EMPTY_TABLES)
    ids = [row["id"] for row in await infra.raw.fetch(_ADD_SERIES, LEDGER_SERIES)]
    for day in range(1, 31):
        claims = Claims(((START_MS, START_MS + day * DAY_MS),), [], [])
        for part in in_batches(ids, CONFIGS):
            async with driver_transaction(infra.engine) as connection:
                await write_ledger(connection, dict.fromkeys(part, claims))
    size = await infra.raw.fetchval("SELECT pg_total_relation_size('coverage') + pg_total_relation_size('absences')")
    note = f"{LEDGER_SERIES} series without outages, extended 30 times, with indexes"
    name = "ledger of candle-writer, size per series"
    return Row.compare(name, size / LEDGER_SERIES, None, "bytes", note, ours_below=MAX_LEDGER_BYTES)


# ---- what is compared ----


async def _log_comparisons(infra: Infrastructure, runs: int) -> list[Comparison]:
    starts, endings = some_runs(runs, datetime.now(UTC))
    batches = [list(in_batches(events, LOG_BATCH)) for events in (starts, endings)]
    records = [[log_records(fold(batch)) for batch in half] for half in batches]
    await publish_events(infra.kafka, RUN_EVENTS, endings)

    async def copy(half: list[list[Any]]) -> None:
        async with _uncounted(infra.raw):
            await copy_merge(infra.raw, "job_execution_logs", LOG_COLUMNS, ["run_id"], half)

    async def write() -> None:
        for batch in (*batches[0], *batches[1]):
            await write_batch(infra.engine, fold(batch), ScheduleChanges())

    async def write_uncounted() -> None:
        async with _uncounted(infra.raw):
            await write()

    async def drain() -> float:
        settings = LogWriterSettings(**_settings(infra))
        worker, group = log_writer.app.build_worker(settings), log_writer.app.NAME
        return await drain_topic(infra.kafka, worker, group, RUN_EVENTS, "candlekeep_log_runs_written_total", runs)

    each = f"in batches of {LOG_BATCH}"
    return [
        Comparison(
            "log-writer, write path",
            f"{runs} starts, then their {runs} ends, {each}",
            2 * runs,
            write,
            lambda: copy([*records[0], *records[1]]),
        ),
        Comparison(
            "- with its counts, compared with none",
            f"{runs} starts, then their {runs} ends, {each}",
            2 * runs,
            write,
            write_uncounted,
            min_ratio=MIN_RATIO_WITH_COUNTS,
        ),
        Comparison(
            "log-writer, from Kafka",
            f"{runs} ends of runs whose starts are stored, {each}",
            runs,
            drain,
            lambda: copy(records[1]),
            prepare=lambda: copy(records[0]),
        ),
    ]


async def _candle_comparisons(infra: Infrastructure, candles: int) -> list[Comparison]:
    pages, tails = some_fetches(candles // 1000, 1000), some_fetches(candles // 10, 10)
    await publish_events(infra.kafka, CANDLES, tails)

    def sides(fetches: Sequence[Any], size: int) -> tuple[Side, Side]:
        batches = list(in_batches(fetches, size))
        records = [candle_records(batch) for batch in batches]

        async def write() -> None:
            series = SeriesIds(infra.engine)
            for batch in batches:
                await write_candles(infra.engine, series, batch)

        async def raw() -> None:
            await copy_merge(infra.raw, "candles", CANDLE_COLUMNS, ["series_id", "open_time"], records)

        return write, raw

    async def drain() -> float:
        settings = CandleWriterSettings(**_settings(infra))
        worker, group = candle_writer.app.build_worker(settings), candle_writer.app.NAME
        return await drain_topic(infra.kafka, worker, group, CANDLES, "candlekeep_candles_written_total", candles)

    write_pages, raw_pages = sides(pages, PAGE_BATCH)
    write_tails, raw_tails = sides(tails, CANDLE_BATCH)

    async def write_without_ledger() -> None:
        with _without_ledger():
            await write_tails()

    daily = f"{candles} candles, 10 per message, {CANDLE_BATCH} messages per batch"
    backfill = f"{candles} candles, 1000 per message, {PAGE_BATCH} messages per batch"
    return [
        Comparison("candle-writer, write path", daily, candles, write_tails, raw_tails),
        Comparison(
            "- with its ledger, compared with none",
            daily,
            candles,
            write_tails,
            write_without_ledger,
            min_ratio=MIN_RATIO_WITH_LEDGER,
        ),
        Comparison("candle-writer, from Kafka", daily, candles, drain, raw_tails),
        Comparison("candle-writer, write of full pages", backfill, candles, write_pages, raw_pages),
    ]


# ---- the workers ----


@contextlib.asynccontextmanager
async def _uncounted(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Disable the triggers that count runs per hour, until the block ends."""
    await connection.execute("ALTER TABLE job_execution_logs DISABLE TRIGGER USER")
    yield
    await connection.execute("ALTER TABLE job_execution_logs ENABLE TRIGGER USER")


@contextlib.contextmanager
def _without_ledger() -> Iterator[None]:
    """Write only candles, until the block ends. The statement that locks the series still reads their spans."""

    async def write_nothing(*_: object) -> None:
        return

    async def read_nothing(*_: object) -> dict[int, list[Interval]]:
        return {}

    with (
        mock.patch.multiple("candle_writer.write", write_ledger=write_nothing, stored_spans=read_nothing),
        mock.patch("candle_writer.fold.claims_of", return_value=Claims((), [], [])),
    ):
        yield


def _settings(infra: Infrastructure) -> dict[str, Any]:
    return {**infra.kafka.model_dump(), "database_url": infra.database_url, "http_port": 0, "log_level": "ERROR"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.writers_bench")
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds")
    print(table(main(quick=parser.parse_args().quick)))
