"""What wakes log-writer: batches of run events and of schedule states."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.runs import RunFinished, RunStarted
from contracts.schedule import JobScheduled
from log_writer import runs, schedule
from log_writer.metrics import LogWriterMetrics
from log_writer.write import write_batch
from runtime.consumers.batch import Received
from runtime.failpoints import failpoint

Handler = Callable[[list[Received]], Awaitable[None]]


def build_handler(engine: AsyncEngine, metrics: LogWriterMetrics) -> Handler:
    """Delivery: at least once, in any order across partitions; the writing makes the effect once."""

    async def on_batch(batch: list[Received]) -> None:
        rows = runs.fold(each.event for each in batch if isinstance(each.event, RunStarted | RunFinished))
        changes = schedule.fold(
            (
                (int(each.key), each.event)
                for each in batch
                if each.event is None or isinstance(each.event, JobScheduled)
            ),
            datetime.now(UTC),
        )
        failpoint("log_writer.before_write")
        started = time.perf_counter()
        await write_batch(engine, rows, changes)
        failpoint("log_writer.after_write")
        metrics.wrote(rows, changes, time.perf_counter() - started)
        metrics.saw(max((each.event.occurred_at for each in batch if each.event), default=None), datetime.now(UTC))

    return on_batch
