"""Attacks by expensive reads, many at once."""

import asyncio

from support.abuse.attack import Counts, Target

_EXPORTS = 20
_BURST = 100
_EXPENSIVE = (
    "/execution-logs?limit=1000",
    "/configs?limit=100",
    "/series?limit=1000",
    "/stats?hours=720",
    "/reports/top-symbols?hours=720",
    "/reports/exchanges?hours=720",
    "/reports/config-activity?config_id=1&runs=50",
    "/reports/config-selection?symbol=*%2FUSDT",
    "/reports/exchange-use?hours=720",
    "/reports/history?hours=720",
    "/execution-logs/export",
    "/reports/next-losses?limit=100",
    "/services",
    "/exchanges",
    "/candles?exchange=binance&symbol=BTC/USDT&timeframe=1m&limit=10000&format=csv",
    "/coverage?exchange=binance&symbol=BTC/USDT&timeframe=1m&start=2000-01-01T00:00:00Z&end=2026-01-01T00:00:00Z",
)


async def concurrent_exports(target: Target, counts: Counts) -> None:
    """The export of thousands of configs, many times at once."""
    async with target.client(target.viewer) as client:
        requests = [f"/configs/export?format={'json' if number % 2 else 'yaml'}" for number in range(_EXPORTS)]
        await asyncio.gather(*(counts.request(client, "GET", path) for path in requests))


async def expensive_reads(target: Target, counts: Counts) -> None:
    """Each expensive read twice, all at once."""
    async with target.client(target.operator) as client:
        await asyncio.gather(*(counts.request(client, "GET", path) for path in _EXPENSIVE * 2))


async def bursts_of_requests(target: Target, counts: Counts) -> None:
    """As many cheap requests as the connections allow, up to the caller's rate limit."""
    async with target.client(target.viewer) as client:
        for _ in range(_BURST // 20):
            await asyncio.gather(*(counts.request(client, "GET", "/configs?limit=1") for _ in range(20)))


async def descriptions_without_a_credential(target: Target, counts: Counts) -> None:
    """The API description and the documentation page need no credential."""
    paths = ("/openapi.json", "/docs", "/docs/static/swagger-ui-bundle.js", "/metrics", "/health/ready")
    async with target.client(None) as client:
        urls = [f"{target.api_url}{path}" for path in paths * 5]
        await asyncio.gather(*(counts.request(client, "GET", url) for url in urls))
