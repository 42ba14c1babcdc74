"""The parts of candle-writer and how they are connected."""

import socket

from candle_writer.handlers import build_router
from candle_writer.levels import LEVELS_SECONDS, fill_levels
from candle_writer.metrics import CandleWriterMetrics
from candle_writer.recount import RECOUNT_SECONDS, recount_outdated
from candle_writer.settings import CandleWriterSettings
from contracts.topics import CANDLES, DEAD_LETTERS
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

NAME = "candle-writer"


def build_worker(settings: CandleWriterSettings) -> Worker:
    """Build the worker. This connects to nothing."""
    registry = new_registry()
    consumer_metrics = ConsumerMetrics(registry)
    broker = build_broker(settings, f"{NAME}-{socket.gethostname()}")
    publisher = EventPublisher(broker, settings, NAME, PublisherMetrics(registry))
    engine = build_engine(settings, NAME)
    batches = BatchSubscription(
        broker,
        settings,
        (CANDLES,),
        group=NAME,
        dead_letters=DeadLetters(publisher, NAME, consumer_metrics, settings),
        metrics=consumer_metrics,
        is_transient=is_transient,
    )
    metrics = CandleWriterMetrics(registry)
    broker.include_router(build_router(settings, batches, registry, engine, metrics))

    async def recount() -> None:
        await recount_outdated(engine, metrics.series_recounted.inc)

    async def fill() -> None:
        await fill_levels(engine, metrics.levels_filled.inc)

    levels = PeriodicTask("levels for charts", fill, LEVELS_SECONDS, metrics.periodic_task_failures)
    recounts = PeriodicTask("daily counts", recount, RECOUNT_SECONDS, metrics.periodic_task_failures)
    return Worker(
        name=NAME,
        settings=settings,
        broker=broker,
        registry=registry,
        health=Health(),
        topics=(CANDLES, DEAD_LETTERS),
        backgrounds=(batches.background(), recounts.background(), levels.background()),
        resources=lambda: using_current(engine),
    )
