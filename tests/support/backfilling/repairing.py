"""Backfiller, collector and candle-writer in this process, with simulated exchanges that count the requests."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp

from backfiller.app import build_worker as build_backfiller
from backfiller.settings import BackfillerSettings
from candle_writer.app import build_worker as build_candle_writer
from candle_writer.settings import CandleWriterSettings
from collector.app import build_worker as build_collector
from collector.settings import CollectorSettings
from contracts.exchange_catalogue import CandleRequest, MarketKind, load_catalogue
from contracts.spans import Intervals
from exchange_simulator import SimulatorSettings
from exchange_simulator import running as running_simulator
from exchange_simulator.markets import list_markets
from runtime.settings import KafkaSettings
from support.collecting import EXCHANGES, Simulator
from support.writers import running, worker_settings

MINUTE = 60_000


@dataclass(frozen=True)
class Repairing:
    """The running services."""

    simulator: Simulator

    async def requests(self, exchange: str) -> list[dict[str, Any]]:
        """The requests for candles so far, in order."""
        return await self.simulator.requests(exchange)


@contextlib.asynccontextmanager
async def repairing(kafka: KafkaSettings, login_url: Callable[[str], str], **changes: Any) -> AsyncIterator[Repairing]:
    """The services until the end of the block. `changes` are settings of the backfiller."""
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(running_simulator(SimulatorSettings(port=0, log_size=100_000)))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        overrides = dict.fromkeys(EXCHANGES, base)
        collector = CollectorSettings(
            **kafka.model_dump(), http_port=0, exchange_url_overrides=overrides, request_timeout_seconds=20
        )
        await stack.enter_async_context(running(build_collector(collector)))
        writer = worker_settings(CandleWriterSettings, kafka, login_url("candle-writer"))
        await stack.enter_async_context(running(build_candle_writer(writer)))
        backfiller = worker_settings(
            BackfillerSettings, kafka, login_url("backfiller"), **({"turn_seconds": 0.2} | changes)
        )
        await stack.enter_async_context(running(build_backfiller(backfiller)))
        yield Repairing(Simulator(base, http))


def symbols(exchange: str, count: int) -> list[str]:
    """The first spot markets of a simulated exchange."""
    return [market.symbol for market in list_markets(exchange).of_kind("spot")][:count]


def page_of(exchange: str) -> int:
    """The candles that one request for one-minute candles covers."""
    request = load_catalogue().exchanges[exchange].request(MarketKind.SPOT, "1m")
    assert isinstance(request, CandleRequest)
    return request.page


def fewest_requests(gaps: Intervals, page: int) -> int:
    """The smallest number of pages of `page` minutes that together contain every missing minute.

    A page that begins at the first missing minute is as good as any other page that contains it.
    """
    count, covered = 0, 0
    for start, end in sorted(gaps):
        for minute in range(start, end, MINUTE):
            if minute >= covered:
                count, covered = count + 1, minute + page * MINUTE
    return count
