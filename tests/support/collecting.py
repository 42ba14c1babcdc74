"""Clients of simulated exchanges, ticks for collectors, and the collection of one timeframe."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aiohttp
from prometheus_client import CollectorRegistry

from collector.candles.page_requests import ReadingLimits
from collector.exchange.circuit_transitions import ProbePolicy
from collector.exchange.client_options import ClientOptions
from collector.exchange.clients import ExchangeClients
from collector.exchange.clock import ExchangeClock
from collector.metrics import CollectorMetrics
from collector.run.retry_policy import RetryPolicy
from collector.run.retrying import Retrier
from collector.run.timeframe_run import TimeframeRun, collect_timeframe
from contracts.configs import CollectionConfig
from contracts.coverage import SeriesProgress, Span, progress_of_version_1
from contracts.ranges import Purpose, RangeDue, range_run_id
from contracts.ticks import TickDue
from contracts.vocabulary import Trigger

EXCHANGES = ("binance", "kraken", "coinbase", "bybit", "okx")
OTHERS = ("coinbaseexchange", "bitbank", "bigone", "luno")
"""Exchanges that the simulator does not have. Their requests are redirected, too, so that no test uses the network."""
SYMBOLS = {"coinbase": "BTC/USD", "kraken": "BTC/USD"}
"""A symbol that the exchange has, if it is not BTC/USDT."""

QUICK = RetryPolicy(initial_wait=0.02, max_wait=0.1, max_retries=4)

FREQUENT_PROBES = ProbePolicy(initial_wait=0.05, max_wait=0.05)


def symbol_of(exchange: str) -> str:
    return SYMBOLS.get(exchange, "BTC/USDT")


class Exchanges:
    """The collector's clients, which send all requests to one server."""

    def __init__(
        self,
        base: str,
        now: Callable[[], float] = time.time,
        timeout: float = 5.0,
        probe_policy: ProbePolicy = FREQUENT_PROBES,
        allowed_exchanges: frozenset[str] = frozenset(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = CollectorRegistry()
        self.metrics = CollectorMetrics(self.registry)
        url_overrides = dict.fromkeys([*EXCHANGES, *OTHERS], base)
        options = ClientOptions(
            request_timeout_seconds=timeout,
            url_overrides=url_overrides,
            probe_policy=probe_policy,
            allowed_exchanges=allowed_exchanges,
        )
        self.clients = ExchangeClients(options, self.metrics, lambda: ExchangeClock(now, monotonic))

    async def warm_up(self, exchange: str) -> None:
        """Read the markets, so that the next request is for candles. It may need several attempts."""
        retrier = Retrier(exchange, QUICK, asyncio.get_running_loop().time() + 20, self.metrics)
        await retrier.retry_until_deadline(lambda: self.clients.get(exchange).require(symbol_of(exchange), "1m"))

    async def collect(
        self,
        exchange: str,
        timeframe: str = "1m",
        collected_until: datetime | None = None,
        *,
        symbol: str | None = None,
        progress: SeriesProgress | None = None,
        policy: RetryPolicy = QUICK,
        max_pages: int = 100,
    ) -> TimeframeRun:
        """Collect a timeframe within 20 seconds. Raises the exceptions of `collect_timeframe`."""
        progress = progress or progress_until(collected_until, timeframe)[0]
        timeframe_run = TimeframeRun(symbol or symbol_of(exchange), timeframe, progress)
        retrier = Retrier(exchange, policy, asyncio.get_running_loop().time() + 20, self.metrics)
        await collect_timeframe(
            self.clients.get(exchange), timeframe_run, retrier, ReadingLimits(max_pages=max_pages), salt=1
        )
        return timeframe_run

    def count(self, metric: str, **labels: str) -> float:
        return self.registry.get_sample_value(metric, labels) or 0.0


def rows_of(timeframe_run: TimeframeRun) -> list[list[float]]:
    return [list(candle) for answer in timeframe_run.answers for candle in answer.candles]


def progress_until(collected_until: datetime | None, *timeframes: str) -> tuple[SeriesProgress, ...]:
    """The progress of series whose candles are collected up to this time; without a candle if it is None."""
    if collected_until is None:
        return tuple(SeriesProgress(timeframe=timeframe) for timeframe in timeframes)
    return progress_of_version_1(timeframes, collected_until)


class Simulator:
    """Controls a simulator over its `/control` routes."""

    def __init__(self, base: str, http: aiohttp.ClientSession) -> None:
        self.base, self._http = base, http

    async def freeze_clock(self, now_ms: int) -> None:
        """Stop the exchanges' clocks at this time. The log of requests continues to use real time."""
        async with self._http.put(f"{self.base}/control/clock", json={"now": now_ms, "frozen": True}) as response:
            assert response.status == 200, await response.text()

    async def add_mood(self, kind: str, **mood: Any) -> None:
        async with self._http.post(f"{self.base}/control/moods", json={"kind": kind, **mood}) as response:
            assert response.status == 201, await response.text()

    async def set_history(self, exchange: str, symbol: str | None = None, **facts: Any) -> None:
        """Facts about a market, or about all markets of the exchange."""
        history = {"exchange": exchange, **({} if symbol is None else {"symbol": symbol}), **facts}
        async with self._http.put(f"{self.base}/control/histories", json=history) as response:
            assert response.status < 300, await response.text()

    async def trades(self, symbol_id: str, since: int, until: int) -> list[tuple[int, int]]:
        """The ids and times of Binance's trades, at most a thousand."""
        query = {"symbol": symbol_id, "startTime": str(since), "endTime": str(until), "limit": "1000"}
        found = await self._get("/api.binance.com/api/v3/aggTrades", query)
        return [(each["a"], each["T"]) for each in found]

    async def clear_moods(self) -> None:
        async with self._http.delete(f"{self.base}/control/moods") as response:
            assert response.status == 200

    async def true_candles(self, exchange: str, symbol: str, timeframe: str, **query: Any) -> list[list[float]]:
        query |= {"exchange": exchange, "symbol": symbol, "timeframe": timeframe}
        candles: list[list[float]] = await self._get("/control/truth", query)
        return candles

    async def requests(self, exchange: str) -> list[dict[str, Any]]:
        """The requests for candles, in order."""
        return [each for each in await self.all_requests(exchange) if each["symbol"] is not None]

    async def all_requests(self, exchange: str) -> list[dict[str, Any]]:
        logged: list[dict[str, Any]] = await self._get("/control/requests", {"exchange": exchange})
        return logged

    async def _get(self, path: str, query: dict[str, Any]) -> Any:
        async with self._http.get(self.base + path, params=query) as response:
            assert response.status == 200, await response.text()
            return await response.json()


def a_range(start: datetime, end: datetime, chunk_id: int = 1, **changes: Any) -> RangeDue:
    """A request of the backfiller that is due now, for config 1."""
    now = datetime.now(UTC)
    exchange, attempt = changes.get("exchange", "binance"), changes.get("attempt", 0)
    values = {
        "occurred_at": now,
        "run_id": range_run_id(chunk_id, attempt),
        "chunk_id": chunk_id,
        "attempt": attempt,
        "config_id": 1,
        "exchange": exchange,
        "symbol": symbol_of(exchange),
        "timeframe": "1m",
        "span": Span(start=start, end=end),
        "purpose": Purpose.BACKFILL,
        "requested_at": now,
        "deadline_seconds": 20,
        "lane": exchange,
    }
    return RangeDue(**values | changes)


def a_tick(config_id: int = 1, **changes: Any) -> TickDue:
    """A manual tick that is due now. `exchange`, `symbol` and `timeframes` set the fields of its config."""
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
        "progress": progress_until(changes.pop("collected_until", None), *config.timeframes),
        "deadline_seconds": 20,
        "lane": exchange,
    }
    return TickDue(**values | changes)
