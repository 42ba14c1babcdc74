import asyncio
import json
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from collector.app import build_worker
from collector.settings import CollectorSettings
from contracts.event import Event
from contracts.topics import CANDLES, DEAD_LETTERS, RUN_EVENTS, TICKS, Topic
from exchange_simulator import SimulatorSettings, running
from runtime.kafka.clients import build_broker
from runtime.kafka.publisher import EventPublisher
from runtime.process.worker import serve
from runtime.settings import KafkaSettings
from support.collecting import EXCHANGES, Exchanges, Simulator
from support.kafka import Recorder, recording
from support.polling import eventually
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


Publish = Callable[..., Any]
Start = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
async def publish(kafka_settings: KafkaSettings) -> AsyncIterator[Publish]:
    broker = build_broker(kafka_settings, "test")
    await broker.start()
    publisher = EventPublisher(broker, kafka_settings, "test")

    async def publish_events(*events: Event, topic: Topic = TICKS) -> None:
        await publisher.publish_many(topic, events)

    yield publish_events
    await broker.stop()


@pytest.fixture
async def recorder(kafka_settings: KafkaSettings) -> AsyncIterator[Recorder]:
    async with recording(kafka_settings, RUN_EVENTS, CANDLES, DEAD_LETTERS) as recorder:
        yield recorder


@pytest.fixture
def environment(kafka_settings: KafkaSettings, simulator: Simulator) -> dict[str, str]:
    overrides = ",".join(f'"{exchange}": "{simulator.base}"' for exchange in EXCHANGES)
    return {
        "HTTP_PORT": "0",
        "KAFKA_BOOTSTRAP_SERVERS": kafka_settings.kafka_bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": kafka_settings.kafka_topic_prefix,
        "KAFKA_SESSION_TIMEOUT_MS": str(kafka_settings.kafka_session_timeout_ms),
        "EXCHANGE_URL_OVERRIDES": f"{{{overrides}}}",
        "REQUEST_TIMEOUT_SECONDS": "20",
        "RETRY_INITIAL_WAIT_SECONDS": "0.05",
    }


@pytest.fixture
def start_in_process(environment: dict[str, str]) -> Start:
    """A collector in this process. It is stopped in the same way as by SIGTERM."""

    @asynccontextmanager
    async def start(**changes: str) -> AsyncIterator[Any]:
        values = {name.lower(): value for name, value in {**environment, **changes}.items()}
        overrides = values.pop("exchange_url_overrides")
        settings = CollectorSettings.model_validate({**values, "exchange_url_overrides": json.loads(overrides)})
        worker, stop = build_worker(settings), asyncio.Event()
        serving = asyncio.create_task(serve(worker, stop))

        def is_ready() -> bool:
            assert not serving.done(), serving.result()
            return not worker.health.ready_problems()

        await eventually(is_ready, within=30)
        try:
            yield worker
        finally:
            stop.set()
            assert await serving == 0

    return start


@pytest.fixture
def start_process(environment: dict[str, str]) -> Start:
    """A collector in its own process."""

    @asynccontextmanager
    async def start(**changes: str) -> AsyncIterator[Process]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "collector", env={**os.environ, **environment, **changes}
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    return start
