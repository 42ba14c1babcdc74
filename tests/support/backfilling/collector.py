"""A collector that answers `RangeDue` as a test wants, and writes candles and spans as candle-writer does."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from candle_writer.series import SeriesIds
from candle_writer.write import write_candles
from contracts.candles import CandlesCollected
from contracts.coverage import Absence, AbsenceClass, Span
from contracts.ranges import RangeDue
from contracts.runs import RunFinished, RunStarted, TimeframeResult
from contracts.topics import RANGE_REQUESTS, RUN_EVENTS
from contracts.vocabulary import ErrorClass, RunStatus, Trigger
from runtime.kafka.publisher import EventPublisher
from runtime.settings import KafkaSettings
from support.kafka import Recorder, recording
from support.writers import publishing


@dataclass(frozen=True)
class Answer:
    """The content of an exchange's answers about a span."""

    verified: tuple[Span, ...] = ()
    absences: tuple[Absence, ...] = ()
    error: ErrorClass | None = None
    silent: bool = False
    """The collector dies: it publishes no end."""


def everything(request: RangeDue) -> Answer:
    """The whole span is verified."""
    return Answer((request.span,))


def unproven(request: RangeDue) -> Absence:
    return Absence(
        start=request.span.start,
        end=request.span.end,
        absence_class=AbsenceClass.UNKNOWN,
        evidence="the answer was empty",
    )


@dataclass
class ScriptedCollector:
    """Answers each request once it is published, also a repeated one."""

    engine: AsyncEngine
    publisher: EventPublisher
    recorder: Recorder
    script: Callable[[RangeDue], Answer]
    seconds: float = 0.0
    """The duration of a run."""
    running: set[UUID] = field(default_factory=set)
    most_running: int = 0

    @property
    def requests(self) -> list[RangeDue]:
        """All requests so far, repeated ones too."""
        return self.recorder.events(RangeDue)

    def repeated_runs(self) -> dict[UUID, int]:
        """The runs that were requested more than once."""
        counts = Counter(each.run_id for each in self.requests)
        return {run: count for run, count in counts.items() if count > 1}

    async def work(self) -> None:
        """Answer requests until it is cancelled."""
        answered = 0
        async with asyncio.TaskGroup() as runs:
            while True:
                for request in self.requests[answered:]:
                    answered += 1
                    runs.create_task(self._answer(request))
                await asyncio.sleep(0.01)

    async def _answer(self, request: RangeDue) -> None:
        self.running.add(request.run_id)
        self.most_running = max(self.most_running, len(self.running))
        answer = self.script(request)
        started_at = datetime.now(UTC)
        await self.publisher.publish(RUN_EVENTS, run_started(request, started_at))
        if answer.silent:
            self.running.discard(request.run_id)
            return
        await asyncio.sleep(self.seconds)
        if answer.verified or answer.absences:
            await write_candles(self.engine, SeriesIds(self.engine), [candles_of(request, answer)])
        self.running.discard(request.run_id)
        await self.publisher.publish(RUN_EVENTS, run_finished(request, answer, started_at))


def run_started(request: RangeDue, started_at: datetime) -> RunStarted:
    return RunStarted(
        occurred_at=started_at,
        run_id=request.run_id,
        config_id=request.config_id,
        exchange=request.exchange,
        symbol=request.symbol,
        timeframes=(request.timeframe,),
        job_type=request.purpose.job_type,
        trigger=Trigger.RANGE,
        scheduled_for=request.requested_at,
        started_at=started_at,
        deadline_at=started_at + timedelta(seconds=request.deadline_seconds),
        collector="scripted",
    )


def run_finished(request: RangeDue, answer: Answer, started_at: datetime) -> RunFinished:
    result = TimeframeResult(
        timeframe=request.timeframe,
        candles=0,
        pages=1,
        error_class=answer.error,
        verified=answer.verified,
    )
    now = datetime.now(UTC)
    return RunFinished(
        occurred_at=now,
        run_id=request.run_id,
        config_id=request.config_id,
        exchange=request.exchange,
        symbol=request.symbol,
        timeframes=(request.timeframe,),
        job_type=request.purpose.job_type,
        trigger=Trigger.RANGE,
        scheduled_for=request.requested_at,
        started_at=started_at,
        finished_at=max(now, started_at),
        status=RunStatus.SUCCESS if answer.error is None else RunStatus.FAILED,
        records_collected=0,
        error_class=answer.error,
        error_message=None if answer.error is None else f"the exchange says {answer.error.value}",
        results=(result,),
    )


def candles_of(request: RangeDue, answer: Answer) -> CandlesCollected:
    now = datetime.now(UTC)
    return CandlesCollected(
        occurred_at=now,
        run_id=request.run_id,
        exchange=request.exchange,
        symbol=request.symbol,
        timeframe=request.timeframe,
        fetched_at=now,
        verified=answer.verified,
        absences=answer.absences,
    )


@contextlib.asynccontextmanager
async def collecting(
    kafka: KafkaSettings, engine: AsyncEngine, script: Callable[[RangeDue], Answer] = everything, seconds: float = 0.0
) -> AsyncIterator[ScriptedCollector]:
    """A collector that works until the end of the block."""
    async with publishing(kafka) as publisher, recording(kafka, RANGE_REQUESTS) as recorder:
        collector = ScriptedCollector(engine, publisher, recorder, script, seconds)
        task = asyncio.create_task(collector.work())
        try:
            yield collector
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
