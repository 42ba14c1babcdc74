"""One run: collect every timeframe of a config from its exchange, publish the candles, then report the result."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

from collector.candles.page_requests import ReadingLimits
from collector.exchange.clients import ExchangeClients
from collector.exchange.failures import ExchangeFailure, RequestDeferred
from collector.metrics import CollectorMetrics
from collector.run.outcomes import Outcomes, Run, deadline_failure
from collector.run.retry_policy import RetryPolicy
from collector.run.retrying import Retrier
from collector.run.timeframe_run import TimeframeRun, collect_timeframe, rejected_row
from contracts.candles import MAX_CANDLES_PER_EVENT, CandlesCollected
from contracts.coverage import span_of
from contracts.ticks import TickDue
from contracts.topics import CANDLES
from contracts.vocabulary import ErrorClass
from runtime.failpoints import failpoint
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.logs import log


@dataclass(frozen=True, kw_only=True)
class Collector:
    """Executes runs."""

    clients: ExchangeClients
    publisher: EventPublisher
    outcomes: Outcomes
    metrics: CollectorMetrics
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    limits: ReadingLimits = field(default_factory=ReadingLimits)

    async def collect(self, run: Run) -> None:
        """Execute a run and report its end in every case, except when the call is cancelled."""
        start_report = asyncio.create_task(self.outcomes.report_started(run))
        try:
            try:
                timeframe_runs = await self._collect_all(run)
            finally:
                await start_report
        except Exception as error:  # noqa: BLE001 -- a defect must end its run, not the consumer
            await self.outcomes.report_crashed(run, error)
        else:
            failpoint("collector.after_candles")
            await self.outcomes.report_finished(
                run,
                tuple(each.result() for each in timeframe_runs),
                deferred=_all_deferred(timeframe_runs),
            )

    async def _collect_all(self, run: Run) -> list[TimeframeRun]:
        tick, loop = run.tick, asyncio.get_running_loop()
        deadline = loop.time() + tick.deadline_seconds
        timeframe_runs = [
            TimeframeRun(tick.config.symbol, timeframe, tick.progress_of(timeframe))
            for timeframe in tick.config.timeframes
        ]
        # All at the same time: the rate limiter delays the requests, and their latencies overlap.
        await asyncio.gather(*(self._collect_one(tick, each, deadline) for each in timeframe_runs))
        await self._publish(tick, timeframe_runs)
        return timeframe_runs

    async def _collect_one(self, tick: TickDue, timeframe_run: TimeframeRun, deadline: float) -> None:
        """Collect one timeframe. Any failure is stored in `timeframe_run` and does not stop the other timeframes."""
        retrier = Retrier(tick.config.exchange, self.policy, deadline, self.metrics)
        try:
            client = self.clients.get(tick.config.exchange)
            async with asyncio.timeout_at(deadline):
                await collect_timeframe(client, timeframe_run, retrier, self.limits, salt=tick.run_id.int)
            if remark := await client.remark(timeframe_run.symbol, None if timeframe_run.answers else deadline):
                self.metrics.inactive_markets.labels(tick.config.exchange).inc()
                timeframe_run.notes.append(remark)
        except ExchangeFailure as failure:
            timeframe_run.failure = failure
        except TimeoutError:
            timeframe_run.failure = deadline_failure(tick.deadline_seconds, retrier.last_failure)
        except Exception as error:  # noqa: BLE001 -- a defect must not stop the other timeframes
            log.exception(
                "Collecting a timeframe crashed because of a defect: report it with this stack trace",
                action="collect_crashed",
                timeframe=timeframe_run.timeframe,
            )
            message = f"a defect in the collector: {error!r:.300}"
            timeframe_run.failure = ExchangeFailure(ErrorClass.INTERNAL, message, retryable=False)

    async def _publish(self, tick: TickDue, timeframe_runs: list[TimeframeRun]) -> None:
        """Publish all answers and wait for the acknowledgements. Without the acknowledgements, no answer of the run
        counts.
        """
        try:
            await self.publisher.publish_many(
                CANDLES, [event for each in timeframe_runs for event in candle_events(tick, each)]
            )
        except PublishFailed as failure:
            message = f"Kafka did not acknowledge the candles: {failure}"
            for each in timeframe_runs:
                each.failure = each.failure or ExchangeFailure(ErrorClass.INTERNAL, message, retryable=False)
                each.drop()


def candle_events(tick: TickDue, timeframe_run: TimeframeRun) -> Iterable[CandlesCollected]:
    """The answers of one timeframe as events, in order. The last event also contains the spans that the run could not
    verify.
    """
    for answer in timeframe_run.answers:
        for start in range(0, max(1, len(answer.candles)), MAX_CANDLES_PER_EVENT):
            is_first = start == 0
            yield _event(
                tick,
                timeframe_run.timeframe,
                answer.fetched_at,
                rows=answer.candles[start : start + MAX_CANDLES_PER_EVENT],
                verified=tuple(map(span_of, answer.proof.verified)) if is_first else (),
                rejected=tuple(map(rejected_row, answer.proof.rejected)) if is_first else (),
            )
    if absences := timeframe_run.absences():
        read_at = timeframe_run.answers[-1].fetched_at if timeframe_run.answers else tick.occurred_at
        yield _event(tick, timeframe_run.timeframe, read_at, absences=tuple(absences))


def _event(tick: TickDue, timeframe: str, fetched_at: datetime, **content: Any) -> CandlesCollected:
    # Skip the validation, which would double the cost: the rows and the tick are validated already.
    defaults: dict[str, Any] = {"rows": (), "verified": (), "absences": (), "rejected": ()}
    return CandlesCollected.model_construct(
        event_id=uuid4(),
        occurred_at=fetched_at,
        run_id=tick.run_id,
        exchange=tick.config.exchange,
        symbol=tick.config.symbol,
        timeframe=timeframe,
        fetched_at=fetched_at,
        **defaults | content,
    )


def _all_deferred(timeframe_runs: list[TimeframeRun]) -> bool:
    """Whether timeframes failed, and all of them only because the request was deferred."""
    failures = [each.failure for each in timeframe_runs if each.failure is not None]
    return bool(failures) and all(isinstance(failure, RequestDeferred) for failure in failures)
