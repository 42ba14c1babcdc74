"""The data of the writers' benchmark, and its baseline: a raw COPY-merge of this data.

The baseline is the usual solution with asyncpg: COPY the rows into a temporary table, then INSERT them from there with
ON CONFLICT DO UPDATE, in one transaction per batch. It does not read Kafka, decode, merge or count.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg

from contracts.candles import Candle, CandlesCollected
from contracts.coverage import span_of
from contracts.runs import RunFinished, RunStarted, TimeframeResult
from contracts.vocabulary import RunStatus, Trigger
from log_writer.runs import RunRow

START = datetime(2026, 1, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
TIMEFRAMES = ("1m", "5m", "1h")
CONFIGS = 500

LOG_COLUMNS = (*(field for field in RunRow._fields if field != "event_id"), "duration_seconds")
CANDLE_COLUMNS = ("series_id", "open_time", "open", "high", "low", "close", "volume", "fetched_at")


def some_runs(runs: int, now: datetime) -> tuple[list[RunStarted], list[RunFinished]]:
    """Return the starts and ends of runs. As in operation, a run is inserted, and updated in a later batch.

    The runs are from `now` on, because retention would delete old ones during the benchmark.
    """
    starts = [_start(number, now) for number in range(runs)]
    return starts, [_end(start) for start in starts]


def _start(number: int, now: datetime) -> RunStarted:
    at = now + timedelta(milliseconds=number)
    return RunStarted(
        occurred_at=at,
        run_id=uuid4(),
        config_id=number % CONFIGS + 1,
        exchange="binance",
        symbol=f"C{number % CONFIGS}/USDT",
        timeframes=TIMEFRAMES,
        trigger=Trigger.SCHEDULED,
        scheduled_for=at,
        started_at=at,
        deadline_at=at + timedelta(days=1),
        collector="collector-1",
    )


def _end(start: RunStarted) -> RunFinished:
    at = start.started_at + timedelta(milliseconds=500 + 10 * start.config_id)
    results = (TimeframeResult(timeframe=each, candles=10, pages=1, first_open=at, last_open=at) for each in TIMEFRAMES)
    return RunFinished(
        occurred_at=at,
        **start.model_dump(include={"run_id", "config_id", "exchange", "symbol", "timeframes", "trigger"}),
        scheduled_for=start.scheduled_for,
        started_at=start.started_at,
        finished_at=at,
        status=RunStatus.SUCCESS,
        records_collected=30,
        results=tuple(results),
    )


def some_fetches(messages: int, candles: int) -> list[CandlesCollected]:
    """Return messages with `candles` candles each. No candle occurs twice. Each message vouches for its candles."""
    return [_fetch(number, candles) for number in range(messages)]


def _fetch(number: int, candles: int) -> CandlesCollected:
    first = number // CONFIGS * candles
    rows = (
        Candle(START_MS + minute * 60_000, 41_234.5, 41_300.25, 41_200.5, 41_250.75 + minute, 12.3456)
        for minute in range(first, first + candles)
    )
    at = START + timedelta(days=300, seconds=number)  # after the candles of the longest run
    return CandlesCollected(
        occurred_at=at,
        run_id=uuid4(),
        exchange="binance",
        symbol=f"C{number % CONFIGS}/USDT",
        timeframe="1m",
        fetched_at=at,
        rows=tuple(rows),
        verified=(span_of((START_MS + first * 60_000, START_MS + (first + candles) * 60_000)),),
    )


def log_records(rows: Sequence[RunRow]) -> list[tuple[Any, ...]]:
    """Return the rows for the baseline, in the order of LOG_COLUMNS."""
    return [(*row[: len(RunRow._fields) - 1], row.duration_seconds) for row in rows]


def candle_records(fetches: Sequence[CandlesCollected]) -> list[tuple[Any, ...]]:
    """Return the rows for the baseline, in the order of CANDLE_COLUMNS, with the series ids of `make_series`."""
    return [
        (
            int(fetch.symbol[1:].partition("/")[0]) + 1,
            START + timedelta(milliseconds=open_ms - START_MS),
            *rest,
            fetch.fetched_at,
        )
        for fetch in fetches
        for open_ms, *rest in fetch.rows
    ]


async def make_series(connection: asyncpg.Connection) -> None:
    """Insert every series of `some_fetches`, with ids from 1 on."""
    await connection.execute(
        "INSERT INTO series (id, exchange, symbol, timeframe) OVERRIDING SYSTEM VALUE "
        "SELECT n + 1, 'binance', 'C' || n || '/USDT', '1m' FROM generate_series(0, $1 - 1) AS n",
        CONFIGS,
    )


async def copy_merge(
    connection: asyncpg.Connection, table: str, columns: Sequence[str], key: Sequence[str], batches: Sequence[list[Any]]
) -> None:
    """Write the batches to the table: the baseline."""
    names, keys = ", ".join(columns), ", ".join(key)
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in key)
    incoming = f"incoming_{table}"
    await connection.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS {incoming} ON COMMIT DELETE ROWS AS SELECT {names} FROM {table} WITH NO DATA"
    )
    merge = f"INSERT INTO {table} ({names}) SELECT {names} FROM {incoming} ON CONFLICT ({keys}) DO UPDATE SET {changes}"
    for records in batches:
        async with connection.transaction():
            await connection.copy_records_to_table(incoming, columns=columns, records=records)
            await connection.execute(merge)


def in_batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Yield slices of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
