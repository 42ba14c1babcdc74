"""What log-writer is made of."""

import socket
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.topics import DEAD_LETTERS, RUN_EVENTS, SCHEDULE_STATE
from log_writer.chores import Chore
from log_writer.counts import SETTLE_SECONDS, settle
from log_writer.handlers import build_handler
from log_writer.metrics import LogWriterMetrics
from log_writer.progress import caught_up_partitions
from log_writer.retention import RETENTION_SECONDS, delete_expired
from log_writer.settings import LogWriterSettings
from log_writer.sweep import close_lost_runs
from runtime.batches import subscribe_batch
from runtime.database import build_engine, is_transient
from runtime.dead_letters import DeadLetters
from runtime.health import Health
from runtime.kafka import build_broker
from runtime.metrics import ConsumerMetrics, PublisherMetrics, new_registry
from runtime.publisher import EventPublisher
from runtime.worker import Worker
from store.schema import using_current

NAME = "log-writer"


def build_worker(settings: LogWriterSettings) -> Worker:
    """Connects to nothing yet."""
    registry = new_registry()
    metrics, consumer_metrics = LogWriterMetrics(registry), ConsumerMetrics(registry)
    broker = build_broker(settings, f"{NAME}-{socket.gethostname()}")
    publisher = EventPublisher(broker, settings, NAME, PublisherMetrics(registry))
    engine = build_engine(settings, NAME)
    subscription = subscribe_batch(
        broker,
        settings,
        (RUN_EVENTS, SCHEDULE_STATE),
        group=NAME,
        handler=build_handler(engine, metrics),
        dead_letters=DeadLetters(publisher, NAME, consumer_metrics, settings),
        metrics=consumer_metrics,
        is_transient=is_transient,
        max_records=settings.batch_max_records,
    )
    return Worker(
        name=NAME,
        settings=settings,
        broker=broker,
        registry=registry,
        health=Health(),
        topics=(RUN_EVENTS, SCHEDULE_STATE, DEAD_LETTERS),
        backgrounds=(subscription.background(), *(c.background() for c in _chores(settings, engine, metrics))),
        resources=lambda: using_current(engine),
    )


def _chores(settings: LogWriterSettings, engine: AsyncEngine, metrics: LogWriterMetrics) -> list[Chore]:
    async def retain() -> None:
        await delete_expired(engine, timedelta(days=settings.log_retention_days), metrics.runs_expired.inc)

    async def sweep() -> None:
        grace = timedelta(seconds=settings.run_lost_grace_seconds)
        metrics.runs_swept.inc(await close_lost_runs(engine, lambda: caught_up_partitions(settings, NAME), grace))

    async def count() -> None:
        metrics.counts_settled.inc(await settle(engine))

    chores = [
        Chore("sweep", sweep, settings.sweep_interval_seconds, metrics.chore_failures),
        Chore("counts", count, SETTLE_SECONDS, metrics.chore_failures),
    ]
    if settings.log_retention_days:
        chores.append(Chore("retention", retain, RETENTION_SECONDS, metrics.chore_failures))
    return chores
