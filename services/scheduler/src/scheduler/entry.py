"""The schedule of one config, and pure functions that return its next state after a change.

Entries are small frozen values, because an instance may own a hundred thousand of them.
"""

from dataclasses import dataclass, field, replace
from sys import intern
from typing import NamedTuple

from contracts.configs import CollectionConfig
from contracts.coverage import to_instant, to_milliseconds
from contracts.runs import RunFinished
from contracts.schedule import JobScheduled
from contracts.vocabulary import Trigger
from scheduler.grid import Grid, grid_of
from scheduler.progress import (
    CLOCK_TOLERANCE_MS,
    NO_PROGRESS,
    Progress,
    after_range,
    after_result,
    from_events,
    must_be_stored,
    shared,
    to_event,
    without_future,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The schedule according to the newest version of a config. Plans are equal if their schedules are."""

    config_id: int
    version: int
    exchange: str
    symbol: str
    timeframes: tuple[str, ...]
    interval_minutes: int
    enabled: bool
    updated_at: int = field(compare=False)
    resynced_at: int | None = field(default=None, compare=False)
    """The time of the resync, if a resync published this version. Otherwise None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A plan and the progress of its schedule."""

    plan: Plan
    partition: int
    grid: Grid
    settled: int | None = None
    """Each slot up to this instant got its tick or was counted as missed. None before the first tick."""
    progress: Progress = NO_PROGRESS
    """The progress by timeframe. It includes timeframes that the plan no longer has."""
    initial: int | None = None
    """The version whose initial tick is pending. None if no initial tick is pending."""

    def due_at(self) -> int | None:
        """The time at which the next tick is due; 0 means at once, None means never."""
        if not self.plan.enabled:
            return None
        if self.initial is not None or self.settled is None:
            return 0
        return self.grid.slot_after(self.settled)


class Changed(NamedTuple):
    """The entry after a change, and how many pending slots of the previous schedule will not get a tick."""

    entry: Entry
    skipped_slots: int


class AfterRun(NamedTuple):
    """The entry after a run, and whether its state must be published at once."""

    entry: Entry
    publish_now: bool


def plan_of(config: CollectionConfig, resynced_at: int | None = None) -> Plan:
    return Plan(
        config_id=config.config_id,
        version=config.version,
        exchange=intern(config.exchange),
        symbol=intern(config.symbol),
        timeframes=shared(config.timeframes),
        interval_minutes=config.interval_minutes,
        enabled=config.enabled,
        updated_at=to_milliseconds(config.updated_at),
        resynced_at=resynced_at,
    )


def config_of(plan: Plan) -> CollectionConfig:
    return CollectionConfig(
        config_id=plan.config_id,
        version=plan.version,
        exchange=plan.exchange,
        symbol=plan.symbol,
        timeframes=plan.timeframes,
        interval_minutes=plan.interval_minutes,
        enabled=plan.enabled,
        updated_at=to_instant(plan.updated_at),
    )


def created(plan: Plan, partition: int, spread_ms: int) -> Entry:
    """The entry of a config without a stored state. If it is enabled, its initial tick is pending."""
    return Entry(
        plan=plan,
        partition=partition,
        grid=grid_of(plan.config_id, plan.interval_minutes, spread_ms),
        initial=plan.version if plan.enabled else None,
    )


def entry_from_state(state: JobScheduled, partition: int, spread_ms: int) -> Entry:
    """The entry at the time when its state was published. Apply the current config to it with `changed`."""
    settled = None if state.last_slot is None else to_milliseconds(state.last_slot)
    plan = Plan(
        config_id=state.config_id,
        version=state.config_version,
        exchange=intern(state.exchange),
        symbol=intern(state.symbol),
        timeframes=shared(state.timeframes),
        interval_minutes=state.interval_minutes,
        enabled=state.active,
        updated_at=settled or 0,
    )
    return Entry(
        plan=plan,
        partition=partition,
        grid=grid_of(state.config_id, state.interval_minutes, spread_ms),
        settled=settled,
        progress=from_events(state.progress),
    )


def changed(entry: Entry, plan: Plan, now: int, spread_ms: int) -> Changed:
    """Apply another version of the config. The caller has checked that it is newer.

    If the config is enabled again or collects something new, an initial tick becomes pending. The progress is reset
    only if the exchange or the symbol changes; a timeframe that is added again continues. After a change of the
    interval, slots before the change follow the old grid, and later slots follow the new grid. A change with a time in
    the future takes effect now.
    """
    before, since = entry.plan, min(plan.updated_at, now)
    grid = grid_of(plan.config_id, plan.interval_minutes, spread_ms)
    same_market = is_of_market(plan, before.exchange, before.symbol)
    known = same_market and set(plan.timeframes) <= set(before.timeframes)
    after = replace(entry, plan=plan, grid=grid, progress=entry.progress if same_market else NO_PROGRESS)
    if not plan.enabled:
        return Changed(replace(after, initial=None), pending_slots(entry, since))
    if not before.enabled:
        return Changed(replace(after, initial=plan.version, settled=None), 0)
    if not known:
        after = replace(after, initial=plan.version)
    if grid == entry.grid or entry.settled is None:
        return Changed(after, 0)
    return Changed(replace(after, settled=max(entry.settled, since)), pending_slots(entry, since))


def after_run(entry: Entry, run: RunFinished, now: int) -> AfterRun:
    """The entry with the progress that the run's results prove. Returns the same entry if nothing changes.

    The results of failed and manual runs are used like the results of all other runs. A run that reads a range only
    shortens or removes pending spans. A run of another market changes nothing.
    """
    if not is_of_market(entry.plan, run.exchange, run.symbol):
        return AfterRun(entry, publish_now=False)
    finished_at, progress, publish_now = to_milliseconds(run.finished_at), entry.progress, False
    for result in run.results:
        before = progress.of(result.timeframe)
        if run.trigger is Trigger.RANGE:
            after = after_range(before, result, finished_at=finished_at, now=now)
        else:
            after = after_result(before, result, finished_at=finished_at, now=now, interval_ms=entry.grid.interval_ms)
        publish_now |= must_be_stored(before, after)
        progress = progress.updated({result.timeframe: after})
    return AfterRun(entry if progress is entry.progress else replace(entry, progress=progress), publish_now)


def merged_with_state(entry: Entry, state: Entry) -> Entry:
    """The entry with the slots and the progress of a published state. Returns the same entry if nothing changes.

    If the state has an older version, the initial tick stays pending, but the progress of the state is used.
    """
    settled, initial, progress = _later(entry.settled, state.settled), None, entry.progress
    if entry.initial is not None and state.plan.version < entry.initial:
        settled, initial = entry.settled, entry.initial
    if is_of_market(entry.plan, state.plan.exchange, state.plan.symbol):
        progress = progress.updated(
            {timeframe: series for timeframe, series in state.progress if series.is_later_than(progress.of(timeframe))}
        )
    if (settled, initial) == (entry.settled, entry.initial) and progress is entry.progress:
        return entry
    return replace(entry, settled=settled, progress=progress, initial=initial)


def is_ahead(entry: Entry, now: int) -> bool:
    """Whether the entry has times in the future, because a clock is or was wrong."""
    return max(entry.settled or 0, entry.progress.latest_anchor()) > now + CLOCK_TOLERANCE_MS


def clamped(entry: Entry, now: int, catch_up_limit_ms: int) -> Entry:
    """The entry without times in the future; the same entry if it has none.

    Slots are counted from now on, on the same grid. If a slot already got a tick while the clock was wrong, its tick
    has the same run_id when the slot is really due. The real anchors are unknown, so the catch-up limit is collected
    again.
    """
    if not is_ahead(entry, now):
        return entry
    settled = None if entry.settled is None else min(entry.settled, now)
    corrected = {
        timeframe: without_future(timeframe, series, now=now, limit_ms=catch_up_limit_ms)
        for timeframe, series in entry.progress
    }
    return replace(entry, settled=settled, progress=entry.progress.updated(corrected))


def is_of_market(plan: Plan, exchange: str, symbol: str) -> bool:
    """Whether the plan collects this symbol of this exchange."""
    return (exchange, symbol) == (plan.exchange, plan.symbol)


def state_of(entry: Entry, now: int) -> JobScheduled:
    """The event that stores the schedule in Kafka. Do not use it for an entry with a pending initial tick: the tick
    would be lost.
    """
    plan, next_fire = entry.plan, entry.due_at()
    return JobScheduled(
        occurred_at=to_instant(now),
        config_id=plan.config_id,
        config_version=plan.version,
        exchange=plan.exchange,
        symbol=plan.symbol,
        timeframes=plan.timeframes,
        interval_minutes=plan.interval_minutes,
        active=plan.enabled,
        last_slot=None if entry.settled is None else to_instant(entry.settled),
        next_fire_at=None if next_fire is None else to_instant(next_fire),
        progress=tuple(to_event(timeframe, series) for timeframe, series in entry.progress),
    )


def pending_slots(entry: Entry, until: int) -> int:
    """Number of slots up to `until` that are due and have no tick. Before the first tick, slots count from the
    change.
    """
    if not entry.plan.enabled:
        return 0
    since = entry.plan.updated_at if entry.settled is None else entry.settled
    return entry.grid.slots_between(since, until)


def _later(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)
