"""The scheduler without its consumer: loop and publishers, with a simulated Kafka and a settable clock."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from contracts.coverage import to_instant
from contracts.event import Event
from contracts.schedule import JobScheduled
from contracts.ticks import TickDue
from contracts.topics import CONFIG_CHANGES, RUN_EVENTS, Topic
from runtime.kafka.publisher import PublishFailed
from scheduler.book import Book
from scheduler.due_queue import DueQueue
from scheduler.handlers import Handlers
from scheduler.metrics import SchedulerMetrics
from scheduler.settings import SchedulerSettings
from scheduler.state_publisher import StatePublisher
from scheduler.tick_publisher import TickPublisher
from scheduler.ticker import Ticker
from support.polling import eventually
from support.schedules import HOUR_MS, NOON_MS, SPREAD_MS, a_change, the_run_of


@dataclass
class SimulatedKafka:
    """Stores published events in order. It can refuse lanes or topics, or not answer."""

    log: list[tuple[Topic, str, Event | None]] = field(default_factory=list)
    refused_lanes: set[str] = field(default_factory=set)
    refused_topics: set[str] = field(default_factory=set)
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    refusals: int = 0
    requests: int = 0
    """Number of publish calls."""

    async def publish_many(self, topic: Topic, events: Iterable[Event]) -> None:
        events = list(events)
        self.requests += 1
        await self.answering.wait()
        if topic.name in self.refused_topics or self.refused_lanes & {event.key() for event in events}:
            self.refusals += 1
            raise PublishFailed("refused")
        self.log += [(topic, event.key(), event) for event in events]

    async def tombstones(self, topic: Topic, keys: Iterable[str]) -> None:
        self.requests += 1
        await self.answering.wait()
        self.log += [(topic, key, None) for key in keys]

    def ticks(self) -> list[TickDue]:
        return [event for _, _, event in self.log if isinstance(event, TickDue)]

    def states(self) -> list[JobScheduled]:
        return [event for _, _, event in self.log if isinstance(event, JobScheduled)]


class Service:
    """The scheduler without its consumer: the test calls the handlers as the consumer would."""

    def __init__(self) -> None:
        self.now = NOON_MS
        self.kafka = SimulatedKafka()
        self.kafka.answering.set()
        self.ownership_problem: str | None = None
        settings = SchedulerSettings(
            kafka_bootstrap_servers="nowhere:1",
            clock_check_seconds=0.01,
            publish_retry_max_wait_seconds=0.02,
            handover_timeout_seconds=0.2,
            tick_batch_size=10,
        )
        self.registry = CollectorRegistry()
        metrics = SchedulerMetrics(self.registry)
        clock = self.clock
        publisher: Any = self.kafka
        self.book = Book(SPREAD_MS, 24 * HOUR_MS)
        self.due_queue = DueQueue(self.book.due_at)
        self.replaced = False
        self.state_publisher = StatePublisher(
            self.book,
            publisher,
            clock,
            metrics,
            retry_max_wait_seconds=settings.publish_retry_max_wait_seconds,
            replaced=lambda: self.replaced,
        )
        self.tick_publisher = TickPublisher(
            settings,
            book=self.book,
            due_queue=self.due_queue,
            state_publisher=self.state_publisher,
            publisher=publisher,
            clock=clock,
            metrics=metrics,
        )
        self.handlers = Handlers(
            book=self.book,
            due_queue=self.due_queue,
            tick_publisher=self.tick_publisher,
            state_publisher=self.state_publisher,
            clock=clock,
            metrics=metrics,
            handover_timeout_seconds=settings.handover_timeout_seconds,
        )
        self.ticker = Ticker(
            due_queue=self.due_queue,
            tick_publisher=self.tick_publisher,
            clock=clock,
            metrics=metrics,
            ownership_problem=lambda: self.ownership_problem,
            clock_set_back=self.handlers.on_clock_set_back,
            clock_check_seconds=settings.clock_check_seconds,
        )

    def clock(self) -> int:
        return self.now

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"candlekeep_scheduler_{name}", labels) or 0

    def change(self, **config: Any) -> None:
        event = a_change(**{"updated_at": to_instant(self.now), **config})
        self.handlers.on_record(0, CONFIG_CHANGES, event.key(), event)

    def finish(self, tick: TickDue, **changes: Any) -> None:
        """The run of the tick ends now; by default, it is successful."""
        run = the_run_of(tick, ended=self.now, **changes)
        self.handlers.on_record(0, RUN_EVENTS, run.key(), run)

    async def ticks(self, count: int) -> list[TickDue]:
        async def enough() -> list[TickDue]:
            assert len(self.kafka.ticks()) >= count, f"{len(self.kafka.ticks())} of {count} ticks"
            await self.state_publisher.flush(1)
            return self.kafka.ticks()

        return await eventually(enough, within=5, every=0.005)

    async def no_more_than(self, count: int) -> None:
        """The number of ticks is the same after several turns of the loop."""
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert len(self.kafka.ticks()) == count


@contextlib.asynccontextmanager
async def running(service: Service) -> AsyncIterator[Service]:
    tasks = [asyncio.create_task(service.ticker.run()), asyncio.create_task(service.state_publisher.run())]
    try:
        yield service
    finally:
        await service.ticker.stop()
        await asyncio.wait_for(tasks[0], 5)
        await service.state_publisher.stop()
        await asyncio.wait_for(tasks[1], 5)
