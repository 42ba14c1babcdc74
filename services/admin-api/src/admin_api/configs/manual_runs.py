"""Runs that somebody asks for: each has a tick, which goes to the outbox as soon as the run need not wait.

`manual_run_queue` says when a trigger joins a run that waits, and when a run is released.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.configs.manual_run_queue import INITIAL_RUN_WITHIN, Held, forget_ended, held_runs, hold, release, resend
from admin_api.configs.repository import snapshot
from admin_api.configs.schemas import Config, TriggerAccepted
from admin_api.http.errors import ApiError
from admin_api.writes.audit_log import AuditRecord
from admin_api.writes.outbox import announcement, append
from admin_api.writes.transactions import transaction
from admin_api.writes.unit_of_work import UnitOfWork
from contracts.ticks import TickDue, initial_run_id, lane_of
from contracts.topics import TICKS
from contracts.vocabulary import Trigger
from runtime.lifecycle.background import Background
from runtime.logs import log

_EVERY_SECONDS: Final = 0.5


@dataclass(frozen=True)
class ManualRuns:
    """`lanes` is the number of lanes by exchange id, one where it is not named."""

    lanes: Mapping[str, int]
    run_deadline_seconds: int

    @property
    def hold_at_most(self) -> timedelta:
        """As long as a run may take that itself waited for another one."""
        return timedelta(seconds=2 * self.run_deadline_seconds)

    async def ask(self, work: UnitOfWork, configs: Sequence[Config]) -> list[TriggerAccepted]:
        """Accept a trigger of each config, also of a disabled one; the answers are in the same order.

        A run that waits takes the trigger in: then the answer has its run_id, and it collects the config as it is now.
        The caller holds the locks of the configs' rows: of two triggers at once, the second sees the run of the first.
        """
        config_ids = [config.id for config in configs]
        held = await held_runs(work.connection, config_ids)
        runs = [(config, held.get(config.id) or Held(uuid4(), work.now)) for config in configs]
        await hold(work.connection, [self._row(config, run, work.now) for config, run in runs])
        work.announce(*await release(work.connection, work.now, self.hold_at_most, config_ids))
        return [_accepted(work, config, run, joined=config.id in held) for config, run in runs]

    def _row(self, config: Config, run: Held, now: datetime) -> dict[str, Any]:
        tick = TickDue(
            occurred_at=now,
            run_id=run.run_id,
            config=snapshot(config),
            trigger=Trigger.MANUAL,
            scheduled_for=run.asked_at,
            window_start=None,
            deadline_seconds=self.run_deadline_seconds,
            lane=lane_of(config.exchange, config.id, self.lanes),
        )
        message = announcement(TICKS, tick)
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
    """The run that the scheduler starts at once for a new or newly enabled config; None for all other configs."""
    is_new = config.enabled and config.updated_at > now - INITIAL_RUN_WITHIN
    return initial_run_id(config.id, config.version) if is_new else None


def _accepted(work: UnitOfWork, config: Config, run: Held, *, joined: bool) -> TriggerAccepted:
    run_id = str(run.run_id)
    work.record(
        AuditRecord(action="config.trigger", object_type="config", object_id=str(config.id), after={"run_id": run_id})
    )
    work.log_after_commit("Run asked for", action="run_triggered", config_id=config.id, run_id=run_id, joined=joined)
    return TriggerAccepted(run_id=run.run_id, config_id=config.id, job_id=config.job_id, scheduled_for=run.asked_at)


class ManualRunReleaser:
    """Releases runs that waited, for as long as the API lives. Every instance has one; they share the rows."""

    def __init__(self, engine: AsyncEngine, hold_at_most: timedelta) -> None:
        self._engine, self._hold_at_most = engine, hold_at_most
        self._stopping = asyncio.Event()

    def background(self) -> Background:
        return Background("manual runs", self.run, self._stop)

    async def run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                await self.release_once(datetime.now(UTC))
                failing = False
            except (ApiError, DBAPIError) as error:  # whatever was not committed is done in the next round
                if not failing:
                    log.warning("Manual runs wait until Postgres answers", action="manual_runs_wait", error=str(error))
                failing = True
            try:
                async with asyncio.timeout(_EVERY_SECONDS):
                    await self._stopping.wait()
            except TimeoutError:
                pass

    async def release_once(self, now: datetime) -> int:
        """One round; returns how many ticks went to the outbox. Raises what a transaction raises."""
        async with transaction(self._engine) as connection:
            await forget_ended(connection)
            ticks = await release(connection, now, self._hold_at_most)
            again = await resend(connection, now)
            await append(connection, [*ticks, *again])
        if again:
            log.warning("Ticks without a run were sent again", action="ticks_sent_again", ticks=len(again))
        return len(ticks) + len(again)

    async def _stop(self) -> None:
        self._stopping.set()
