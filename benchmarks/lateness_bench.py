"""Compares the lateness of scheduled runs while backfills read 90 days of history with the lateness without them.

    python -m benchmarks.lateness_bench [--quick]

The whole system collects markets of four exchanges every minute. A backfill of all their series is paused and resumed
in turns. The lateness is the time from the slot of a run to its start, as the run log has it. The exchanges answer
after 100 ms.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from typing import Any, Final

import asyncpg
import httpx
from benchmarks.report import Row, table
from benchmarks.whole_system import running_system

from exchange_simulator.markets import list_markets
from local_stack.api_client import client
from local_stack.stack import Stack

EXCHANGES: Final = ("binance", "bybit", "coinbase", "okx")
DAYS: Final = 90
LATENCY_MS: Final = 100
SETTLE_SECONDS: Final = 10.0
"""After a change, runs and requests in progress end before the next window begins."""
P99: Final = 99
TARGET_RATIO: Final = 1.1

_LATENESS: Final = """
SELECT extract(epoch FROM started_at - scheduled_for)::float8 * 1000 AS milliseconds FROM job_execution_logs
WHERE trigger = 'scheduled' AND scheduled_for >= $1 AND scheduled_for < $2
"""
_CHUNKS: Final = "SELECT count(*) FROM backfill_chunks WHERE ended_at >= $1 AND ended_at < $2"


def main(*, quick: bool = False) -> list[Row]:
    """Takes about ten minutes; with `quick` (fewer and shorter windows) three."""
    return asyncio.run(_measure(configs=10 if quick else 25, seconds=40 if quick else 60, turns=1 if quick else 4))


async def _measure(configs: int, seconds: float, turns: int) -> list[Row]:
    async with running_system() as stack, _connections(stack) as (api, database):
        await _set_latency(stack)
        await _create(api, configs)
        await asyncio.sleep(65)  # the first runs, and a minute of slots
        backfill = await _order(api)
        alone: list[list[float]] = []
        beside: list[list[float]] = []
        chunks = 0
        for _ in range(turns):
            for action, figures in (("pause", alone), ("resume", beside)):
                (await api.post(f"/backfills/{backfill}/{action}")).raise_for_status()
                await asyncio.sleep(SETTLE_SECONDS)
                begin = datetime.now(UTC)
                await asyncio.sleep(seconds)
                end = datetime.now(UTC)
                await asyncio.sleep(SETTLE_SECONDS)
                figures.append([row["milliseconds"] for row in await database.fetch(_LATENESS, begin, end)])
                if action == "resume":
                    chunks += await database.fetchval(_CHUNKS, begin, end)
    note = f"{4 * configs} configs each minute, {turns} windows of {seconds:.0f} s each, {chunks:,} chunks of backfills"
    if not chunks:
        raise AssertionError("no chunk has ended, so nothing was read beside the scheduled runs")
    return [
        _row("lateness of scheduled runs beside backfills, p99", P99, beside, alone, note),
        _row("- p50", 50, beside, alone, ""),
    ]


def _row(name: str, percentile: int, beside: list[list[float]], alone: list[list[float]], note: str) -> Row:
    ours, baseline = (
        median(quantiles(window, n=100, method="inclusive")[percentile - 1] for window in windows)
        for windows in (beside, alone)
    )
    note = f"{note}; baseline: backfills are paused" if note else "less is better"
    limit = TARGET_RATIO * baseline if percentile == P99 else None
    return Row.compare(name, ours, baseline, "ms", note, ours_below=limit)


@asynccontextmanager
async def _connections(stack: Stack) -> AsyncIterator[tuple[httpx.AsyncClient, asyncpg.Connection]]:
    database = await asyncpg.connect(stack.database_url)
    try:
        async with client(stack.api_url, stack.token) as api:
            yield api, database
    finally:
        await database.close()


async def _set_latency(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=str(stack.simulator_url), trust_env=False) as simulator:
        mood = {"kind": "latency", "latency_ms": LATENCY_MS}
        (await simulator.post("/control/moods", json=mood)).raise_for_status()


async def _create(api: httpx.AsyncClient, configs: int) -> None:
    for exchange in EXCHANGES:
        for market in list_markets(exchange).of_kind("spot")[:configs]:
            body = {"exchange": exchange, "symbol": market.symbol, "timeframes": ["1m"], "interval_minutes": 1}
            (await api.post("/configs", json=body)).raise_for_status()


async def _order(api: httpx.AsyncClient) -> int:
    start = datetime.now(UTC) - timedelta(days=DAYS)
    body: dict[str, Any] = {"select": {"symbol": "*"}, "start": f"{start:%Y-%m-%dT%H:%M:%SZ}"}
    answer = (await api.post("/backfills", json=body)).raise_for_status()
    return int(answer.json()["id"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lateness_bench")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter windows")
    print(table(main(quick=parser.parse_args().quick)))
