"""Reports the start and the end of a run as an event, in the log and in the metrics. No other module does this."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

from collector.exchange.failures import ExchangeFailure
from collector.metrics import CollectorMetrics
from collector.run.run import Run
from contracts.bounds import MAX_RUN_DURATION, shortened
from contracts.runs import RunFinished, RunStarted, TimeframeResult
from contracts.topics import RUN_EVENTS
from contracts.vocabulary import ErrorClass, RunStatus, Trigger
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.logs import log
from runtime.tracing.spans import annotate
from runtime.waiting import Backoff

_MAX_PUBLISH_WAIT_SECONDS: Final = 15.0

FinalStatus = Literal[RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.SKIPPED]


class Outcomes:
    """Reports starts and ends of runs. Delivery: at least once; each process reports one end per run."""

    def __init__(
        self,
        publisher: EventPublisher,
        metrics: CollectorMetrics,
        collector: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`collector` names this instance in the run log."""
        self._publisher, self._metrics, self._collector, self._monotonic = publisher, metrics, collector, monotonic

    async def report_started(self, run: Run) -> None:
        """Does not raise if Kafka is unavailable: the event of the run's end contains the same facts."""
        lateness = max(0.0, (run.started_at - run.scheduled_for).total_seconds())
        if run.is_range:
            self._metrics.range_wait.labels(run.exchange).observe(lateness)
        else:
            self._metrics.tick_lateness.labels(run.trigger).observe(lateness)
        event = RunStarted(
            occurred_at=run.started_at,
            run_id=run.due.run_id,
            config_id=run.config_id,
            exchange=run.exchange,
            symbol=run.symbol,
            timeframes=run.timeframes,
            job_type=run.job_type,
            trigger=run.trigger,
            scheduled_for=run.scheduled_for,
            started_at=run.started_at,
            deadline_at=run.deadline_at,
            collector=self._collector,
        )
        try:
            await self._publisher.publish(RUN_EVENTS, event)
        except PublishFailed as failure:
            log.warning(
                "The start of a run could not be published; the run continues",
                action="run_start_publish_failed",
                error=str(failure),
            )

    async def report_finished(self, run: Run, results: tuple[TimeframeResult, ...], *, deferred: bool = False) -> None:
        """Report a run that was executed. It succeeded if every timeframe did.

        `deferred`: timeframes failed only because the exchange's circuit is open. This is logged at debug level,
        because the change of the circuit was logged once for all runs.
        """
        error_class, message = run_error(results)
        if error_class is None:
            await self._end(run, RunStatus.SUCCESS, None, None, results)
        else:
            if deferred:
                self._metrics.runs_deferred.labels(run.exchange, error_class).inc()
            await self._end(run, RunStatus.FAILED, error_class, message, results, log_as_debug=deferred)

    async def report_crashed(self, run: Run, error: Exception) -> None:
        """Report a run that a defect of the collector ended. Call it in the `except` block of the exception."""
        log.exception("Run crashed because of a defect: report it with this stack trace", action="run_crashed")
        await self._end(run, RunStatus.FAILED, ErrorClass.INTERNAL, f"a defect in the collector: {error!r:.300}", ())

    async def report_skipped(self, run: Run, current_run: UUID) -> None:
        """Report a tick that is skipped, because `current_run` of the same config is in progress."""
        message = f"run {current_run} of the same config was still in progress"
        await self._end(run, RunStatus.SKIPPED, ErrorClass.ALREADY_RUNNING, message, ())

    async def report_superseded(self, run: Run, newer_run: UUID) -> None:
        """Report a tick that waited for its lane until the tick of `newer_run` took its place. This is logged at debug
        level, because every slot may end like this while an exchange does not respond.
        """
        message = f"the run waited for its lane until run {newer_run} of the same config took its place"
        await self._end(run, RunStatus.SKIPPED, ErrorClass.SUPERSEDED, message, (), log_as_debug=True)

    async def _end(
        self,
        run: Run,
        status: FinalStatus,
        error_class: ErrorClass | None,
        message: str | None,
        results: tuple[TimeframeResult, ...],
        *,
        log_as_debug: bool = False,
    ) -> None:
        # Measured with the monotonic clock, so that a step of the wall clock does not change the duration.
        duration = timedelta(seconds=self._monotonic() - run.started_monotonic)
        finished_at = run.started_at + min(duration, MAX_RUN_DURATION)
        event = RunFinished(
            occurred_at=finished_at,
            run_id=run.due.run_id,
            config_id=run.config_id,
            exchange=run.exchange,
            symbol=run.symbol,
            timeframes=run.timeframes,
            job_type=run.job_type,
            trigger=run.trigger,
            scheduled_for=run.scheduled_for,
            started_at=run.started_at,
            finished_at=finished_at,
            status=status,
            records_collected=sum(result.candles for result in results),
            error_class=error_class,
            error_message=None if message is None else shortened(message),
            results=results,
        )
        await self._publish_until_acknowledged(event)
        annotate(status=status, candles=event.records_collected, error_class=error_class)
        self._update_metrics(event)
        write_log = log.debug if log_as_debug else log.info if status is RunStatus.SUCCESS else log.warning
        write_log(
            f"Run finished: {status}",
            action="run_finished",
            status=status,
            candles=event.records_collected,
            seconds=round((finished_at - run.started_at).total_seconds(), 3),
            error_class=error_class,
            error=message,
        )

    async def _publish_until_acknowledged(self, event: RunFinished) -> None:
        """Retry until Kafka acknowledges the end. Raising an error instead would repeat the whole run."""
        backoff = Backoff(0.5, _MAX_PUBLISH_WAIT_SECONDS)
        while True:
            try:
                return await self._publisher.publish(RUN_EVENTS, event)
            except PublishFailed as failure:
                log.warning(
                    "The end of a run could not be published and will be retried",
                    action="run_end_publish_failed",
                    error=str(failure),
                )
            await backoff.sleep()

    def _update_metrics(self, event: RunFinished) -> None:
        metrics, exchange = self._metrics, event.exchange
        metrics.runs.labels(exchange, event.status, event.trigger).inc()
        if event.error_class is not None:
            metrics.run_errors.labels(exchange, event.error_class).inc()
        if event.status is not RunStatus.SKIPPED and event.trigger is not Trigger.RANGE:
            metrics.run_duration.labels(exchange).observe((event.finished_at - event.started_at).total_seconds())
        for result in event.results:
            metrics.pages.labels(exchange).inc(result.pages)
            metrics.candles.labels(exchange, result.timeframe).inc(result.candles)
            if result.rejected_count:
                metrics.rejected_rows.labels(exchange, result.timeframe).inc(result.rejected_count)


def run_error(results: tuple[TimeframeResult, ...]) -> tuple[ErrorClass | None, str | None]:
    """The error class and message of a run. (None, None) if no timeframe failed.

    The error class comes from the first failed timeframe. The message groups the timeframes that have the same message.
    """
    failed = [result for result in results if result.error_class is not None]
    if not failed:
        return None, None
    if len(results) == 1:
        return failed[0].error_class, failed[0].error_message
    timeframes_of: dict[str | None, list[str]] = {}
    for result in failed:
        timeframes_of.setdefault(result.error_message, []).append(result.timeframe)
    details = "; ".join(f"{', '.join(timeframes)}: {message}" for message, timeframes in timeframes_of.items())
    return failed[0].error_class, f"{len(failed)} of {len(results)} timeframes failed. {details}"


def deadline_failure(seconds: int, last: ExchangeFailure | None) -> ExchangeFailure:
    """The failure of a timeframe that was not read to its end before the run's deadline."""
    cause = f"; the last failure was: {last.message}" if last is not None else ""
    message = f"the run exceeded its deadline of {seconds} s{cause}"
    return ExchangeFailure(ErrorClass.DEADLINE_EXCEEDED, message, retryable=False)
