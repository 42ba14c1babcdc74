"""The parts of the backfiller and how they are connected."""

import socket
from collections.abc import Sequence

from backfiller.chunks import Chunk
from backfiller.counts import COUNT_SECONDS, count_chunks
from backfiller.handlers import build_router
from backfiller.loop import BackfillLoop
from backfiller.metrics import BackfillerMetrics
from backfiller.progress import ANNOUNCE_SECONDS, ProgressAnnouncer
from backfiller.settings import BackfillerSettings
from contracts.topics import BACKFILL_EVENTS, DEAD_LETTERS, EXCHANGE_HEALTH, RANGE_REQUESTS, RUN_EVENTS
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

NAME = "backfiller"


def build_worker(settings: BackfillerSettings) -> Worker:
    """Build the worker. This connects to nothing."""
    registry = new_registry()
    metrics, consumer_metrics = BackfillerMetrics(registry), ConsumerMetrics(registry)
    broker = build_broker(settings, f"{NAME}-{socket.gethostname()}")
    publisher = EventPublisher(broker, settings, NAME, PublisherMetrics(registry))
    engine = build_engine(settings, NAME)
    announcer = ProgressAnnouncer(engine, publisher)
    loop = BackfillLoop(settings, engine, publisher, metrics, announcer.note)
    batches = BatchSubscription(
        broker,
        settings,
        (RUN_EVENTS, EXCHANGE_HEALTH),
        group=NAME,
        dead_letters=DeadLetters(publisher, NAME, consumer_metrics, settings),
        metrics=consumer_metrics,
        is_transient=is_transient,
    )

    def note(changed: Sequence[Chunk]) -> None:
        announcer.note(changed)
        loop.wake()  # the loop then requests the next chunks at once

    broker.include_router(build_router(settings, batches, registry, engine, metrics, note))

    async def count() -> None:
        metrics.set_counts(await count_chunks(engine))

    counting = PeriodicTask("chunks", count, COUNT_SECONDS, metrics.periodic_task_failures)
    announcing = PeriodicTask("progress", announcer.announce, ANNOUNCE_SECONDS, metrics.periodic_task_failures)
    return Worker(
        name=NAME,
        settings=settings,
        broker=broker,
        registry=registry,
        health=Health(),
        topics=(RUN_EVENTS, EXCHANGE_HEALTH, RANGE_REQUESTS, BACKFILL_EVENTS, DEAD_LETTERS),
        backgrounds=(batches.background(), counting.background(), announcing.background(), loop.background()),
        resources=lambda: using_current(engine),
    )
