"""Entry point of the collector: the handler of ticks and range requests.

Delivery: at least once. The offset is committed after the run has ended and Kafka has acknowledged the end. If a stop
or a crash interrupts a run, the next owner of the partition repeats it under the same run id. A tick that a newer one
superseded is finished when Kafka has acknowledged this end of its run.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, assert_never

from aiokafka import ConsumerRecord
from structlog.contextvars import bound_contextvars

from collector.exchange.health_publisher import LANE
from collector.exchange.rate_limiter import WORK_CLASS
from collector.metrics import CollectorMetrics
from collector.run.collector import Collector
from collector.run.in_flight import AlreadyFinished, ConfigBusy, MayStart, Queued, RunsInFlight, SameRunInFlight
from collector.run.outcomes import Outcomes
from collector.run.run import Due, Run, config_id_of, market_of
from contracts.event import Event
from contracts.ranges import RangeDue
from contracts.ticks import TickDue
from contracts.vocabulary import Trigger
from runtime.consumers.work_class import WorkClass
from runtime.failpoints import failpoint
from runtime.logs import log
from runtime.tracing.spans import run_span

_WORK_CLASSES: Final = {Trigger.SCHEDULED: WorkClass.SCHEDULED, Trigger.MANUAL: WorkClass.REQUESTED}


def work_class_of(event: Event) -> WorkClass:
    """The class of the run in its lane. The first run of a config is in the background, like runs of ranges: thousands
    of configs may be created or enabled at once, and their history is not urgent.
    """
    trigger = event.trigger if isinstance(event, TickDue) else Trigger.RANGE
    return _WORK_CLASSES.get(trigger, WorkClass.BACKGROUND)


async def _return_at_once() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class RunHandler:
    """Gives every tick and every range request to one run, once."""

    collector: Collector
    outcomes: Outcomes
    metrics: CollectorMetrics
    runs_in_flight: RunsInFlight = field(default_factory=RunsInFlight)
    wait_for_exchange_states: Callable[[], Awaitable[None]] = _return_at_once
    """Returns when the published states of the exchanges have been read."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def on_due(self, due: Event, record: ConsumerRecord) -> None:
        assert isinstance(due, TickDue | RangeDue)  # noqa: S101 -- the topics have no other events
        exchange, _ = market_of(due)
        await self.wait_for_exchange_states()
        LANE.set(due.lane)
        WORK_CLASS.set(work_class_of(due))
        if due.lane == exchange:
            self.collector.clients.adopt_published_state(exchange)
        with _log_context(due), run_span("run", due.run_id, record.headers, **_facts(due)):
            await self._handle(due)

    async def on_superseded(self, tick: Event, newer: Event) -> None:
        """End the run of a tick that a newer tick superseded while it waited. A duplicate tick does not start a run of
        its own.
        """
        assert isinstance(tick, TickDue)  # noqa: S101 -- range requests are not superseded
        assert isinstance(newer, TickDue)  # noqa: S101
        with _log_context(tick):
            admission = self.runs_in_flight.admit(tick.config.config_id, tick.run_id)
            if tick.run_id == newer.run_id or isinstance(admission, SameRunInFlight | AlreadyFinished):
                self.metrics.duplicate_ticks.inc()
                return
            await self.outcomes.report_superseded(Run(tick, self.now()), newer.run_id)
            self.runs_in_flight.mark_finished(tick.run_id)

    async def _handle(self, due: Due) -> None:
        run_id, config_id, waits = due.run_id, None, False
        if isinstance(due, TickDue):  # a run of a range does not prevent other runs of its config
            config_id, waits = due.config.config_id, due.trigger is Trigger.MANUAL
        admission = self.runs_in_flight.admit(config_id, run_id, waits=waits)
        while isinstance(admission, SameRunInFlight | Queued):
            if isinstance(admission, SameRunInFlight):
                self.metrics.duplicate_ticks.inc()
            else:
                log.info(
                    "Manual run waits until the current run of its config has ended",
                    action="run_waits",
                    behind=str(admission.current_run),
                )
            await admission.ended.wait()
            admission = self.runs_in_flight.admit(config_id, run_id, waits=waits)
        run = Run(due, self.now())
        match admission:
            case MayStart():
                with self.metrics.runs_in_flight.track_inprogress(), self.runs_in_flight.track(config_id, run_id):
                    await self.collector.collect(run)
                failpoint("collector.after_finished")
            case ConfigBusy(current_run):
                await self.outcomes.report_skipped(run, current_run)
                self.runs_in_flight.mark_finished(run_id)
            case AlreadyFinished():
                self.metrics.duplicate_ticks.inc()
                log.info("Ignored a duplicate message: its run has already finished", action="duplicate_tick")
            case _:
                assert_never(admission)


def _facts(due: Due) -> dict[str, str | int]:
    """The attributes of the span of a run."""
    exchange, symbol = market_of(due)
    purpose = due.purpose if isinstance(due, RangeDue) else due.trigger
    return {
        "config_id": config_id_of(due),
        "exchange": exchange,
        "symbol": symbol,
        "lane": due.lane,
        "purpose": purpose,
    }


def _log_context(due: Due) -> AbstractContextManager[None]:
    exchange, symbol = market_of(due)
    return bound_contextvars(run_id=str(due.run_id), config_id=config_id_of(due), exchange=exchange, symbol=symbol)
