"""Measures how long an operator waits, on the whole running system.

    python -m benchmarks.latency_bench [--quick]

It sends `POST trigger` and polls the run log until the run is there and finished. It also creates configs and measures
when their first runs start. Everything runs with default settings, on a real Kafka and Postgres, against simulated
exchanges. The baseline sends the same requests with bare ccxt a moment later.
"""

import argparse
import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import median, quantiles
from typing import Any

import ccxt.async_support as ccxt
import httpx
from benchmarks.report import Row, table
from benchmarks.whole_system import running_system

from collector.exchange.ccxt_setup import redirect_requests, restrict_markets
from exchange_simulator.markets import list_markets
from local_stack.api_client import client
from local_stack.stack import Stack

EXCHANGE = "binance"
TIMEFRAMES = ("1m", "5m", "1h")
PAGE = 1000
TRIGGERED_CONFIGS = 3
INTERVAL_MINUTES = 1440
"""Long, so that scheduled runs do not disturb the measurement."""
POLL_SECONDS = 0.005
TIMEOUT_SECONDS = 30.0
TRIGGER_TARGET_MS = 300
CREATION_TARGET_MS = 2000


@dataclass(frozen=True)
class Triggered:
    """The times of one trigger, in milliseconds from sending the request."""

    answered: float
    started: float
    finished: float
    visible: float
    simulator: float
    """The part of this time that the simulator needed for its responses."""
    bare: float
    """The time of the same requests with bare ccxt."""

    @property
    def beyond_simulator(self) -> float:
        return self.visible - self.simulator


@dataclass(frozen=True)
class Created:
    """The times of one new config, in milliseconds from the response to its creation."""

    started: float
    visible: float
    """When the run was in the run log, running or finished."""


def main(*, quick: bool = False) -> list[Row]:
    """Takes about 30 seconds; with `quick` (fewer requests) 20 seconds."""
    return asyncio.run(_measure(triggers=9 if quick else 30, creations=5 if quick else 15))


async def _measure(triggers: int, creations: int) -> list[Row]:
    symbols = [market.symbol for market in list_markets(EXCHANGE).of_kind("spot")]
    async with running_system() as stack, _clients(stack) as operator:
        created = [(await operator.create(symbol))[0] for symbol in symbols[:TRIGGERED_CONFIGS]]
        for config in created:
            await operator.trigger(config)  # warm-up: connections and caches
        waited = await operator.rate_limit_wait_ms()
        triggered = [await operator.trigger(created[number % len(created)]) for number in range(triggers)]
        waited = (await operator.rate_limit_wait_ms() - waited) / triggers
        new = [(await operator.create(symbol))[1] for symbol in symbols[TRIGGERED_CONFIGS:][:creations]]
    return [*_rows_of_triggers(triggered, waited), *_rows_of_creations(new)]


def _rows_of_triggers(triggered: list[Triggered], waited_ms: float) -> list[Row]:
    simulator = median(each.simulator for each in triggered)
    beyond, bare = [each.beyond_simulator for each in triggered], [each.bare for each in triggered]
    note = f"{len(triggered)} triggers, {simulator:.1f} ms of the simulator subtracted; baseline: bare ccxt"
    p95 = _p95(beyond), _p95(bare)
    return [
        Row.compare(
            "trigger to visible run, p50", median(beyond), median(bare), "ms", note, ours_below=TRIGGER_TARGET_MS
        ),
        Row.compare("trigger to visible run, p95", *p95, "ms", note),
        _row_of_part("- response to the trigger", (each.answered for each in triggered)),
        _row_of_part(
            "- response to start", (each.started - each.answered for each in triggered), "outbox, Kafka, collector"
        ),
        Row.compare(
            "- start to end",
            median(each.finished - each.started for each in triggered),
            median(bare),
            "ms",
            f"requests, candles acknowledged; {waited_ms:.1f} ms of waiting for the rate limit, all requests",
        ),
        _row_of_part(
            "- end to visible", (each.visible - each.finished for each in triggered), "Kafka, log-writer, API"
        ),
    ]


def _rows_of_creations(created: list[Created]) -> list[Row]:
    started = [each.started for each in created]
    note = f"from the response to POST /configs, {len(created)} configs"
    return [
        Row.compare("new config to first run, p50", median(started), None, "ms", note),
        Row.compare("new config to first run, max", max(started), None, "ms", note, ours_below=CREATION_TARGET_MS),
        _row_of_part("- visible in the run log", (each.visible for each in created)),
    ]


