"""Runs that somebody asks for: a tick of its own, to the outbox."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

from admin_api.audit import Deed
from admin_api.config_rows import snapshot
from admin_api.outbox import announcement
from admin_api.schemas import Config, TriggerAccepted
from admin_api.work import Work
from contracts.ticks import TickDue, lane_of
from contracts.topics import TICKS
from contracts.vocabulary import Trigger


@dataclass(frozen=True)
class ManualRuns:
    """`lanes` is the number of lanes by exchange id, one where it is not named."""

    lanes: Mapping[str, int]
    run_deadline_seconds: int

    def ask(self, work: Work, config: Config) -> TriggerAccepted:
        """Collect at once, also for a disabled config."""
        tick = TickDue(
            occurred_at=work.now,
            run_id=uuid4(),
            config=snapshot(config),
            trigger=Trigger.MANUAL,
            scheduled_for=work.now,
            window_start=None,
            deadline_seconds=self.run_deadline_seconds,
            lane=lane_of(config.exchange, config.id, self.lanes),
        )
        run_id = str(tick.run_id)
        work.announce(announcement(TICKS, tick))
        work.record(
            Deed(action="config.trigger", object_type="config", object_id=str(config.id), after={"run_id": run_id})
        )
        work.say("Run asked for", action="run_triggered", config_id=config.id, run_id=run_id)
        return TriggerAccepted(run_id=tick.run_id, config_id=config.id, job_id=config.job_id, scheduled_for=work.now)
