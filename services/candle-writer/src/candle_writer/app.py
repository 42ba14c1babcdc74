"""What candle-writer is made of."""

import socket

from candle_writer.handlers import build_handler
from candle_writer.metrics import CandleWriterMetrics
from candle_writer.settings import CandleWriterSettings
from contracts.topics import CANDLES, DEAD_LETTERS
from runtime.consumers.batch import subscribe_batch
from runtime.database import build_engine, is_transient
from runtime.dead_letters import DeadLetters
from runtime.kafka.clients import build_broker
from runtime.kafka.publisher import EventPublisher
from runtime.lifecycle.health import Health
from runtime.metrics import ConsumerMetrics, PublisherMetrics, new_registry
from runtime.process.worker import Worker
from store.schema import using_current

NAME = "candle-writer"


def build_worker(settings: CandleWriterSettings) -> Worker:
    """Connects to nothing yet."""
    registry = new_registry()
    metrics, consumer_metrics = CandleWriterMetrics(registry), ConsumerMetrics(registry)
    broker = build_broker(settings, f"{NAME}-{socket.gethostname()}")
    publisher = EventPublisher(broker, settings, NAME, PublisherMetrics(registry))
    engine = build_engine(settings, NAME)
    subscription = subscribe_batch(
        broker,
        settings,
        CANDLES,
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
        topics=(CANDLES, DEAD_LETTERS),
        backgrounds=(subscription.background(),),
        resources=lambda: using_current(engine),
    )
