"""What wakes a collector: a tick.

Delivery: at least once. The tick's offset is committed when its run has ended and the ending is acknowledged; a run
that is cut off by a stop or a crash is carried out again by the partition's next owner, under the same run id.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import assert_never

from aiokafka import ConsumerRecord
from structlog.contextvars import bound_contextvars

from collector.metrics import CollectorMetrics
from collector.run.collector import Collector
from collector.run.in_flight import AlreadyFinished, ConfigBusy, MayStart, Queued, RunsInFlight, SameRunInFlight
from collector.run.outcomes import Outcomes, Run
from contracts.event import Event
from contracts.ticks import TickDue
from contracts.vocabulary import Trigger
from runtime.failpoints import failpoint
from runtime.logs import log


def is_manual(tick: Event) -> bool:
    """Whether somebody waits for this run: such a tick overtakes the scheduled ones that wait in its lane."""
    return isinstance(tick, TickDue) and tick.trigger is Trigger.MANUAL


async def _at_once() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class TickHandler:
    """Hands every tick to one run, once."""

    collector: Collector
    outcomes: Outcomes
    metrics: CollectorMetrics
    running: RunsInFlight = field(default_factory=RunsInFlight)
    this_instance: str = ""
    health_known: Callable[[], Awaitable[None]] = _at_once
    """Returns when the published states of the exchanges have been read."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def on_tick(self, tick: Event, _record: ConsumerRecord) -> None:
        assert isinstance(tick, TickDue)  # noqa: S101 -- the topic holds nothing else
        config = tick.config
        await self.health_known()
        if tick.lane == config.exchange:
            self.collector.clients.follow(config.exchange, self.this_instance)
        with bound_contextvars(
            run_id=str(tick.run_id), config_id=config.config_id, exchange=config.exchange, symbol=config.symbol
        ):
            await self._answer(tick)

    async def _answer(self, tick: TickDue) -> None:
        config_id, run_id = tick.config.config_id, tick.run_id
        admission = self.running.admit(config_id, run_id, waits=is_manual(tick))
        while isinstance(admission, SameRunInFlight | Queued):
            if isinstance(admission, SameRunInFlight):
                self.metrics.duplicate_ticks.inc()
            else:
                log.info("Manual run waits for another run", action="run_waits", behind=str(admission.behind))
            await admission.ended.wait()
            admission = self.running.admit(config_id, run_id, waits=is_manual(tick))
        run = Run(tick, self.now())
        match admission:
            case MayStart():
                with self.metrics.runs_in_flight.track_inprogress(), self.running.holding(config_id, run_id):
                    await self.collector.collect(run)
                failpoint("collector.after_finished")
            case ConfigBusy(other):
                await self.outcomes.skipped(run, other)
                self.running.remember(run_id)
            case AlreadyFinished():
                self.metrics.duplicate_ticks.inc()
                log.info("A tick came again, its run is finished", action="duplicate_tick")
            case _:
                assert_never(admission)
