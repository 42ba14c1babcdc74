"""What wakes candle-writer: batches of fetched candles."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from candle_writer.metrics import CandleWriterMetrics
from candle_writer.series import SeriesIds
from candle_writer.write import write_candles
from contracts.candles import CandlesCollected
from runtime.consumers.batch import Received
from runtime.failpoints import failpoint

Handler = Callable[[list[Received]], Awaitable[None]]


def build_handler(engine: AsyncEngine, metrics: CandleWriterMetrics) -> Handler:
    """Delivery: at least once, in any order across series; the writing makes the effect once."""
    series = SeriesIds(engine)

    async def on_batch(batch: list[Received]) -> None:
        events = [each.event for each in batch if isinstance(each.event, CandlesCollected)]
        failpoint("candle_writer.before_write")
        started = time.perf_counter()
        outcome = await write_candles(engine, series, events)
        failpoint("candle_writer.after_write")
        newest = max(event.fetched_at for event in events)
        metrics.wrote(outcome, newest, datetime.now(UTC), time.perf_counter() - started)

    return on_batch
