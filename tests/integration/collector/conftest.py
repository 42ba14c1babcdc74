from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from exchange_simulator import SimulatorSettings, running
from support.collecting import Exchanges, Simulator
from support.stub_exchange import StubExchange, serving

NOW_MS = 1_748_865_630_000
"""2025-06-02 12:00:30 UTC: the frozen time of the simulator. It is in the past, because the collector ignores dates far
ahead of its clock."""


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with running(SimulatorSettings(port=0)) as base, aiohttp.ClientSession() as http:
        simulator = Simulator(base, http)
        await simulator.freeze_clock(NOW_MS)
        yield simulator


@pytest.fixture
async def stub_exchange(simulator: Simulator) -> AsyncIterator[StubExchange]:
    async with serving(simulator.base) as stub_exchange:
        stub_exchange.now = NOW_MS / 1000
        yield stub_exchange


@pytest.fixture
async def exchanges_at() -> AsyncIterator[Callable[..., Exchanges]]:
    """Builds clients of the server at a base URL, and closes them after the test."""
    async with AsyncExitStack() as stack:

        def build(base: str, **options: Any) -> Exchanges:
            exchanges = Exchanges(base, **{"now": lambda: NOW_MS / 1000, **options})
            stack.push_async_callback(exchanges.clients.close)
            return exchanges

        yield build
