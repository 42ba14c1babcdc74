"""Making either side of the collector's benchmark carry out runs, measured from outside.

A round is timed from its order to its last result: for the collector from publishing the first tick to the last run's
news being in Kafka, for the bare loop from asking to its answer.
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

from collector.candles.paging import first_step
from collector.exchange.traits import traits_of
from collector.settings import CollectorSettings
from contracts.configs import CollectionConfig
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
LOOK_SECONDS = 0.005
SIDES = Path(__file__).with_name("collector_processes.py")
CONCURRENCY = int(CollectorSettings.model_fields["max_runs_per_lane"].default)


@dataclass(frozen=True)
class Measured:
    """One round of one side."""

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
    """A running process and how to make it carry out so many runs."""

    process: psutil.Process
    simulator_url: str
    carry_out: Callable[[int], Awaitable[float]]
    """Returns the seconds that it took."""

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


def _window_start(now: datetime) -> datetime:
    return now - timedelta(minutes=INTERVAL_MINUTES)


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
    """Publishes ticks and waits until the news of all their runs are in Kafka."""

    def __init__(self, publisher: EventPublisher, consumer: AIOKafkaConsumer, prefix: str) -> None:
        self._publisher, self._consumer = publisher, consumer
        self._news = [TopicPartition(prefix + RUN_EVENTS.name, number) for number in range(RUN_EVENTS.partitions)]

    async def carry_out(self, runs: int) -> float:
        before = await self._consumer.end_offsets(self._news)
        ticks = _ticks(runs)
        expected = sum(before.values()) + EVENTS_PER_RUN * runs
        began = time.perf_counter()
        await self._publisher.publish_many(TICKS, ticks)
        async with asyncio.timeout(ROUND_SECONDS):
            # Looking at the ends only: reading along would compete with what is measured.
            while sum((await self._consumer.end_offsets(self._news)).values()) < expected:  # noqa: ASYNC110 -- it asks
                await asyncio.sleep(LOOK_SECONDS)
        seconds = time.perf_counter() - began
        await self._check(before, runs)
        return seconds

    async def _check(self, since: dict[TopicPartition, int], runs: int) -> None:
        """Raises unless every run succeeded and found candles."""
        self._consumer.assign(self._news)
        for partition, offset in since.items():
            self._consumer.seek(partition, offset)
        good = read = 0
        while read < EVENTS_PER_RUN * runs:
            for messages in (await self._consumer.getmany(timeout_ms=1000)).values():
                read += len(messages)
                events = (decode(RUN_EVENTS, message.value) for message in messages)
                finished = (event for event in events if isinstance(event, RunFinished))
                good += sum(event.status is RunStatus.SUCCESS and event.records_collected > 0 for event in finished)
        self._consumer.unsubscribe()
        if good != runs:
            raise AssertionError(f"only {good} of {runs} runs succeeded")


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
        window_start=_window_start(now),
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
    """The other end of a `collector_processes.py bare`."""

    ask: asyncio.StreamWriter
    answers: asyncio.StreamReader

    async def carry_out(self, runs: int) -> float:
        now = datetime.now(UTC)
        begin, now_ms = (int(instant.timestamp() * 1000) for instant in (_window_start(now), now))
        since = {frame: first_step(traits_of(EXCHANGE), frame, begin, now_ms, PAGE).since for frame in TIMEFRAMES}
        asked = Round(_symbols(), runs, CONCURRENCY, since, PAGE)
        began = time.perf_counter()
        self.ask.write(asked.to_json().encode() + b"\n")
        async with asyncio.timeout(ROUND_SECONDS):
            answer = await self.answers.readline()
        seconds = time.perf_counter() - began
        if not answer or int(answer) < runs * len(TIMEFRAMES):
            raise AssertionError(f"the bare loop answered {answer!r}")
        return seconds
