"""The two processes of the comparison: the collector, and a bare asyncio loop of the same ccxt calls.

    python benchmarks/collector_processes.py collector   the whole service; its settings are in the environment
    python benchmarks/collector_processes.py bare URL    reads a `Round` per line, writes the number of rows for each

Both have ccxt's Binance without its rate limit, and both run on uvloop.
"""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

import ccxt.async_support as ccxt
import uvloop
from typing_extensions import override

from collector.app import build_worker
from collector.exchange.ccxt_setup import redirect_requests, restrict_markets
from collector.settings import CollectorSettings
from runtime.process.worker import run

EXCHANGE = "binance"


class UnlimitedBinance(ccxt.binance):  # type: ignore[misc] # ccxt is untyped
    """Binance with a very high rate limit, because the collector's own rate limiter cannot be disabled."""

    @override
    def describe(self) -> Any:
        return self.deep_extend(super().describe(), {"rateLimit": 0.001})


@dataclass(frozen=True)
class Round:
    """The order for one round. `since` maps each timeframe to its start in milliseconds."""

    symbols: list[str]
    runs: int
    concurrency: int
    since: dict[str, int]
    limit: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def serve_collector() -> None:
    ccxt.binance = UnlimitedBinance
    run("collector", CollectorSettings, build_worker)


async def serve_bare(base_url: str) -> None:
    client = ccxt.binance({"enableRateLimit": False, "timeout": 10_000})
    restrict_markets(client, "spot")
    redirect_requests(client, base_url)
    try:
        await client.load_markets()
        while line := await asyncio.to_thread(sys.stdin.readline):
            rows = await _carry_out(client, Round(**json.loads(line)))
            print(rows, flush=True)
    finally:
        await client.close()


async def _carry_out(client: Any, order: Round) -> int:
    """Request all timeframes of a run at once, with limited concurrency like the collector. Returns the row count."""
    places = asyncio.Semaphore(order.concurrency)

    async def one_run(symbol: str) -> int:
        async with places:
            pages = await asyncio.gather(
                *(client.fetch_ohlcv(symbol, frame, since, order.limit) for frame, since in order.since.items())
            )
        return sum(map(len, pages))

    symbols = (order.symbols[number % len(order.symbols)] for number in range(order.runs))
    return sum(await asyncio.gather(*map(one_run, symbols)))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["collector"]:
            serve_collector()
        case ["bare", base_url]:
            uvloop.run(serve_bare(base_url))
        case _:
            sys.exit(__doc__)
