"""Starts schedulers in this process or as separate processes, and reads and writes their topics."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from contracts.event import Event
from contracts.schedule import JobScheduled
from contracts.ticks import TickDue
from contracts.topics import CONFIG_CHANGES, Topic
from local_stack.ports import free_port
from runtime.kafka.publisher import EventPublisher
from runtime.process.worker import serve
from runtime.settings import KafkaSettings
from scheduler.app import build_worker
from scheduler.clock import wall_clock
from scheduler.settings import SchedulerSettings
from support.kafka import Recorder
from support.polling import eventually
from support.schedules import a_change


@dataclass
class SettableClock:
    """The wall clock plus an offset that a test sets."""

    ahead_ms: int = 0

    def __call__(self) -> int:
        return wall_clock() + self.ahead_ms

    def set_to(self, instant: int) -> None:
        self.ahead_ms = instant - wall_clock()


@dataclass
class World:
    """The scheduler's topics as other services see them, and schedulers in this process."""

    settings: KafkaSettings
    publisher: EventPublisher
    seen: Recorder
    clock: SettableClock = field(default_factory=SettableClock)
    registry: CollectorRegistry | None = None

    async def change(self, **config: Any) -> None:
        await self.publisher.publish(CONFIG_CHANGES, a_change(**config))

    async def publish(self, topic: Topic, events: Iterable[Event]) -> None:
        await self.publisher.publish_many(topic, events)

    async def tick(self, number: int, *, within: float = 10.0) -> TickDue:
        """The tick with this number of all ticks, counted from 1."""
        return (await self.seen.await_events(TickDue, number, within=within))[number - 1]

    async def state(self, number: int) -> JobScheduled:
        return (await self.seen.await_events(JobScheduled, number))[number - 1]

    def tombstones(self, topic: Topic) -> list[str]:
        return [each.key for each in self.seen.records if each.topic is topic and each.event is None]

    @contextlib.asynccontextmanager
    async def scheduler(self, **changes: Any) -> AsyncIterator[None]:
        """A scheduler in this process. It is live when this returns, and it stops cleanly at the end."""
        settings = SchedulerSettings(
            **{**self.settings.model_dump(), "http_port": 0, "clock_check_seconds": 0.05, **changes}
        )
        worker, stop = build_worker(settings, self.clock), asyncio.Event()
        serving = asyncio.create_task(serve(worker, stop))

        def all_live() -> bool:
            assert not serving.done(), serving
            return worker.registry.get_sample_value("candlekeep_scheduler_partitions_live") == CONFIG_CHANGES.partitions

        try:
            await eventually(all_live, within=30)
            self.registry = worker.registry
            yield
        finally:
            stop.set()
            assert await asyncio.wait_for(serving, 20) == 0


@dataclass
class Instance:
    """A scheduler in a separate process."""

    process: asyncio.subprocess.Process
    port: int

    async def live_partitions(self) -> int:
        return int(await self.metric("candlekeep_scheduler_partitions_live"))

    async def metric(self, name: str) -> float:
        """The value of a metric, by its name with its labels. 0 if there is no response or no such value."""
        try:
            async with httpx.AsyncClient(verify=False, timeout=60) as http:  # loading the certificates takes 20 ms
                lines = (await http.get(f"http://127.0.0.1:{self.port}/metrics")).text.splitlines()
        except httpx.HTTPError:
            return 0
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0)


@contextlib.asynccontextmanager
async def an_instance(settings: KafkaSettings, **environment: str) -> AsyncIterator[Instance]:
    port = free_port()
    variables = {name.upper(): str(value) for name, value in settings.model_dump().items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scheduler",
        env={**os.environ, **variables, "HTTP_PORT": str(port), "LOG_FORMAT": "console", **environment},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Instance(process, port)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
