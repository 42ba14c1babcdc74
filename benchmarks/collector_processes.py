"""The two processes that are compared: the collector itself, and a bare asyncio loop of the same ccxt calls.

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
from collector.exchange.clients import only_markets_of, point_at
from collector.settings import CollectorSettings
from runtime.process.worker import run

EXCHANGE = "binance"


class UnlimitedBinance(ccxt.binance):  # type: ignore[misc] # ccxt is untyped
    """So high a limit that it does not matter: the collector has its own throttle, which cannot be switched off."""

    @override
    def describe(self) -> Any:
        return self.deep_extend(super().describe(), {"rateLimit": 0.001})


@dataclass(frozen=True)
class Round:
    """Runs to carry out. `since` is by timeframe, in milliseconds."""

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
    only_markets_of(client, "spot")
    point_at(client, base_url)
    try:
        await client.load_markets()
        while line := await asyncio.to_thread(sys.stdin.readline):
            rows = await _carry_out(client, Round(**json.loads(line)))
            print(rows, flush=True)
    finally:
        await client.close()


async def _carry_out(client: Any, asked: Round) -> int:
    """All timeframes of a run at once and so many runs at a time, as the collector does. Returns the rows received."""
    room = asyncio.Semaphore(asked.concurrency)

    async def one_run(symbol: str) -> int:
        async with room:
            answers = await asyncio.gather(
                *(client.fetch_ohlcv(symbol, frame, since, asked.limit) for frame, since in asked.since.items())
            )
        return sum(map(len, answers))

    symbols = (asked.symbols[number % len(asked.symbols)] for number in range(asked.runs))
    return sum(await asyncio.gather(*map(one_run, symbols)))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["collector"]:
            serve_collector()
        case ["bare", base_url]:
            uvloop.run(serve_bare(base_url))
        case _:
            sys.exit(__doc__)
