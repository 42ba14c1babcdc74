"""The subscription of log-writer: batches of run events, schedule states and lists of markets."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from faststream import AckPolicy
from faststream.kafka import KafkaRouter
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.bounds import MAX_RUN_AHEAD
from contracts.markets import MarketsListed
from contracts.runs import RunFinished, RunStarted
from contracts.schedule import JobScheduled
from contracts.topics import MARKET_LISTS, RUN_EVENTS, SCHEDULE_STATE
from log_writer import market_tables, runs, schedule
from log_writer.metrics import LogWriterMetrics
from log_writer.settings import LogWriterSettings
from log_writer.write import write_batch
from runtime.consumers.batch import BatchSubscription, Tombstone
from runtime.failpoints import failpoint
from runtime.kafka.clients import group_name, topic_name


def build_router(
    settings: LogWriterSettings,
    batches: BatchSubscription,
    registry: CollectorRegistry,
    engine: AsyncEngine,
    metrics: LogWriterMetrics,
) -> KafkaRouter:
    """Delivery: at least once, in any order across partitions. The write is idempotent, so each event has its effect
    once.
    """
    router = batches.build_router(registry)

    @router.subscriber(
        topic_name(settings, RUN_EVENTS),
        topic_name(settings, SCHEDULE_STATE),
        topic_name(settings, MARKET_LISTS),
        group_id=group_name(settings, batches.group),
        batch=True,
        max_records=settings.batch_max_records,
        ack_policy=AckPolicy.MANUAL,  # `batches` commits after the handler has returned
        **batches.options,
    )
    async def store_events(events: list[RunStarted | RunFinished | JobScheduled | MarketsListed | Tombstone]) -> None:
        now = datetime.now(UTC)
        lists = [each for each in events if isinstance(each, MarketsListed)]
        market_tables.require_believable(lists, now)
        run_events = [each for each in events if isinstance(each, RunStarted | RunFinished)]
        require_believable(run_events, now)
        rows = runs.fold(run_events)
        changes = schedule.fold((each for each in events if isinstance(each, JobScheduled | Tombstone)), now)
        failpoint("log_writer.before_write")
        started = time.perf_counter()
        await write_batch(engine, rows, changes)
        failpoint("log_writer.after_write")
        metrics.add_market_changes(await market_tables.apply_lists(engine, lists, settings.lifecycle()))
        metrics.add_batch(rows, changes, time.perf_counter() - started)
        newest = max((each.occurred_at for each in events if not isinstance(each, Tombstone)), default=None)
        metrics.set_newest(newest, datetime.now(UTC))

    return router


def require_believable(events: Iterable[RunStarted | RunFinished], now: datetime) -> None:
    """Raises `ValueError` if a run starts more than a day in the future: its collector's clock is wrong.

    Retention would never delete such a run, and it would be the first one of every list.
    """
    for event in events:
        if event.started_at > now + MAX_RUN_AHEAD:
            raise ValueError(f"run {event.run_id} starts at {event.started_at}, more than a day after {now}")
