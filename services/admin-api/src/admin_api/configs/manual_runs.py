"""Accepts triggers of manual runs and releases their ticks to the outbox.

`manual_run_queue` decides when a trigger joins a held run and when a run is released.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.configs.manual_run_queue import INITIAL_RUN_WITHIN, Held, delete_ended, held_runs, hold, release, resend
from admin_api.configs.repository import snapshot
from admin_api.configs.schemas import Config, TriggerAccepted
from admin_api.writes.audit_log import AuditRecord
from admin_api.writes.outbox import announcement, append
from admin_api.writes.transactions import DATABASE_PROBLEMS, transaction
from admin_api.writes.unit_of_work import UnitOfWork
from contracts.ticks import TickDue, initial_run_id, lane_of
from contracts.topics import TICKS
from contracts.vocabulary import Trigger
from runtime.lifecycle.background import Background
from runtime.logs import log

_ROUND_INTERVAL_SECONDS: Final = 0.5


@dataclass(frozen=True)
class ManualRuns:
    """Accepts triggers. `lanes` is the number of lanes by exchange id; exchanges that are not in it have one lane."""

    lanes: Mapping[str, int]
    run_deadline_seconds: int

    @property
    def max_hold(self) -> timedelta:
        """The longest time for which a run is held. It is the longest time that a run may take if it first waits for
        another run.
        """
        return timedelta(seconds=2 * self.run_deadline_seconds)

    async def trigger(self, unit: UnitOfWork, configs: Sequence[Config]) -> list[TriggerAccepted]:
        """Accept a trigger of each config, including disabled configs. Returns one result per config, in order.

        If the config has a held run, the trigger joins it: the result has its run_id, and the run collects the config
        as it is now. The caller must hold the locks of the configs' rows, so that the second of two concurrent
        triggers sees the run of the first. Raises `TooManyRequests`.
        """
        unit.cost.count_runs(len(configs))
        config_ids = [config.id for config in configs]
        held = await held_runs(unit.connection, config_ids)
        runs = [(config, held.get(config.id) or Held(uuid4(), unit.now)) for config in configs]
        await hold(unit.connection, [self._row(config, run, unit.now) for config, run in runs])
        unit.announce(*await release(unit.connection, unit.now, self.max_hold, config_ids))
        return [_accepted(unit, config, run, joined=config.id in held) for config, run in runs]

    def _row(self, config: Config, run: Held, now: datetime) -> dict[str, Any]:
        tick = TickDue(
            occurred_at=now,
            run_id=run.run_id,
            config=snapshot(config),
            trigger=Trigger.MANUAL,
            scheduled_for=run.asked_at,
            deadline_seconds=self.run_deadline_seconds,
            lane=lane_of(config.exchange, config.id, self.lanes),
        )
        message = announcement(TICKS, tick, starts=run.run_id)
        return {
            "run_id": run.run_id,
            "config_id": config.id,
            "asked_at": run.asked_at,
            "initial_run_id": _initial_run(config, now),
            "lane": message.key,
            "tick": message.value,
            "headers": message.headers,
        }


def _initial_run(config: Config, now: datetime) -> UUID | None:
    """The run that the scheduler starts at once for a new or newly enabled config; None for other configs."""
    is_new = config.enabled and config.updated_at > now - INITIAL_RUN_WITHIN
    return initial_run_id(config.id, config.version) if is_new else None


def _accepted(unit: UnitOfWork, config: Config, run: Held, *, joined: bool) -> TriggerAccepted:
    run_id = str(run.run_id)
    unit.record(
        AuditRecord(action="config.trigger", object_type="config", object_id=str(config.id), after={"run_id": run_id})
    )
    unit.log_after_commit(
        "Manual run requested", action="run_triggered", config_id=config.id, run_id=run_id, joined=joined
    )
    return TriggerAccepted(run_id=run.run_id, config_id=config.id, job_id=config.job_id, scheduled_for=run.asked_at)


class ManualRunReleaser:
    """A background task that releases held runs. Every instance runs it; locked rows are skipped."""

    def __init__(self, engine: AsyncEngine, max_hold: timedelta) -> None:
        self._engine, self._max_hold = engine, max_hold
        self._stopping = asyncio.Event()

    def background(self) -> Background:
        return Background("manual runs", self.run, self._stop)

    async def run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                await self.release_once(datetime.now(UTC))
                failing = False
            except DATABASE_PROBLEMS as error:  # the next round repeats everything that was not committed
                if not failing:
                    log.warning(
                        "Failed to release manual runs; they wait until Postgres is available",
                        action="manual_runs_wait",
                        error=str(error),
                    )
                failing = True
            try:
                async with asyncio.timeout(_ROUND_INTERVAL_SECONDS):
                    await self._stopping.wait()
            except TimeoutError:
                pass

    async def release_once(self, now: datetime) -> int:
        """One round. Returns the number of ticks that were added to the outbox. Raises the errors of `transaction`."""
        async with transaction(self._engine) as connection:
            await delete_ended(connection)
            ticks = await release(connection, now, self._max_hold)
            again = await resend(connection, now)
            await append(connection, [*ticks, *again])
        if again:
            log.warning(
                "Sent ticks again because their runs are not in the run log",
                action="ticks_sent_again",
                ticks=len(again),
            )
        return len(ticks) + len(again)

    async def _stop(self) -> None:
        self._stopping.set()
