"""Stores the schedule states of `schedule-state` in the table `scheduled_jobs`, where people can read them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from contracts.bounds import MAX_VERSION_STEP, is_outdated, row_id_of
from contracts.schedule import JobScheduled
from contracts.vocabulary import job_name
from runtime.kafka.codec import Tombstone

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
   OR excluded.config_version <= job.config_version - $13::bigint
"""
# The last condition is the same as in `is_outdated`: a stored version that is implausibly high is replaced.

_MAX_CLOCK_AHEAD: Final = timedelta(minutes=1)
"""A state with a timestamp further in the future comes from a wrong clock. The next state replaces it."""


@dataclass(frozen=True)
class ScheduleChanges:
    """The changes by a batch of `schedule-state`: first the removals, then the states. Both are ordered by config
    id.
    """

    removed: tuple[int, ...] = ()
    states: tuple[JobScheduled, ...] = ()
    believed_until: datetime | None = None
    """A stored state with a later timestamp than this is replaced by any state of the same version in this batch."""


def fold(messages: Iterable[JobScheduled | Tombstone], now: datetime) -> ScheduleChanges:
    """The changes by these messages, which are in the order of the topic. Raises `ValueError` for a tombstone whose key
    is not a config id.

    The newest state of a config is used. It need not be the last message: a scheduler that lost its partition may still
    publish. A state after a tombstone is always used, even if it is older than the states before the tombstone.
    """
    removed: set[int] = set()
    states: dict[int, JobScheduled] = {}
    for message in messages:
        if isinstance(message, Tombstone):
            config_id = row_id_of(message.key)
            removed.add(config_id)
            states.pop(config_id, None)
        elif message.config_id not in states or _replaces(message, states[message.config_id], now):
            states[message.config_id] = message
    return ScheduleChanges(
        tuple(sorted(removed)), tuple(states[each] for each in sorted(states)), now + _MAX_CLOCK_AHEAD
    )


async def apply_changes(connection: Any, changes: ScheduleChanges) -> None:
    """Write within the transaction of asyncpg's `connection`. An older state never replaces a stored one."""
    if changes.removed:
        await connection.execute(_REMOVE, changes.removed)
    if changes.states:
        columns = zip(*map(_row, changes.states), strict=True)
        await connection.execute(_UPSERT, *columns, changes.believed_until, MAX_VERSION_STEP)


def _replaces(state: JobScheduled, known: JobScheduled, now: datetime) -> bool:
    if state.config_version != known.config_version:
        return not is_outdated(state.config_version, known.config_version)
    return state.occurred_at > known.occurred_at or known.occurred_at > now + _MAX_CLOCK_AHEAD


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
