from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from exchange_simulator import SimulatorSettings, running
from support.collecting import Exchanges, Simulator
from support.tape import Tape, playing

NOW_MS = 1_748_865_630_000
"""2025-06-02 12:00:30 UTC: the simulated instant, which stands still. An exchange ahead of us would not be believed."""


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with running(SimulatorSettings(port=0)) as base, aiohttp.ClientSession() as http:
        simulator = Simulator(base, http)
        await simulator.stand_still(NOW_MS)
        yield simulator


@pytest.fixture
async def tape(simulator: Simulator) -> AsyncIterator[Tape]:
    async with playing(simulator.base) as tape:
        tape.now = NOW_MS / 1000
        yield tape


@pytest.fixture
async def exchanges_at() -> AsyncIterator[Callable[..., Exchanges]]:
    """Makes clients of the server at a base URL; they are closed after the test."""
    async with AsyncExitStack() as stack:

        def make(base: str, **options: Any) -> Exchanges:
            exchanges = Exchanges(base, **{"now": lambda: NOW_MS / 1000, **options})
            stack.push_async_callback(exchanges.clients.close)
            return exchanges

        yield make
