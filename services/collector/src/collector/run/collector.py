"""One run: every timeframe of a config from its exchange to Kafka, then the news of it."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from collector.candles.paging import covered_until
from collector.exchange.clients import ExchangeClients
from collector.exchange.failures import ExchangeFailure, RequestDeferred
from collector.metrics import CollectorMetrics
from collector.run.outcomes import Outcomes, Run, deadline_failure
from collector.run.retry_policy import RetryPolicy
from collector.run.retrying import Retrier
from collector.run.timeframe_run import TimeframeRun, collect_timeframe
from contracts.candles import MAX_CANDLES_PER_EVENT, CandlesCollected
from contracts.ticks import TickDue
from contracts.topics import CANDLES
from contracts.vocabulary import ErrorClass
from runtime.failpoints import failpoint
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.logs import log


@dataclass(frozen=True, kw_only=True)
class Collector:
    """What carries runs out."""

    clients: ExchangeClients
    publisher: EventPublisher
    outcomes: Outcomes
    metrics: CollectorMetrics
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    max_pages: int = 100

    async def collect(self, run: Run) -> None:
        """Carry a run out and announce its ending, whatever happens; only cancelling it leaves it unannounced."""
        announcing = asyncio.create_task(self.outcomes.started(run))
        try:
            try:
                series = await self._collect_all(run)
            finally:
                await announcing
        except Exception as error:  # noqa: BLE001 -- a defect must end its run, not the consumer
            await self.outcomes.broke(run, error)
        else:
            failpoint("collector.after_candles")
            await self.outcomes.finished(
                run, tuple(each.result() for each in series), _covered(run.tick, series), deferred=_deferred(series)
            )

    async def _collect_all(self, run: Run) -> list[TimeframeRun]:
        tick, loop = run.tick, asyncio.get_running_loop()
        deadline = loop.time() + tick.deadline_seconds
        series = [TimeframeRun(tick.config.symbol, timeframe) for timeframe in tick.config.timeframes]
        # All at once: the exchange's throttle sets the pace, and their latencies overlap.
        await asyncio.gather(*(self._collect_one(tick, each, deadline) for each in series))
        await self._publish(tick, series)
        return series

    async def _collect_one(self, tick: TickDue, series: TimeframeRun, deadline: float) -> None:
        """Fill the series; a failure of its exchange, its time or our program is its own and stays in it."""
        retrier = Retrier(tick.config.exchange, self.policy, deadline, self.metrics)
        try:
            client = self.clients.of(tick.config.exchange)
            async with asyncio.timeout_at(deadline):
                await collect_timeframe(client, series, tick.window_start, retrier, self.max_pages)
        except ExchangeFailure as failure:
            series.failure = failure
        except TimeoutError:
            series.failure = deadline_failure(tick.deadline_seconds, retrier.last_failure)
        except Exception as error:  # noqa: BLE001 -- as above; the other timeframes go on
            log.exception("Collecting broke, this is a defect", action="collect_crashed", timeframe=series.timeframe)
            message = f"a defect in the collector: {error!r:.300}"
            series.failure = ExchangeFailure(ErrorClass.INTERNAL, message, retryable=False)

    async def _publish(self, tick: TickDue, series: list[TimeframeRun]) -> None:
        """All candles of the run, acknowledged; what Kafka does not take makes the run fail, and is read again."""
        try:
            await self.publisher.publish_many(CANDLES, [event for each in series for event in events_of(tick, each)])
        except PublishFailed as failure:
            message = f"the candles were not acknowledged by Kafka: {failure}"
            for each in series:
                each.failure = each.failure or ExchangeFailure(ErrorClass.INTERNAL, message, retryable=False)
                each.batches.clear()


def events_of(tick: TickDue, series: TimeframeRun) -> Iterable[CandlesCollected]:
    """A series' candles as events, in order."""
    for fetched_at, candles in series.batches:
        for start in range(0, len(candles), MAX_CANDLES_PER_EVENT):
            # Not validated again: every row was, and the rest comes out of a tick that was. It would double the cost.
            yield CandlesCollected.model_construct(
                event_id=uuid4(),
                occurred_at=fetched_at,
                run_id=tick.run_id,
                exchange=tick.config.exchange,
                symbol=tick.config.symbol,
                timeframe=series.timeframe,
                fetched_at=fetched_at,
                rows=candles[start : start + MAX_CANDLES_PER_EVENT],
            )


def _deferred(series: list[TimeframeRun]) -> bool:
    """Whether all that failed did so because the exchange was not asked."""
    failures = [each.failure for each in series if each.failure is not None]
    return bool(failures) and all(isinstance(failure, RequestDeferred) for failure in failures)


def _covered(tick: TickDue, series: list[TimeframeRun]) -> datetime | None:
    """Up to where all timeframes were read; None unless all were read to the end, and from where the tick asked.

    A window that begins after what the exchange has reached was asked for by a clock that is ahead: what lies before
    it was not read, and must not count as if it had been.
    """
    read_until = {each.timeframe: each.read_until for each in series if each.read_until is not None}
    if len(read_until) < len(series):
        return None
    covered = datetime.fromtimestamp(covered_until(read_until) / 1000, UTC)
    return None if tick.window_start is not None and tick.window_start > covered else covered
