"""Starts rounds of runs on both sides of the collector's benchmark, and measures them from outside.

The time of a round ends with its last result. For the collector it is the time from publishing the first tick until
Kafka holds the events of the last run. For the bare loop it is the time from the order to the response.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from benchmarks.collector_processes import EXCHANGE, Round

from collector.candles.reading import SeriesReader
from collector.exchange.traits_table import traits_of
from collector.settings import CollectorSettings
from contracts.configs import CollectionConfig
from contracts.coverage import SeriesProgress, progress_of_version_1, to_milliseconds
from contracts.runs import RunFinished
from contracts.ticks import TickDue
from contracts.topics import RUN_EVENTS, TICKS
from contracts.vocabulary import RunStatus, Trigger
from exchange_simulator.markets import list_markets
from local_stack.stack import Stack
from runtime.kafka.clients import build_broker
from runtime.kafka.codec import decode
from runtime.kafka.publisher import EventPublisher
from runtime.settings import KafkaSettings

TIMEFRAMES = ("1m", "5m", "1h")
INTERVAL_MINUTES = 10
PAGE = 1000
EVENTS_PER_RUN = 2
ROUND_SECONDS = 120.0
POLL_SECONDS = 0.005
SIDES = Path(__file__).with_name("collector_processes.py")
CONCURRENCY = int(CollectorSettings.model_fields["max_runs_per_lane"].default)


@dataclass(frozen=True)
class Measured:
    """The measured values of one round of one side."""

    runs: int
    seconds: float
    cpu_seconds: float
    requests: int

    @property
    def runs_per_second(self) -> float:
        return self.runs / self.seconds

    @property
    def cpu_ms_per_run(self) -> float:
        return self.cpu_seconds / self.runs * 1000


@dataclass(frozen=True)
class Side:
    """A running process, and a function that makes it carry out a number of runs."""

    process: psutil.Process
    simulator_url: str
    carry_out: Callable[[int], Awaitable[float]]
    """Takes the number of runs and returns the time in seconds."""

    async def measure(self, runs: int) -> Measured:
        async with httpx.AsyncClient(base_url=self.simulator_url, trust_env=False) as simulator:
            await simulator.delete("/control/requests")
            before = self.process.cpu_times()
            seconds = await self.carry_out(runs)
            after = self.process.cpu_times()
            requests = len((await simulator.get("/control/requests", params={"exchange": EXCHANGE})).json())
        cpu = after.user + after.system - before.user - before.system
        return Measured(runs, seconds, cpu, requests)


def _symbols() -> list[str]:
    return [market.symbol for market in list_markets(EXCHANGE).of_kind("spot")]


def _progress(now: datetime) -> tuple[SeriesProgress, ...]:
    """The progress of a config whose last run was one interval ago."""
    return progress_of_version_1(TIMEFRAMES, now - timedelta(minutes=INTERVAL_MINUTES))


# ---- ours ----


@contextlib.asynccontextmanager
async def our_side(stack: Stack) -> AsyncIterator[Side]:
    settings = KafkaSettings(kafka_bootstrap_servers=stack.kafka, kafka_topic_prefix=stack.options.topic_prefix)
    broker = build_broker(settings, "bench")
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka, enable_auto_commit=False)
    await broker.start()
    await consumer.start()
    driver = Driver(EventPublisher(broker, settings, "bench"), consumer, settings.kafka_topic_prefix)
    process = psutil.Process(stack.processes["collector"].running.child.pid)
    try:
        yield Side(process, str(stack.simulator_url), driver.carry_out)
    finally:
        await consumer.stop()
        await broker.stop()


class Driver:
    """Publishes ticks and waits until Kafka holds the events of all their runs."""

    def __init__(self, publisher: EventPublisher, consumer: AIOKafkaConsumer, prefix: str) -> None:
        self._publisher, self._consumer = publisher, consumer
        self._run_events = [TopicPartition(prefix + RUN_EVENTS.name, number) for number in range(RUN_EVENTS.partitions)]

    async def carry_out(self, runs: int) -> float:
        before = await self._consumer.end_offsets(self._run_events)
        ticks = _ticks(runs)
        expected = sum(before.values()) + EVENTS_PER_RUN * runs
        started = time.perf_counter()
        await self._publisher.publish_many(TICKS, ticks)
        async with asyncio.timeout(ROUND_SECONDS):
            # Polls only the end offsets, because reading the events would slow the collector down.
            while sum((await self._consumer.end_offsets(self._run_events)).values()) < expected:  # noqa: ASYNC110 -- Kafka has no event for it
                await asyncio.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - started
        await self._check(before, runs)
        return seconds

    async def _check(self, since: dict[TopicPartition, int], runs: int) -> None:
        """Raises AssertionError unless every run succeeded and found candles."""
        self._consumer.assign(self._run_events)
        for partition, offset in since.items():
            self._consumer.seek(partition, offset)
        succeeded = read = 0
        while read < EVENTS_PER_RUN * runs:
            for messages in (await self._consumer.getmany(timeout_ms=1000)).values():
                read += len(messages)
                events = (decode(RUN_EVENTS, message.value) for message in messages)
                finished = (event for event in events if isinstance(event, RunFinished))
                succeeded += sum(
                    event.status is RunStatus.SUCCESS and event.records_collected > 0 for event in finished
                )
        self._consumer.unsubscribe()
        if succeeded != runs:
            raise AssertionError(f"only {succeeded} of {runs} runs succeeded")


def _ticks(runs: int) -> list[TickDue]:
    now, symbols = datetime.now(UTC), _symbols()
    return [_tick(number + 1, symbols[number % len(symbols)], now) for number in range(runs)]


def _tick(config_id: int, symbol: str, now: datetime) -> TickDue:
    config = CollectionConfig(
        config_id=config_id,
        version=1,
        exchange=EXCHANGE,
        symbol=symbol,
        timeframes=TIMEFRAMES,
        interval_minutes=INTERVAL_MINUTES,
        enabled=True,
        updated_at=now,
    )
    return TickDue(
        occurred_at=now,
        run_id=uuid4(),
        config=config,
        trigger=Trigger.SCHEDULED,
        scheduled_for=now,
        progress=_progress(now),
        deadline_seconds=120,
        lane=EXCHANGE,
    )


# ---- the baseline ----


@contextlib.asynccontextmanager
async def bare_side(stack: Stack) -> AsyncIterator[Side]:
    argv = (sys.executable, str(SIDES), "bare", str(stack.simulator_url))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    loop = BareLoop(process.stdin, process.stdout)
    try:
        yield Side(psutil.Process(process.pid), str(stack.simulator_url), loop.carry_out)
    finally:
        process.stdin.close()
        await process.wait()


@dataclass(frozen=True)
class BareLoop:
    """The connection to a process `collector_processes.py bare`."""

    orders: asyncio.StreamWriter
    responses: asyncio.StreamReader

    async def carry_out(self, runs: int) -> float:
        now = datetime.now(UTC)
        since = {each.timeframe: _first_since(each, to_milliseconds(now)) for each in _progress(now)}
        order = Round(_symbols(), runs, CONCURRENCY, since, PAGE)
        started = time.perf_counter()
        self.orders.write(order.to_json().encode() + b"\n")
        async with asyncio.timeout(ROUND_SECONDS):
            response = await self.responses.readline()
        seconds = time.perf_counter() - started
        if not response or int(response) < runs * len(TIMEFRAMES):
            raise AssertionError(f"the bare loop sent an invalid response: {response!r}")
        return seconds


def _first_since(progress: SeriesProgress, now: int) -> int:
    """The start of the first request of a run, in milliseconds since the epoch."""
    request = SeriesReader(traits_of(EXCHANGE), progress, PAGE, now).next_request(now)
    assert request is not None  # a run sends at least one request
    return request.since
