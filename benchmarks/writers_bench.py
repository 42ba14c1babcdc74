"""Rows per second of log-writer and candle-writer beside raw asyncpg COPY-merge of the same rows into the same tables.

    python -m benchmarks.writers_bench [--quick]

Two figures each. *write alone*: from decoded events to the commit, by the service's own verb. *from Kafka*: the whole
worker reads a full topic; counted from its first committed batch to its last, so that joining the group is not in it.
All sides write to an emptied table, in batches of equally many rows; rounds take turns, medians count.
"""

import argparse
import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

import asyncpg
import uvloop
from aiokafka import TopicPartition
from benchmarks.infrastructure import a_database, a_kafka
from benchmarks.report import Row, table
from benchmarks.writers_baseline import (
    CANDLE_COLUMNS,
    LOG_COLUMNS,
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
from candle_writer.series import SeriesIds
from candle_writer.settings import CandleWriterSettings
from candle_writer.write import write_candles
from contracts.event import Event
from contracts.topics import CANDLES, RUN_EVENTS, Topic
from log_writer.runs import fold
from log_writer.schedule import ScheduleChanges
from log_writer.settings import LogWriterSettings
from log_writer.write import write_batch
from runtime.database import build_engine
from runtime.kafka.clients import build_broker, build_consumer, topic_name
from runtime.kafka.publisher import EventPublisher
from runtime.logs import configure_logging
from runtime.process.worker import Worker, serve
from runtime.settings import DatabaseSettings, KafkaSettings

LOG_BATCH = int(LogWriterSettings.model_fields["batch_max_records"].default)
CANDLE_BATCH = int(CandleWriterSettings.model_fields["batch_max_records"].default)
PAGE_BATCH = 20
"""Full pages per batch when writing alone: 20,000 candles, about what Kafka hands over at once."""
DRAIN_SECONDS = 120.0
AT_LEAST = 0.6
COUNTED_AT_LEAST = 0.9

Side = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Place:
    """Where a benchmark works."""

    database_url: str
    engine: AsyncEngine
    raw: asyncpg.Connection
    kafka: KafkaSettings


@dataclass(frozen=True)
class Comparison:
    """A figure to be found; each side is carried out on empty tables."""

    name: str
    note: str
    rows: int
    ours: Callable[[], Awaitable[float | None]]
    """Returns the rows per second if it measures them itself."""
    raw: Side
    before: Side | None = None
    """What the tables hold already; not measured."""
    at_least: float = AT_LEAST
    """The ratio that was promised."""


def main(*, quick: bool = False) -> list[Row]:
    """About a minute and a half; `quick`, with less to write and fewer rounds, a third of it."""
    return asyncio.run(_with_infrastructure(runs=3_000 if quick else 15_000, rounds=3 if quick else 5))


async def _with_infrastructure(runs: int, rounds: int) -> list[Row]:
    async with a_kafka() as kafka, a_database() as url:
        # In a loop of its own, because the workers run on uvloop, and that cannot start Postgres as another user.
        return await asyncio.to_thread(uvloop.run, _compare(kafka, url, runs, rounds))


async def _compare(kafka: KafkaSettings, url: str, runs: int, rounds: int) -> list[Row]:
    engine = build_engine(DatabaseSettings(database_url=url), "bench")
    raw = await asyncpg.connect(url)
    try:
        place = Place(url, engine, raw, kafka)
        comparisons = [*await _of_logs(place, runs), *await _of_candles(place, candles=runs * 6)]
        gc.freeze()  # what is to be written lies around in this process only; collections need not look at it
        return [await _measure(place, each, rounds) for each in comparisons]
    finally:
        await raw.close()
        await engine.dispose()


async def _measure(place: Place, comparison: Comparison, rounds: int) -> Row:
    ours, raw = [], []
    for number in range(rounds + 1):
        sides = [(ours, comparison.ours), (raw, comparison.raw)]
        for rates, carry_out in sides if number % 2 else reversed(sides):
            await place.raw.execute("TRUNCATE job_execution_logs, candles, series RESTART IDENTITY")
            await make_series(place.raw)
            if comparison.before is not None:
                await comparison.before()
            began = time.perf_counter()
            own_rate = await carry_out()
            rate = own_rate or comparison.rows / (time.perf_counter() - began)
            if number > 0:  # the first round warms up
                rates.append(rate)
    note = f"{comparison.note}, {rounds} rounds"
    return Row.compare(comparison.name, median(ours), median(raw), "rows/s", note, ratio_at_least=comparison.at_least)


# ---- what is compared ----


async def _of_logs(place: Place, runs: int) -> list[Comparison]:
    starts, endings = some_runs(runs, datetime.now(UTC))
    batches = [list(in_batches(events, LOG_BATCH)) for events in (starts, endings)]
    records = [[log_records(fold(batch)) for batch in half] for half in batches]
    await _publish(place.kafka, RUN_EVENTS, endings)

    async def copy(half: list[list[Any]]) -> None:
        async with _uncounted(place.raw):
            await copy_merge(place.raw, "job_execution_logs", LOG_COLUMNS, ["run_id"], half)

    async def write() -> None:
        for batch in (*batches[0], *batches[1]):
            await write_batch(place.engine, fold(batch), ScheduleChanges())

    async def write_uncounted() -> None:
        async with _uncounted(place.raw):
            await write()

    async def drain() -> float:
        settings = LogWriterSettings(**_settings(place))
        worker, group = log_writer.app.build_worker(settings), log_writer.app.NAME
        return await _drain(place.kafka, worker, group, RUN_EVENTS, "candlekeep_log_runs_written_total", runs)

    each = f"in batches of {LOG_BATCH}"
    return [
        Comparison(
            "log-writer, write alone",
            f"{runs} starts, then their {runs} ends, {each}",
            2 * runs,
            write,
            lambda: copy([*records[0], *records[1]]),
        ),
        Comparison(
            "- with its counts, beside without",
            f"{runs} starts, then their {runs} ends, {each}",
            2 * runs,
            write,
            write_uncounted,
            at_least=COUNTED_AT_LEAST,
        ),
        Comparison(
            "log-writer, from Kafka",
            f"{runs} ends of runs whose starts are stored, {each}",
            runs,
            drain,
            lambda: copy(records[1]),
            before=lambda: copy(records[0]),
        ),
    ]


async def _of_candles(place: Place, candles: int) -> list[Comparison]:
    pages, tails = some_fetches(candles // 1000, 1000), some_fetches(candles // 10, 10)
    await _publish(place.kafka, CANDLES, tails)

    def sides(fetches: Sequence[Any], size: int) -> tuple[Side, Side]:
        batches = list(in_batches(fetches, size))
        records = [candle_records(batch) for batch in batches]

        async def write() -> None:
            series = SeriesIds(place.engine)
            for batch in batches:
                await write_candles(place.engine, series, batch)

        async def raw() -> None:
            await copy_merge(place.raw, "candles", CANDLE_COLUMNS, ["series_id", "open_time"], records)

        return write, raw

    async def drain() -> float:
        settings = CandleWriterSettings(**_settings(place))
        worker, group = candle_writer.app.build_worker(settings), candle_writer.app.NAME
        return await _drain(place.kafka, worker, group, CANDLES, "candlekeep_candles_written_total", candles)

    write_pages, raw_pages = sides(pages, PAGE_BATCH)
    write_tails, raw_tails = sides(tails, CANDLE_BATCH)
    daily = f"{candles} candles, 10 a message, {CANDLE_BATCH} messages a batch"
    backfill = f"{candles} candles, 1000 a message, {PAGE_BATCH} messages a batch"
    return [
        Comparison("candle-writer, write alone", daily, candles, write_tails, raw_tails),
        Comparison("candle-writer, from Kafka", daily, candles, drain, raw_tails),
        Comparison("candle-writer, write of full pages", backfill, candles, write_pages, raw_pages),
    ]


# ---- the parts ----


@contextlib.asynccontextmanager
async def _uncounted(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Within the block nobody counts the run log by the hour."""
    await connection.execute("ALTER TABLE job_execution_logs DISABLE TRIGGER USER")
    yield
    await connection.execute("ALTER TABLE job_execution_logs ENABLE TRIGGER USER")


def _settings(place: Place) -> dict[str, Any]:
    return {**place.kafka.model_dump(), "database_url": place.database_url, "http_port": 0, "log_level": "ERROR"}


async def _drain(kafka: KafkaSettings, worker: Worker, group: str, topic: Topic, counter: str, rows: int) -> float:
    """Rows per second of a worker that finds a full topic, from its first committed batch on."""
    configure_logging(worker.settings, worker.name)
    await _rewind(kafka, group, topic)
    counted = worker.registry.restricted_registry([counter])  # collecting all metrics would compete with the worker
    stop = asyncio.Event()
    life = asyncio.create_task(serve(worker, stop))
    written, first, began = 0.0, 0.0, 0.0
    async with asyncio.timeout(DRAIN_SECONDS):
        while written < rows and not life.done():
            await asyncio.sleep(0.005)
            written = sum(
                sample.value for metric in counted.collect() for sample in metric.samples if sample.name == counter
            )
            if written and not began:
                first, began = written, time.perf_counter()
    seconds = time.perf_counter() - began
    stop.set()
    if await life != 0 or written < rows or first == rows:
        raise AssertionError(f"{worker.name} wrote {written:.0f} of {rows} rows, {first:.0f} of them at first")
    return (rows - first) / seconds


async def _rewind(kafka: KafkaSettings, group: str, topic: Topic) -> None:
    consumer = build_consumer(kafka, group=group, client_id="bench")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic_name(kafka, topic), number) for number in range(topic.partitions)])
        await consumer.commit(dict(await consumer.beginning_offsets(consumer.assignment())))
    finally:
        await consumer.stop()


async def _publish(kafka: KafkaSettings, topic: Topic, events: Sequence[Event]) -> None:
    broker = build_broker(kafka, "bench")
    await broker.start()
    try:
        publisher = EventPublisher(broker, kafka, "bench")
        for batch in in_batches(events, 5000):
            await publisher.publish_many(topic, batch)
    finally:
        await broker.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.writers_bench")
    parser.add_argument("--quick", action="store_true", help="less to write, fewer rounds")
    print(table(main(quick=parser.parse_args().quick)))
