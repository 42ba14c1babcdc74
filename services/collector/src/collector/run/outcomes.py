"""The one place that says what became of a tick: the event, the log line and the metrics come from here together."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from collector.exchange.failures import ExchangeFailure
from collector.metrics import CollectorMetrics
from contracts.runs import RunFinished, RunStarted, TimeframeResult
from contracts.ticks import TickDue
from contracts.topics import RUN_EVENTS
from contracts.vocabulary import ErrorClass, RunStatus
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.logs import log
from runtime.waiting import Backoff

_LONGEST_PAUSE_SECONDS: Final = 15.0

Ending = Literal[RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.SKIPPED]


@dataclass(frozen=True)
class Run:
    """A tick that was taken up."""

    tick: TickDue
    started_at: datetime
    started_monotonic: float = field(default_factory=time.monotonic)
    """The same moment in seconds of the monotonic clock."""

    @property
    def deadline_at(self) -> datetime:
        return self.started_at + timedelta(seconds=self.tick.deadline_seconds)


class Outcomes:
    """Announces beginnings and endings of runs. Delivery: at least once; a run has one ending per process."""

    def __init__(
        self,
        publisher: EventPublisher,
        metrics: CollectorMetrics,
        collector: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`collector` names this instance in the run log."""
        self._publisher, self._metrics, self._collector, self._monotonic = publisher, metrics, collector, monotonic

    async def started(self, run: Run) -> None:
        """Never raises for Kafka's sake: the ending says everything again."""
        tick, config = run.tick, run.tick.config
        lateness = (run.started_at - tick.scheduled_for).total_seconds()
        self._metrics.tick_lateness.labels(tick.trigger).observe(max(0.0, lateness))
        event = RunStarted(
            occurred_at=run.started_at,
            run_id=tick.run_id,
            config_id=config.config_id,
            exchange=config.exchange,
            symbol=config.symbol,
            timeframes=config.timeframes,
            trigger=tick.trigger,
            scheduled_for=tick.scheduled_for,
            started_at=run.started_at,
            deadline_at=run.deadline_at,
            collector=self._collector,
        )
        try:
            await self._publisher.publish(RUN_EVENTS, event)
        except PublishFailed as failure:
            log.warning("A run's start could not be announced", action="run_start_publish_failed", error=str(failure))

    async def finished(
        self, run: Run, results: tuple[TimeframeResult, ...], covered_until: datetime | None, *, deferred: bool = False
    ) -> None:
        """A run that was carried out. It succeeded if every timeframe did; `covered_until` counts only then.

        `deferred`: what failed was not asked for, its exchange not being well. That was said aloud when it began, not
        once more per run.
        """
        error_class, message = verdict(results)
        if error_class is None:
            await self._end(run, RunStatus.SUCCESS, None, None, results, covered_until)
        else:
            if deferred:
                self._metrics.runs_deferred.labels(run.tick.config.exchange, error_class).inc()
            await self._end(run, RunStatus.FAILED, error_class, message, results, quietly=deferred)

    async def broke(self, run: Run, error: Exception) -> None:
        """A run that a defect of ours ended. Call it where the exception is being handled."""
        log.exception("A run broke, this is a defect", action="run_crashed")
        await self._end(run, RunStatus.FAILED, ErrorClass.INTERNAL, f"a defect in the collector: {error!r:.300}", ())

    async def skipped(self, run: Run, because_of: UUID) -> None:
        """A tick whose config was still being collected."""
        message = f"run {because_of} of the same config was still going on"
        await self._end(run, RunStatus.SKIPPED, ErrorClass.ALREADY_RUNNING, message, ())

    async def _end(
        self,
        run: Run,
        status: Ending,
        error_class: ErrorClass | None,
        message: str | None,
        results: tuple[TimeframeResult, ...],
        covered_until: datetime | None = None,
        *,
        quietly: bool = False,
    ) -> None:
        tick, config = run.tick, run.tick.config
        # A duration of the monotonic clock: a step of the wall clock must not show as one in the run log.
        finished_at = run.started_at + timedelta(seconds=self._monotonic() - run.started_monotonic)
        event = RunFinished(
            occurred_at=finished_at,
            run_id=tick.run_id,
            config_id=config.config_id,
            exchange=config.exchange,
            symbol=config.symbol,
            timeframes=config.timeframes,
            trigger=tick.trigger,
            scheduled_for=tick.scheduled_for,
            started_at=run.started_at,
            finished_at=finished_at,
            status=status,
            records_collected=sum(result.candles for result in results),
            error_class=error_class,
            error_message=message,
            results=results,
            covered_until=covered_until,
        )
        await self._insist_on_announcing(event)
        self._count(event)
        say = log.debug if quietly else log.info if status is RunStatus.SUCCESS else log.warning
        say(
            f"Run finished: {status}",
            action="run_finished",
            status=status,
            candles=event.records_collected,
            seconds=round((finished_at - run.started_at).total_seconds(), 3),
            error_class=error_class,
            error=message,
        )

    async def _insist_on_announcing(self, event: RunFinished) -> None:
        """The work is done: while Kafka does not take the news, wait for it rather than do the work again."""
        backoff = Backoff(0.5, _LONGEST_PAUSE_SECONDS)
        while True:
            try:
                return await self._publisher.publish(RUN_EVENTS, event)
            except PublishFailed as failure:
                log.warning("A run's end could not be announced", action="run_end_publish_failed", error=str(failure))
            await backoff.sleep()

    def _count(self, event: RunFinished) -> None:
        metrics, exchange = self._metrics, event.exchange
        metrics.runs.labels(exchange, event.status, event.trigger).inc()
        if event.error_class is not None:
            metrics.run_errors.labels(exchange, event.error_class).inc()
        if event.status is not RunStatus.SKIPPED:
            metrics.run_duration.labels(exchange).observe((event.finished_at - event.started_at).total_seconds())
        for result in event.results:
            metrics.pages.labels(exchange).inc(result.pages)
            metrics.candles.labels(exchange, result.timeframe).inc(result.candles)


def verdict(results: tuple[TimeframeResult, ...]) -> tuple[ErrorClass | None, str | None]:
    """A run's error class and message: none if no timeframe failed, else those of the first that did."""
    failed = [result for result in results if result.error_class is not None]
    if not failed:
        return None, None
    if len(results) == 1:
        return failed[0].error_class, failed[0].error_message
    messages = {result.error_message: [] for result in failed}  # type: dict[str | None, list[str]]
    for result in failed:
        messages[result.error_message].append(result.timeframe)
    told = "; ".join(f"{', '.join(timeframes)}: {message}" for message, timeframes in messages.items())
    return failed[0].error_class, f"{len(failed)} of {len(results)} timeframes failed. {told}"


def deadline_failure(seconds: int, last: ExchangeFailure | None) -> ExchangeFailure:
    """The run's time was over before the timeframe was read to its end."""
    before = f"; the last trouble was: {last.message}" if last is not None else ""
    return ExchangeFailure(ErrorClass.DEADLINE_EXCEEDED, f"the run's {seconds} s were over{before}", retryable=False)
