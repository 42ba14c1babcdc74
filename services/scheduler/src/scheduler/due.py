"""Decides which tick is due, and builds it. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from contracts.coverage import to_instant
from contracts.ticks import TickDue, initial_run_id, lane_of, resync_run_id, slot_run_id
from contracts.vocabulary import Trigger
from scheduler.entry import Entry, config_of
from scheduler.progress import UNKNOWN, Series, for_tick, to_event


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings that decisions depend on."""

    spread_ms: int
    catch_up_limit_ms: int
    deadline_seconds: int
    lanes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A due tick, for the entry at the time of the decision."""

    entry: Entry
    trigger: Trigger
    scheduled_for: int
    settles: int
    """All slots up to this instant are settled when Kafka has acknowledged the tick."""
    missed_slots: int
    progress: tuple[tuple[str, Series], ...]
    """The progress in the tick, by timeframe of the plan."""
    behind: tuple[tuple[str, int], ...]
    """The anchors that are further back than the catch-up limit, by timeframe."""


def decide(entry: Entry, now: int, policy: Policy) -> Due | None:
    """The one tick that is due for the entry at `now`, or None. It covers all missed slots."""
    due_at = entry.due_at()
    if due_at is None or due_at > now:
        return None
    progress, behind = _progress(entry, now, policy)
    if entry.initial is not None or entry.settled is None:
        settles = now if entry.settled is None else max(now, entry.settled)
        return Due(
            entry=entry,
            trigger=Trigger.INITIAL,
            scheduled_for=entry.plan.updated_at if entry.plan.resynced_at is None else entry.plan.resynced_at,
            settles=settles,
            missed_slots=0 if entry.settled is None else entry.grid.slots_between(entry.settled, now),
            progress=progress,
            behind=behind,
        )
    slot = entry.grid.slot_at(now)
    return Due(
        entry=entry,
        trigger=Trigger.SCHEDULED,
        scheduled_for=slot,
        settles=slot,
        missed_slots=entry.grid.slots_between(entry.settled, slot) - 1,
        progress=progress,
        behind=behind,
    )


def acknowledged(entry: Entry, due: Due) -> Entry:
    """The entry after Kafka has acknowledged the tick. It may have changed since the decision."""
    if due.trigger is not Trigger.INITIAL:
        return entry if entry.initial is not None else replace(entry, settled=_later(entry.settled, due.settles))
    if entry.initial != due.entry.initial:
        return entry
    return replace(entry, initial=None, settled=_later(entry.settled, due.settles))


def tick_of(due: Due, now: int, policy: Policy) -> TickDue:
    plan = due.entry.plan
    return TickDue(
        occurred_at=to_instant(now),
        run_id=_run_id(due),
        config=config_of(plan),
        trigger=due.trigger,
        scheduled_for=to_instant(due.scheduled_for),
        progress=tuple(to_event(timeframe, series) for timeframe, series in due.progress),
        deadline_seconds=policy.deadline_seconds,
        lane=lane_of(plan.exchange, plan.config_id, policy.lanes),
        missed_slots=due.missed_slots,
    )


def _run_id(due: Due) -> UUID:
    plan = due.entry.plan
    if due.trigger is not Trigger.INITIAL:
        return slot_run_id(plan.config_id, to_instant(due.scheduled_for))
    version = due.entry.initial or plan.version
    if plan.resynced_at is None:
        return initial_run_id(plan.config_id, version)
    return resync_run_id(plan.config_id, version, to_instant(plan.resynced_at))


def _progress(
    entry: Entry, now: int, policy: Policy
) -> tuple[tuple[tuple[str, Series], ...], tuple[tuple[str, int], ...]]:
    """The values of `Due.progress` and `Due.behind`.

    The limit is at least two intervals, so that a weekly config can continue at its anchor after a failed run.
    """
    limit_ms = max(policy.catch_up_limit_ms, 2 * entry.grid.interval_ms)
    progress, behind = [], []
    for timeframe in entry.plan.timeframes:
        found = for_tick(timeframe, entry.progress.of(timeframe), now=now, limit_ms=limit_ms)
        if found.series != UNKNOWN:
            progress.append((timeframe, found.series))
        if found.behind_since is not None:
            behind.append((timeframe, found.behind_since))
    return tuple(progress), tuple(behind)


def _later(settled: int | None, instant: int) -> int:
    return instant if settled is None else max(settled, instant)
