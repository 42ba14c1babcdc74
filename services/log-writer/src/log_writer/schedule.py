"""What the scheduler holds, made readable: `schedule-state` into the table `scheduled_jobs`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from contracts.schedule import JobScheduled
from contracts.vocabulary import job_name

_REMOVE: Final = "DELETE FROM scheduled_jobs WHERE config_id = ANY($1::bigint[])"

_UPSERT: Final = """
INSERT INTO scheduled_jobs AS job
  (config_id, job_name, exchange, symbol, interval_minutes, active, config_version,
   last_slot, next_fire_at, covered_until, updated_at)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::int[], $6::boolean[], $7::bigint[],
                     $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[])
ON CONFLICT (config_id) DO UPDATE SET
  job_name = excluded.job_name, exchange = excluded.exchange, symbol = excluded.symbol,
  interval_minutes = excluded.interval_minutes, active = excluded.active, config_version = excluded.config_version,
  last_slot = excluded.last_slot, next_fire_at = excluded.next_fire_at, covered_until = excluded.covered_until,
  updated_at = excluded.updated_at
WHERE (excluded.config_version, excluded.updated_at) > (job.config_version, job.updated_at)
   OR (excluded.config_version = job.config_version AND job.updated_at > $12::timestamptz)
"""

_AHEAD: Final = timedelta(minutes=1)
"""A state dated further ahead than this was dated by a clock that was wrong, and gives way to whatever comes next."""


@dataclass(frozen=True)
class ScheduleChanges:
    """What a batch of `schedule-state` comes to: first these go, then these are set. Both ordered by config id."""

    removed: tuple[int, ...] = ()
    states: tuple[JobScheduled, ...] = ()
    believed_until: datetime | None = None
    """A stored state dated later gives way to any of these of the same version."""


def fold(messages: Iterable[tuple[int, JobScheduled | None]], now: datetime) -> ScheduleChanges:
    """(config id, state or None for a tombstone) in the order of the log. The newest state of a config counts, not
    the last: a scheduler that was thought dead may still speak. After a tombstone counting begins anew.
    """
    removed: set[int] = set()
    states: dict[int, JobScheduled] = {}
    for config_id, state in messages:
        if state is None:
            removed.add(config_id)
            states.pop(config_id, None)
        elif config_id not in states or _replaces(state, states[config_id], now):
            states[config_id] = state
    return ScheduleChanges(tuple(sorted(removed)), tuple(states[each] for each in sorted(states)), now + _AHEAD)


async def apply_changes(connection: Any, changes: ScheduleChanges) -> None:
    """Within the transaction of asyncpg's `connection`. A stored state never goes back to an older one."""
    if changes.removed:
        await connection.execute(_REMOVE, changes.removed)
    if changes.states:
        await connection.execute(_UPSERT, *zip(*map(_row, changes.states), strict=True), changes.believed_until)


def _replaces(state: JobScheduled, known: JobScheduled, now: datetime) -> bool:
    if state.config_version != known.config_version:
        return state.config_version > known.config_version
    return state.occurred_at > known.occurred_at or known.occurred_at > now + _AHEAD


def _row(state: JobScheduled) -> tuple[Any, ...]:
    return (
        state.config_id,
        job_name(state.config_id),
        state.exchange,
        state.symbol,
        state.interval_minutes,
        state.active,
        state.config_version,
        state.last_slot,
        state.next_fire_at,
        state.covered_until,
        state.occurred_at,
    )
