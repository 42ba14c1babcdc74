"""The subscription of candle-writer: batches of fetched candles."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from faststream import AckPolicy
from faststream.kafka import KafkaRouter
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from candle_writer.metrics import CandleWriterMetrics
from candle_writer.series import SeriesIds
from candle_writer.settings import CandleWriterSettings
from candle_writer.write import write_candles
from contracts.bounds import MAX_CLOCK_DIFFERENCE
from contracts.candles import CandlesCollected
from contracts.topics import CANDLES
from runtime.consumers.batch import BatchSubscription
from runtime.failpoints import failpoint
from runtime.kafka.clients import group_name, topic_name


def build_router(
    settings: CandleWriterSettings,
    batches: BatchSubscription,
    registry: CollectorRegistry,
    engine: AsyncEngine,
    metrics: CandleWriterMetrics,
) -> KafkaRouter:
    """Delivery: at least once, in any order across series. The write is idempotent, so each fetch has its effect
    once.
    """
    series = SeriesIds(engine)
    router = batches.build_router(registry)

    @router.subscriber(
        topic_name(settings, CANDLES),
        group_id=group_name(settings, batches.group),
        batch=True,
        max_records=settings.batch_max_records,
        ack_policy=AckPolicy.MANUAL,  # `batches` commits after the handler has returned
        **batches.options,
    )
    async def store_candles(events: list[CandlesCollected]) -> None:
        require_believable(events, datetime.now(UTC))
        failpoint("candle_writer.before_write")
        started = time.perf_counter()
        outcome = await write_candles(engine, series, events)
        failpoint("candle_writer.after_write")
        newest = max(event.fetched_at for event in events)
        metrics.add_batch(outcome, newest, datetime.now(UTC), time.perf_counter() - started)

    return router


def require_believable(events: Iterable[CandlesCollected], now: datetime) -> None:
    """Raises `ValueError` if a fetch is more than an hour in the future: its collector's clock is wrong.

    The newest fetch of a candle is stored. So no real fetch could correct these candles until that time has passed.
    """
    for event in events:
        if event.fetched_at > now + MAX_CLOCK_DIFFERENCE:
            raise ValueError(f"fetched_at is {event.fetched_at}, more than an hour after {now}")
