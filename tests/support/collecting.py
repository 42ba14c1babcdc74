"""Clients of exchanges that are simulated, ticks for collectors, and one series collected."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aiohttp
from prometheus_client import CollectorRegistry

from collector.exchange.circuit_state import ProbePolicy
from collector.exchange.clients import ClientOptions, ExchangeClients
from collector.exchange.clock import ExchangeClock
from collector.metrics import CollectorMetrics
from collector.run.retry_policy import RetryPolicy
from collector.run.retrying import Retrier
from collector.run.timeframe_run import TimeframeRun, collect_timeframe
from contracts.configs import CollectionConfig
from contracts.ticks import TickDue
from contracts.vocabulary import Trigger

EXCHANGES = ("binance", "kraken", "coinbase", "bybit", "okx")
SYMBOLS = {"coinbase": "BTC/USD", "kraken": "BTC/USD"}
"""What an exchange has for sure, where that is not BTC/USDT."""

QUICK = RetryPolicy(first_wait=0.02, longest_wait=0.1, max_retries=4)


OFTEN = ProbePolicy(first=0.05, longest=0.05)


def symbol_of(exchange: str) -> str:
    return SYMBOLS.get(exchange, "BTC/USDT")


class Exchanges:
    """Clients of ours on a server that stands in for all exchanges."""

    def __init__(
        self, base: str, now: Callable[[], float] = time.time, timeout: float = 5.0, probing: ProbePolicy = OFTEN
    ) -> None:
        self.registry = CollectorRegistry()
        self.metrics = CollectorMetrics(self.registry)
        everywhere = dict.fromkeys([*EXCHANGES, "coinbaseexchange"], base)
        options = ClientOptions(request_timeout_seconds=timeout, url_overrides=everywhere, probing=probing)
        self.clients = ExchangeClients(options, self.metrics, lambda: ExchangeClock(now))

    async def warm_up(self, exchange: str) -> None:
        """Have the markets read, so that the next request is one for candles; a busy machine may need several tries."""
        retrier = Retrier(exchange, QUICK, asyncio.get_running_loop().time() + 20, self.metrics)
        await retrier.retry_until_deadline(lambda: self.clients.of(exchange).require(symbol_of(exchange), "1m"))

    async def collect(
        self,
        exchange: str,
        timeframe: str = "1m",
        window_start: datetime | None = None,
        *,
        symbol: str | None = None,
        policy: RetryPolicy = QUICK,
        max_pages: int = 100,
    ) -> TimeframeRun:
        """A series read to its end, within 20 seconds; raises what collecting raises."""
        series = TimeframeRun(symbol or symbol_of(exchange), timeframe)
        retrier = Retrier(exchange, policy, asyncio.get_running_loop().time() + 20, self.metrics)
        await collect_timeframe(self.clients.of(exchange), series, window_start, retrier, max_pages)
        return series

    def count(self, metric: str, **labels: str) -> float:
        return self.registry.get_sample_value(metric, labels) or 0.0


def rows_of(series: TimeframeRun) -> list[list[float]]:
    return [list(candle) for _, candles in series.batches for candle in candles]


class Simulator:
    """A simulator's control side."""

    def __init__(self, base: str, http: aiohttp.ClientSession) -> None:
        self.base, self._http = base, http

    async def stand_still(self, now_ms: int) -> None:
        """Stop the exchanges' clocks at that instant; the log of requests keeps real time."""
        async with self._http.put(f"{self.base}/control/clock", json={"now": now_ms, "frozen": True}) as response:
            assert response.status == 200, await response.text()

    async def mood(self, kind: str, **mood: Any) -> None:
        async with self._http.post(f"{self.base}/control/moods", json={"kind": kind, **mood}) as response:
            assert response.status == 201, await response.text()

    async def cheer_up(self) -> None:
        async with self._http.delete(f"{self.base}/control/moods") as response:
            assert response.status == 200

    async def truth(self, exchange: str, symbol: str, timeframe: str, **query: Any) -> list[list[float]]:
        query |= {"exchange": exchange, "symbol": symbol, "timeframe": timeframe}
        candles: list[list[float]] = await self._get("/control/truth", query)
        return candles

    async def requests(self, exchange: str) -> list[dict[str, Any]]:
        """Those for candles, in order."""
        return [each for each in await self.all_requests(exchange) if each["symbol"] is not None]

    async def all_requests(self, exchange: str) -> list[dict[str, Any]]:
        logged: list[dict[str, Any]] = await self._get("/control/requests", {"exchange": exchange})
        return logged

    async def _get(self, path: str, query: dict[str, Any]) -> Any:
        async with self._http.get(self.base + path, params=query) as response:
            assert response.status == 200, await response.text()
            return await response.json()


def a_tick(config_id: int = 1, **changes: Any) -> TickDue:
    """A manual tick of now; `exchange`, `symbol` and `timeframes` go into its config."""
    now = datetime.now(UTC)
    exchange = changes.pop("exchange", "binance")
    config = CollectionConfig(
        config_id=config_id,
        version=1,
        exchange=exchange,
        symbol=changes.pop("symbol", symbol_of(exchange)),
        timeframes=changes.pop("timeframes", ("1m",)),
        interval_minutes=5,
        enabled=True,
        updated_at=now,
    )
    values = {
        "occurred_at": now,
        "run_id": uuid4(),
        "config": config,
        "trigger": Trigger.MANUAL,
        "scheduled_for": now,
        "window_start": None,
        "deadline_seconds": 20,
        "lane": exchange,
    }
    return TickDue(**values | changes)