def _row_of_part(name: str, values: Iterable[float], note: str = "") -> Row:
    return Row.compare(name, median(values), None, "ms", note or "median")


def _p95(values: list[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1]


# ---- the operator, and bare ccxt ----


@contextlib.asynccontextmanager
async def _clients(stack: Stack) -> AsyncIterator["Operator"]:
    bare = ccxt.binance({"enableRateLimit": False, "timeout": 10_000})
    restrict_markets(bare, "spot")
    redirect_requests(bare, str(stack.simulator_url))
    async with (
        client(stack.api_url, stack.token) as api,
        httpx.AsyncClient(base_url=str(stack.simulator_url), trust_env=False) as simulator,
        httpx.AsyncClient(base_url=stack.services["collector"].url, trust_env=False) as collector,
    ):
        try:
            await bare.load_markets()
            yield Operator(api, simulator, collector, bare)
        finally:
            await bare.close()


@dataclass(frozen=True)
class Config:
    """A config that exists."""

    config_id: int
    symbol: str


@dataclass(frozen=True)
class Operator:
    """Sends requests to the system and measures their times."""

    api: httpx.AsyncClient
    simulator: httpx.AsyncClient
    collector: httpx.AsyncClient
    bare: Any

    async def create(self, symbol: str) -> tuple[Config, Created]:
        """Create a config. Returns when its first run has finished."""
        body = {
            "symbol": symbol,
            "exchange": EXCHANGE,
            "timeframes": TIMEFRAMES,
            "interval_minutes": INTERVAL_MINUTES,
        }
        response = (await self.api.post("/configs", json=body)).raise_for_status().json()
        answered = time.time()
        run, seen_at = await self._first_run(finished=False, config_id=response["id"])
        await self._first_run(finished=True, config_id=response["id"])
        started = _epoch(run["started_at"])
        return Config(response["id"], symbol), Created((started - answered) * 1000, (seen_at - answered) * 1000)

    async def trigger(self, config: Config) -> Triggered:
        (await self.simulator.delete("/control/requests")).raise_for_status()
        sent = time.time()
        response = (await self.api.post(f"/configs/{config.config_id}/trigger")).raise_for_status().json()
        answered = time.time()
        run, seen_at = await self._first_run(finished=True, run_id=response["run_id"])
        if run["status"] != "success":
            raise AssertionError(f"a triggered run did not succeed: {run['error_message']}")
        return Triggered(
            answered=(answered - sent) * 1000,
            started=(_epoch(run["started_at"]) - sent) * 1000,
            finished=(_epoch(run["finished_at"]) - sent) * 1000,
            visible=(seen_at - sent) * 1000,
            simulator=await self._simulator_ms(),
            bare=await self._bare_ms(config),
        )

    async def rate_limit_wait_ms(self) -> float:
        """The total time that the collector's requests have waited for the exchange's rate limit."""
        metrics = (await self.collector.get("/metrics")).raise_for_status().text
        line = rf'^candlekeep_rate_limit_wait_seconds_sum{{exchange="{EXCHANGE}"}} (\S+)'
        found = re.search(line, metrics, re.MULTILINE)
        return float(found[1]) * 1000 if found else 0.0

    async def _first_run(self, *, finished: bool, **filters: Any) -> tuple[dict[str, Any], float]:
        """Return the first run that matches, and the time when it was visible."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                rows = (await self.api.get("/execution-logs", params=filters)).raise_for_status().json()
                if rows and (rows[-1]["finished_at"] is not None or not finished):
                    return rows[-1], time.time()
                await asyncio.sleep(POLL_SECONDS)

    async def _simulator_ms(self) -> float:
        """The simulator handles one request at a time, so its durations can be added."""
        requests = (
            (await self.simulator.get("/control/requests", params={"exchange": EXCHANGE})).raise_for_status().json()
        )
        return float(sum(request["duration_ms"] for request in requests))

    async def _bare_ms(self, config: Config) -> float:
        started = time.perf_counter()
        now_ms, minute_ms = int(time.time() * 1000), 60_000
        since = {frame: now_ms - PAGE * minutes * minute_ms for frame, minutes in (("1m", 1), ("5m", 5), ("1h", 60))}
        await asyncio.gather(*(self.bare.fetch_ohlcv(config.symbol, frame, since[frame], PAGE) for frame in TIMEFRAMES))
        return (time.perf_counter() - started) * 1000


def _epoch(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency_bench")
    parser.add_argument("--quick", action="store_true", help="fewer requests, 20 seconds")
    print(table(main(quick=parser.parse_args().quick)))
