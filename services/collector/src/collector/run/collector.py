"""One run: collect every timeframe of a config from its exchange, publish the candles, then report the result."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import zip_longest
from typing import TypeVar
from uuid import uuid4

from collector.candles.page_requests import ReadingLimits
from collector.exchange.clients import ExchangeClients
from collector.exchange.failures import ExchangeFailure, RequestDeferred
from collector.metrics import CollectorMetrics
from collector.run.evidence_run import collect_evidence
from collector.run.outcomes import Outcomes, deadline_failure
from collector.run.retry_policy import RetryPolicy
from collector.run.retrying import Retrier
from collector.run.run import Due, Run, market_of
from collector.run.status_watch import watch_status
from collector.run.tape_run import collect_from_trades
from collector.run.timeframe_run import TimeframeRun, collect_timeframe, rejected_row
from contracts.candles import (
    MAX_CANDLES_PER_EVENT,
    MAX_REJECTED_ROWS_PER_EVENT,
    MAX_SPANS_PER_EVENT,
    NO_ACTIVITY,
    Activity,
    Candle,
    CandlesCollected,
)
from contracts.coverage import Absence, RejectedRow, Span, span_of
from contracts.topics import CANDLES
from contracts.vocabulary import ErrorClass
from runtime.failpoints import failpoint
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.logs import log
from runtime.tracing.spans import annotate, is_tracing, span

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Collector:
    """Executes runs."""

    clients: ExchangeClients
    publisher: EventPublisher
    outcomes: Outcomes
    metrics: CollectorMetrics
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    limits: ReadingLimits = field(default_factory=ReadingLimits)
    _published: dict[tuple[str, str, str], Candle] = field(default_factory=dict, init=False)
    """By exchange, symbol and timeframe of a config: the newest candle that this process has published."""

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
        deadline = asyncio.get_running_loop().time() + run.due.deadline_seconds
        timeframe_runs = [
            TimeframeRun(
                run.symbol,
                timeframe,
                run.progress_of(timeframe),
                published=self._published.get((run.exchange, run.symbol, timeframe)),
                is_range=run.is_range,
            )
            for timeframe in run.timeframes
        ]
        # Collect all timeframes at the same time, so that the latencies of their requests overlap. The rate limiter
        # still delays the requests.
        await asyncio.gather(*(self._collect_traced(run, each, deadline) for each in timeframe_runs))
        await self._publish(run, timeframe_runs)
        return timeframe_runs

    async def _collect_traced(self, run: Run, timeframe_run: TimeframeRun, deadline: float) -> None:
        with span("timeframe", exchange=run.exchange, symbol=run.symbol, timeframe=timeframe_run.timeframe):
            await self._collect_one(run, timeframe_run, deadline)
            if is_tracing():
                result = timeframe_run.result()
                annotate(pages=result.pages, candles=result.candles, error_class=result.error_class)

    async def _collect_one(self, run: Run, timeframe_run: TimeframeRun, deadline: float) -> None:
        """Collect one timeframe. Any failure is stored in `timeframe_run` and does not stop the other timeframes."""
        retrier = Retrier(run.exchange, self.policy, deadline, self.metrics, waits_for_exchange=not run.is_range)
        try:
            client = self.clients.get(run.exchange)
            async with asyncio.timeout_at(deadline):
                if run.is_from_trades:
                    await collect_from_trades(client, timeframe_run, retrier, self.limits)
                elif run.is_for_evidence:
                    await collect_evidence(client, timeframe_run, retrier, run.due.run_id, run.verified_from)
                else:
                    await collect_timeframe(client, timeframe_run, retrier, self.limits, salt=run.due.run_id.int)
            if not run.is_range:
                await watch_status(client, timeframe_run, deadline)
            is_silent = not timeframe_run.answers and not run.is_range  # a range may begin before the market existed
            if remark := await client.remark(timeframe_run.symbol, deadline if is_silent else None):
                self.metrics.inactive_markets.labels(run.exchange).inc()
                timeframe_run.notes.append(remark)
        except ExchangeFailure as failure:
            timeframe_run.failure = failure
        except TimeoutError:
            timeframe_run.failure = deadline_failure(run.due.deadline_seconds, retrier.last_failure)
        except Exception as error:  # noqa: BLE001 -- a defect must not stop the other timeframes
            log.exception(
                "Collecting a timeframe crashed because of a defect: report it with this stack trace",
                action="collect_crashed",
                timeframe=timeframe_run.timeframe,
            )
            message = f"a defect in the collector: {error!r:.300}"
            timeframe_run.failure = ExchangeFailure(ErrorClass.INTERNAL, message, retryable=False)

    async def _publish(self, run: Run, timeframe_runs: list[TimeframeRun]) -> None:
        """Publish all answers and wait for the acknowledgements. If Kafka does not acknowledge them, all answers of the
        run are dropped.
        """
        try:
            await self.publisher.publish_many(
                CANDLES, [event for each in timeframe_runs for event in candle_events(run.due, each)]
            )
        except PublishFailed as failure:
            message = f"Kafka did not acknowledge the candles: {failure}"
            for each in timeframe_runs:
                each.failure = each.failure or ExchangeFailure(ErrorClass.INTERNAL, message, retryable=False)
                each.drop()
        for each in timeframe_runs:
            series, newest = (run.exchange, run.symbol, each.timeframe), each.newest
            known = self._published.get(series)
            if newest is not None and not run.is_range and (known is None or newest.open_ms >= known.open_ms):
                self._published[series] = newest


def candle_events(due: Due, timeframe_run: TimeframeRun) -> Iterator[CandlesCollected]:
    """The answers of one timeframe as events, in order, then the spans that the run could not verify.

    No event is larger than a Kafka message. A span is in the same event as the last rows of its answer, or in a later
    one. So the ledger never vouches for candles that are not stored.
    """
    event = partial(_event, due, timeframe_run)
    for answer in timeframe_run.answers:
        *full, last = chunks(answer.candles, MAX_CANDLES_PER_EVENT) or [()]
        for rows in full:
            yield _with_activity(event(answer.fetched_at, rows=rows), answer.activity)
        verified = chunks(tuple(map(span_of, answer.proof.verified)), MAX_SPANS_PER_EVENT)
        rejected = chunks(tuple(map(rejected_row, answer.proof.rejected)), MAX_REJECTED_ROWS_PER_EVENT)
        for rows, spans, bad_rows in zip_longest([last], verified, rejected, fillvalue=()):
            verdict = event(answer.fetched_at, rows=rows, verified=spans, rejected=bad_rows)
            yield _with_activity(verdict, answer.activity)
    checked_at = timeframe_run.checked_at or due.occurred_at
    read_at = timeframe_run.answers[-1].fetched_at if timeframe_run.answers else checked_at
    for absences in chunks(tuple(timeframe_run.absences()), MAX_SPANS_PER_EVENT):
        yield event(read_at, absences=absences)


def chunks(values: tuple[T, ...], size: int) -> list[tuple[T, ...]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def _event(
    due: Due,
    timeframe_run: TimeframeRun,
    fetched_at: datetime,
    *,
    rows: tuple[Candle, ...] = (),
    verified: tuple[Span, ...] = (),
    absences: tuple[Absence, ...] = (),
    rejected: tuple[RejectedRow, ...] = (),
) -> CandlesCollected:
    exchange, symbol = market_of(due)
    # Skip the validation, which would double the cost: the rows and the tick are validated already.
    return CandlesCollected.model_construct(
        event_id=uuid4(),
        occurred_at=fetched_at,
        run_id=due.run_id,
        exchange=exchange,
        symbol=symbol,
        timeframe=timeframe_run.timeframe,
        fetched_at=fetched_at,
        source=timeframe_run.source,
        rows=rows,
        verified=verified,
        absences=absences,
        rejected=rejected,
    )


def _with_activity(event: CandlesCollected, activity: Mapping[int, Activity]) -> CandlesCollected:
    """The event with the trades and the quote volumes of its rows. If no value is known, the list stays empty."""
    if not activity:
        return event
    known = [activity.get(row.open_ms, NO_ACTIVITY) for row in event.rows]
    values = {
        "trades": tuple(each.trades for each in known),
        "quote_volumes": tuple(each.quote_volume for each in known),
    }
    return event.model_copy(
        update={name: column for name, column in values.items() if any(each is not None for each in column)}
    )


def _all_deferred(timeframe_runs: list[TimeframeRun]) -> bool:
    """Whether any timeframe failed, and every failure is a deferred request."""
    failures = [each.failure for each in timeframe_runs if each.failure is not None]
    return bool(failures) and all(isinstance(failure, RequestDeferred) for failure in failures)
