"""The parts of log-writer and how they are connected."""

import socket
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.topics import DEAD_LETTERS, MARKET_LISTS, RUN_EVENTS, SCHEDULE_STATE
from log_writer import open_holes, run_health
from log_writer.group_progress import caught_up_partitions
from log_writer.handlers import build_router
from log_writer.lost_runs import close_lost_runs
from log_writer.metrics import LogWriterMetrics
from log_writer.retention import RETENTION_SECONDS, delete_expired
from log_writer.settings import LogWriterSettings
from log_writer.statistics import SETTLE_SECONDS, settle
from runtime.consumers.batch import BatchSubscription
from runtime.database import build_engine, is_transient
from runtime.dead_letters import DeadLetters
from runtime.kafka.clients import build_broker
from runtime.kafka.publisher import EventPublisher
from runtime.lifecycle.health import Health
from runtime.lifecycle.periodic_tasks import PeriodicTask
from runtime.metrics import ConsumerMetrics, PublisherMetrics, new_registry
from runtime.process.worker import Worker
from store.schema import using_current

NAME = "log-writer"


def build_worker(settings: LogWriterSettings) -> Worker:
    """Build the worker. This connects to nothing."""
    registry = new_registry()
    metrics, consumer_metrics = LogWriterMetrics(registry), ConsumerMetrics(registry)
    broker = build_broker(settings, f"{NAME}-{socket.gethostname()}")
    publisher = EventPublisher(broker, settings, NAME, PublisherMetrics(registry))
    engine = build_engine(settings, NAME)
    batches = BatchSubscription(
        broker,
        settings,
        (RUN_EVENTS, SCHEDULE_STATE, MARKET_LISTS),
        group=NAME,
        dead_letters=DeadLetters(publisher, NAME, consumer_metrics, settings),
        metrics=consumer_metrics,
        is_transient=is_transient,
    )
    broker.include_router(build_router(settings, batches, registry, engine, metrics))
    return Worker(
        name=NAME,
        settings=settings,
        broker=broker,
        registry=registry,
        health=Health(),
        topics=(RUN_EVENTS, SCHEDULE_STATE, MARKET_LISTS, DEAD_LETTERS),
        backgrounds=(batches.background(), *(each.background() for each in _periodic_tasks(settings, engine, metrics))),
        resources=lambda: using_current(engine),
    )


def _periodic_tasks(settings: LogWriterSettings, engine: AsyncEngine, metrics: LogWriterMetrics) -> list[PeriodicTask]:
    async def delete_old_runs() -> None:
        await delete_expired(engine, timedelta(days=settings.log_retention_days), metrics.runs_expired.inc)

    async def close_lost() -> None:
        grace = timedelta(seconds=settings.lost_run_grace_seconds)
        metrics.lost_runs_closed.inc(await close_lost_runs(engine, lambda: caught_up_partitions(settings, NAME), grace))

    async def settle_counts() -> None:
        metrics.counts_settled.inc(await settle(engine))

    async def count_holes() -> None:
        metrics.set_open_holes(await open_holes.count_open_holes(engine))

    async def count_unhealthy() -> None:
        metrics.set_run_health(await run_health.count_run_health(engine))

    periodic_tasks = [
        PeriodicTask("lost runs", close_lost, settings.lost_run_check_seconds, metrics.periodic_task_failures),
        PeriodicTask("counts", settle_counts, SETTLE_SECONDS, metrics.periodic_task_failures),
        PeriodicTask("open holes", count_holes, open_holes.COUNT_SECONDS, metrics.periodic_task_failures),
        PeriodicTask("stuck runs", count_unhealthy, run_health.COUNT_SECONDS, metrics.periodic_task_failures),
    ]
    if settings.log_retention_days:
        periodic_tasks.append(
            PeriodicTask("retention", delete_old_runs, RETENTION_SECONDS, metrics.periodic_task_failures)
        )
    return periodic_tasks
