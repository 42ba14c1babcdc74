"""Compares the candles per second of a backfill with a bare ccxt loop of the same pages.

    python -m benchmarks.backfill_bench [--quick]

Our side is the whole path: backfiller, Kafka, collector, candle-writer and Postgres, each as a process with default
settings. A round begins when a config with a start date is stored, and ends when its series is verified from this date
on. The baseline requests the same time with ccxt, one page after another, and discards the rows. Both obey the rate
limit of the exchange, which answers after 50 ms. Rounds of both sides take turns and have a new market each, so that
neither finds candles in the caches of the simulator.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, Final

import asyncpg
import ccxt.async_support as ccxt
import httpx
from benchmarks.report import Row, table
from benchmarks.whole_system import running_system

from collector.exchange.ccxt_setup import redirect_requests, restrict_markets
from contracts.coverage import to_milliseconds
from exchange_simulator.markets import list_markets
from local_stack.plan import SERVICES
from local_stack.stack import Stack

EXCHANGE: Final = "binance"
PAGE: Final = 1000
LATENCY_MS: Final = 50
TARGET_RATIO: Final = 0.8
MINUTE_MS: Final = 60_000
ROUND_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.02
_ROLES: Final = tuple(role for role in SERVICES if role.name in ("backfiller", "collector", "candle-writer"))

_STORE: Final = """
WITH config AS (
  INSERT INTO data_collection_configs (symbol, exchange, timeframes, interval_minutes, enabled, start_date)
  VALUES ($1, $2, ARRAY['1m'], 1, true, $3) RETURNING id
), wanted AS (
  INSERT INTO config_timeframes (exchange, symbol, timeframe, config_id) SELECT $2, $1, '1m', id FROM config
), stored AS (
  INSERT INTO series (exchange, symbol, timeframe) VALUES ($2, $1, '1m') RETURNING id
)
INSERT INTO coverage (series_id, verified, updated_at)
SELECT id, tstzmultirange(tstzrange($4, $5)), now() FROM stored
"""
_WHOLE: Final = """
SELECT verified @> tstzrange($3, $4) FROM coverage JOIN series ON id = series_id WHERE (exchange, symbol) = ($1, $2)
"""
_ROWS: Final = "SELECT count(*) FROM candles JOIN series ON id = series_id WHERE (exchange, symbol) = ($1, $2)"


@dataclass(frozen=True)
class History:
    """The time that a round reads, of one market."""

    start: datetime
    end: datetime

    @property
    def candles(self) -> int:
        return int((self.end - self.start).total_seconds()) // 60


def main(*, quick: bool = False) -> list[Row]:
    """Takes about two minutes; with `quick` (shorter and fewer rounds) 40 seconds."""
    return asyncio.run(_compare(days=10 if quick else 60, rounds=2 if quick else 5))


async def _compare(days: int, rounds: int) -> list[Row]:
    symbols = iter([market.symbol for market in list_markets(EXCHANGE).of_kind("spot")])
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    history, short = History(end - timedelta(days=days), end), History(end - timedelta(days=2), end)
    ours, bare = [], []
    async with running_system(roles=_ROLES) as stack, _clients(stack) as (database, client):
        await _set_latency(stack)
        for warm_up in (short, short):  # connections, markets, Kafka's compiler
            await _ours(database, next(symbols), warm_up)
            await _bare(client, next(symbols), warm_up)
        for _ in range(rounds):
            ours.append(await _ours(database, next(symbols), history))
            bare.append(await _bare(client, next(symbols), history))
    note = f"{days} days of 1m, {PAGE} candles per page, exchange answers after {LATENCY_MS} ms, {rounds} rounds each"
    return [
        Row.compare(
            "backfill, from the config to verified candles",
            history.candles / median(ours),
            history.candles / median(bare),
            "candles/s",
            f"bare ccxt loop, one request at a time; {note}",
            ratio_at_least=TARGET_RATIO,
        )
    ]


@asynccontextmanager
async def _clients(stack: Stack) -> AsyncIterator[tuple[asyncpg.Connection, Any]]:
    database = await asyncpg.connect(stack.database_url)
    client = ccxt.binance({"enableRateLimit": True, "timeout": 10_000})
    restrict_markets(client, "spot")
    redirect_requests(client, str(stack.simulator_url))
    try:
        await client.load_markets()
        yield database, client
    finally:
        await client.close()
        await database.close()


async def _set_latency(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=str(stack.simulator_url), trust_env=False) as simulator:
        mood = {"kind": "latency", "latency_ms": LATENCY_MS}
        (await simulator.post("/control/moods", json=mood)).raise_for_status()


async def _ours(database: asyncpg.Connection, symbol: str, history: History) -> float:
    """The seconds until the series is verified from the start of the history on. Its last hour is verified before."""
    start, end = history.start, history.end
    started = time.perf_counter()
    await database.execute(_STORE, symbol, EXCHANGE, f"{start:%Y-%m-%d}", end, end + timedelta(hours=1))
    async with asyncio.timeout(ROUND_SECONDS):
        while not await database.fetchval(_WHOLE, EXCHANGE, symbol, start, end):  # noqa: ASYNC110 -- Postgres has no event for it
            await asyncio.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - started
    stored = await database.fetchval(_ROWS, EXCHANGE, symbol)
    if stored < history.candles:
        raise AssertionError(f"only {stored} of {history.candles} candles of {symbol} are stored")
    return seconds


async def _bare(client: Any, symbol: str, history: History) -> float:
    since, end = to_milliseconds(history.start), to_milliseconds(history.end)
    found, started = 0, time.perf_counter()
    while since < end:
        rows = await client.fetch_ohlcv(symbol, "1m", since, PAGE)
        found, since = found + len(rows), rows[-1][0] + MINUTE_MS
    if found < history.candles:
        raise AssertionError(f"the bare loop read only {found} of {history.candles} candles of {symbol}")
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backfill_bench")
    parser.add_argument("--quick", action="store_true", help="shorter and fewer rounds")
    print(table(main(quick=parser.parse_args().quick)))
