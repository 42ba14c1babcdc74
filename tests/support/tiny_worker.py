"""A minimal worker in a separate process: it writes the number of each tick to a file.

    python -m support.tiny_worker

With FAIL_START=1 it refuses to start. HANDLE_SECONDS is the handling time of each tick, SLOW_SECONDS that of every
hundredth tick.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka import ConsumerRecord
from pydantic import Field

from contracts.event import Event
from contracts.ticks import TickDue
from contracts.topics import DEAD_LETTERS, TICKS
from runtime.consumers.concurrent import ConcurrentConsumer
from runtime.consumers.limits import InFlightLimits
from runtime.dead_letters import DeadLetters
from runtime.kafka.clients import build_broker
from runtime.kafka.publisher import EventPublisher
from runtime.lifecycle.health import Health
from runtime.lifecycle.startup_errors import StartupRefused
from runtime.metrics import ConsumerMetrics, new_registry
from runtime.process.worker import Worker, run
from runtime.settings import WorkerSettings
from runtime.tracing.spans import run_span
from support.consuming import number_of


class TinySettings(WorkerSettings):
    started: Path | None = Field(default=None, description="Numbers are appended to this file before they are handled.")
    results: Path = Field(description="The file for the numbers of handled ticks, one per line.")
    handle_seconds: float = Field(default=0.0, description="Handling time of each tick.")
    slow_seconds: float | None = Field(default=None, description="Handling time of every hundredth tick.")
    fail_start: bool = Field(default=False, description="Refuse to start.")


def build(settings: TinySettings) -> Worker:
    registry, health = new_registry(), Health()
    broker = build_broker(settings, "tiny")
    metrics = ConsumerMetrics(registry)

    async def handle(event: Event, record: ConsumerRecord) -> None:
        assert isinstance(event, TickDue)
        if settings.started:
            with settings.started.open("a") as file:
                file.write(f"{number_of(event)}\n")
        slow = settings.slow_seconds is not None and number_of(event) % 100 == 0
        with run_span("run", event.run_id, record.headers):
            await asyncio.sleep((slow and settings.slow_seconds) or settings.handle_seconds)
        with settings.results.open("a") as file:
            file.write(f"{number_of(event)}\n")

    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        if settings.fail_start:
            raise StartupRefused("the schema is old. Run: make migrate")
        yield
        sys.stderr.write("resources closed\n")

    consumer = ConcurrentConsumer(
        settings,
        TICKS,
        group="tiny",
        handler=handle,
        dead_letters=DeadLetters(EventPublisher(broker, settings, "tiny"), "tiny", metrics, settings),
        metrics=metrics,
        limits=InFlightLimits(commit_interval=0.2),
    )
    return Worker(
        name="tiny",
        settings=settings,
        broker=broker,
        registry=registry,
        health=health,
        topics=(TICKS, DEAD_LETTERS),
        backgrounds=(consumer.background(),),
        resources=resources,
    )


if __name__ == "__main__":
    run("tiny", TinySettings, build)
