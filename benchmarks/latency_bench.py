"""How long an operator waits, on the whole running system.

    python -m benchmarks.latency_bench [--quick]

Sends `POST trigger` and asks for the run in the logs until it is there and finished; and creates configs and sees when
their first runs start. Everything runs with its default settings, on a real Kafka and Postgres, against simulated
exchanges. The baseline is the same run's requests made by a bare ccxt, a moment later.
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

from collector.exchange.clients import only_markets_of, point_at
from exchange_simulator.markets import list_markets
from local_stack.api_client import client
from local_stack.stack import Stack

EXCHANGE = "binance"
TIMEFRAMES = ("1m", "5m", "1h")
PAGE = 1000
TRIGGERED_CONFIGS = 3
INTERVAL_MINUTES = 1440
"""Long, so that scheduled runs stay out of the way."""
LOOK_SECONDS = 0.005
PATIENCE_SECONDS = 30.0
TRIGGER_TARGET_MS = 300
CREATION_TARGET_MS = 2000


@dataclass(frozen=True)
class Triggered:
    """One trigger, in milliseconds from sending the request."""

    answered: float
    started: float
    finished: float
    visible: float
    simulator: float
    """How long of it the simulator was answering."""
    bare: float
    """The same requests by a bare ccxt."""

    @property
    def beyond_simulator(self) -> float:
        return self.visible - self.simulator


@dataclass(frozen=True)
class Created:
    """One new config, in milliseconds from the answer to its creation."""

    started: float
    visible: float
    """When the run was seen in the logs, running or finished."""


def main(*, quick: bool = False) -> list[Row]:
    """About half a minute; `quick`, with fewer requests, 20 seconds."""
    return asyncio.run(_measure(triggers=9 if quick else 30, creations=5 if quick else 15))


async def _measure(triggers: int, creations: int) -> list[Row]:
    symbols = [market.symbol for market in list_markets(EXCHANGE).of_kind("spot")]
    async with running_system() as stack, _outside(stack) as outside:
        created = [(await outside.create(symbol))[0] for symbol in symbols[:TRIGGERED_CONFIGS]]
        for config in created:
            await outside.trigger(config)  # connections, caches: what is only slow once
        waited = await outside.throttled_ms()
        triggered = [await outside.trigger(created[number % len(created)]) for number in range(triggers)]
        waited = (await outside.throttled_ms() - waited) / triggers
        new = [(await outside.create(symbol))[1] for symbol in symbols[TRIGGERED_CONFIGS:][:creations]]
    return [*_rows_of_triggers(triggered, waited), *_rows_of_creations(new)]


def _rows_of_triggers(triggered: list[Triggered], throttled_ms: float) -> list[Row]:
    simulator = median(each.simulator for each in triggered)
    beyond, bare = [each.beyond_simulator for each in triggered], [each.bare for each in triggered]
    note = f"{len(triggered)} triggers, {simulator:.1f} ms of the simulator taken off; bare ccxt's requests"
    p95 = _p95(beyond), _p95(bare)
    return [
        Row.compare(
            "trigger to visible run, p50", median(beyond), median(bare), "ms", note, ours_below=TRIGGER_TARGET_MS
        ),
        Row.compare("trigger to visible run, p95", *p95, "ms", note),
        _part("- answer to the trigger", (each.answered for each in triggered)),
        _part("- answer to start", (each.started - each.answered for each in triggered), "outbox, Kafka, collector"),
        Row.compare(
            "- start to end",
            median(each.finished - each.started for each in triggered),
            median(bare),
            "ms",
            f"requests, candles acknowledged; {throttled_ms:.1f} ms of waiting for the exchange's limit, all requests",
        ),
        _part("- end to visible", (each.visible - each.finished for each in triggered), "Kafka, log-writer, API"),
    ]


def _rows_of_creations(created: list[Created]) -> list[Row]:
    started = [each.started for each in created]
    note = f"from the answer to POST /configs, {len(created)} configs"
    return [
        Row.compare("new config to first run, p50", median(started), None, "ms", note),
        Row.compare("new config to first run, max", max(started), None, "ms", note, ours_below=CREATION_TARGET_MS),
        _part("- seen in the logs", (each.visible for each in created)),
    ]


def _part(name: str, values: Iterable[float], note: str = "") -> Row:
    return Row.compare(name, median(values), None, "ms", note or "median")


def _p95(values: list[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1]


# ---- an operator, and a bare ccxt ----


@contextlib.asynccontextmanager
async def _outside(stack: Stack) -> AsyncIterator["Outside"]:
    bare = ccxt.binance({"enableRateLimit": False, "timeout": 10_000})
    only_markets_of(bare, "spot")
    point_at(bare, str(stack.simulator_url))
    async with (
        client(stack.api_url, stack.token) as api,
        httpx.AsyncClient(base_url=str(stack.simulator_url), trust_env=False) as simulator,
        httpx.AsyncClient(base_url=stack.services["collector"].url, trust_env=False) as collector,
    ):
        try:
            await bare.load_markets()
            yield Outside(api, simulator, collector, bare)
        finally:
            await bare.close()


@dataclass(frozen=True)
class Config:
    """A config that exists."""

    config_id: int
    symbol: str


@dataclass(frozen=True)
class Outside:
    """What is done to the system from outside, with a clock in the hand."""

    api: httpx.AsyncClient
    simulator: httpx.AsyncClient
    collector: httpx.AsyncClient
    bare: Any

    async def create(self, symbol: str) -> tuple[Config, Created]:
        """Returns when the first run is finished."""
        body = {
            "symbol": symbol,
            "exchange": EXCHANGE,
            "timeframes": TIMEFRAMES,
            "interval_minutes": INTERVAL_MINUTES,
        }
        answer = (await self.api.post("/configs", json=body)).raise_for_status().json()
        answered = time.time()
        run, seen = await self._first_run(finished=False, config_id=answer["id"])
        await self._first_run(finished=True, config_id=answer["id"])
        started = _epoch(run["started_at"])
        return Config(answer["id"], symbol), Created((started - answered) * 1000, (seen - answered) * 1000)

    async def trigger(self, config: Config) -> Triggered:
        (await self.simulator.delete("/control/requests")).raise_for_status()
        sent = time.time()
        answer = (await self.api.post(f"/configs/{config.config_id}/trigger")).raise_for_status().json()
        answered = time.time()
        run, seen = await self._first_run(finished=True, run_id=answer["run_id"])
        if run["status"] != "success":
            raise AssertionError(f"a triggered run did not succeed: {run['error_message']}")
        return Triggered(
            answered=(answered - sent) * 1000,
            started=(_epoch(run["started_at"]) - sent) * 1000,
            finished=(_epoch(run["finished_at"]) - sent) * 1000,
            visible=(seen - sent) * 1000,
            simulator=await self._simulator_ms(),
            bare=await self._bare_ms(config),
        )

    async def throttled_ms(self) -> float:
        """All waits of the collector's requests for the exchange's limit, so far."""
        metrics = (await self.collector.get("/metrics")).raise_for_status().text
        line = rf'^candlekeep_rate_limit_wait_seconds_sum{{exchange="{EXCHANGE}"}} (\S+)'
        found = re.search(line, metrics, re.MULTILINE)
        return float(found[1]) * 1000 if found else 0.0

    async def _first_run(self, *, finished: bool, **filters: Any) -> tuple[dict[str, Any], float]:
        """The first run that matches, and when it was seen."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                rows = (await self.api.get("/execution-logs", params=filters)).raise_for_status().json()
                if rows and (rows[-1]["finished_at"] is not None or not finished):
                    return rows[-1], time.time()
                await asyncio.sleep(LOOK_SECONDS)

    async def _simulator_ms(self) -> float:
        """The simulator answers one request at a time, so its own durations add up."""
        asked = (await self.simulator.get("/control/requests", params={"exchange": EXCHANGE})).raise_for_status().json()
        return float(sum(request["duration_ms"] for request in asked))

    async def _bare_ms(self, config: Config) -> float:
        began = time.perf_counter()
        now_ms, minute_ms = int(time.time() * 1000), 60_000
        since = {frame: now_ms - PAGE * minutes * minute_ms for frame, minutes in (("1m", 1), ("5m", 5), ("1h", 60))}
        await asyncio.gather(*(self.bare.fetch_ohlcv(config.symbol, frame, since[frame], PAGE) for frame in TIMEFRAMES))
        return (time.perf_counter() - began) * 1000


def _epoch(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency_bench")
    parser.add_argument("--quick", action="store_true", help="fewer requests, 20 seconds")
    print(table(main(quick=parser.parse_args().quick)))
