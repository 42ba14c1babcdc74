"""One config's schedule, and what changes it: pure functions from an entry and news to the next entry.

Entries are small frozen values, because an instance may hold a hundred thousand of them.
"""

from dataclasses import dataclass, replace
from sys import intern
from typing import NamedTuple

from contracts.configs import CollectionConfig
from contracts.runs import RunFinished
from contracts.schedule import JobScheduled
from contracts.vocabulary import RunStatus, Trigger
from scheduler.grid import Grid, grid_of, to_instant, to_ms

AHEAD_MS = 5_000
"""What is said about the past may lie so far ahead of our clock: clocks of several machines differ a little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a config's newest version asks for."""

    config_id: int
    version: int
    exchange: str
    symbol: str
    timeframes: tuple[str, ...]
    interval_minutes: int
    enabled: bool
    updated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A plan, and how far its schedule has come."""

    plan: Plan
    partition: int
    grid: Grid
    settled: int | None = None
    """Every slot up to this instant has its tick, or is recorded as missed. None until the first tick."""
    covered: int | None = None
    """A successful run has collected everything up to this instant. None: nothing yet."""
    initial: int | None = None
    """The version whose initial tick is still owed."""

    def due_at(self) -> int | None:
        """When its next tick falls due; 0 means at once, None means never."""
        if not self.plan.enabled:
            return None
        if self.initial is not None or self.settled is None:
            return 0
        return self.grid.slot_after(self.settled)


class Changed(NamedTuple):
    """The entry after a change, and how many owed slots of the schedule before it will not get a tick."""

    entry: Entry
    skipped_slots: int


def plan_of(config: CollectionConfig) -> Plan:
    return Plan(
        config_id=config.config_id,
        version=config.version,
        exchange=intern(config.exchange),
        symbol=intern(config.symbol),
        timeframes=tuple(intern(timeframe) for timeframe in config.timeframes),
        interval_minutes=config.interval_minutes,
        enabled=config.enabled,
        updated_at=to_ms(config.updated_at),
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
    """A config that was never scheduled: it owes an initial tick when it is enabled."""
    return Entry(
        plan=plan,
        partition=partition,
        grid=grid_of(plan.config_id, plan.interval_minutes, spread_ms),
        initial=plan.version if plan.enabled else None,
    )


def remembered(state: JobScheduled, partition: int, spread_ms: int) -> Entry:
    """The entry as it was when its state was published. The config must still be applied to it with `changed`."""
    settled = None if state.last_slot is None else to_ms(state.last_slot)
    plan = Plan(
        config_id=state.config_id,
        version=state.config_version,
        exchange=intern(state.exchange),
        symbol=intern(state.symbol),
        timeframes=tuple(intern(timeframe) for timeframe in state.timeframes),
        interval_minutes=state.interval_minutes,
        enabled=state.active,
        updated_at=settled or 0,
    )
    return Entry(
        plan=plan,
        partition=partition,
        grid=grid_of(state.config_id, state.interval_minutes, spread_ms),
        settled=settled,
        covered=None if state.covered_until is None else to_ms(state.covered_until),
    )


def changed(entry: Entry, plan: Plan, now: int, spread_ms: int) -> Changed:
    """Apply a newer version. The caller has checked that it is newer, or knows better.

    A config that is enabled again, or that collects something new, owes an initial tick. On a new interval the old
    grid counts until the change and the new one from then on; a change dated in our future counts from now.
    """
    before, since = entry.plan, min(plan.updated_at, now)
    grid = grid_of(plan.config_id, plan.interval_minutes, spread_ms)
    known = covers(before.exchange, before.symbol, before.timeframes, plan)
    after = replace(entry, plan=plan, grid=grid, covered=entry.covered if known else None)
    if not plan.enabled:
        return Changed(replace(after, initial=None), pending_slots(entry, since))
    if not before.enabled:
        return Changed(replace(after, initial=plan.version, settled=None), 0)
    if not known:
        after = replace(after, initial=plan.version)
    if grid == entry.grid or entry.settled is None:
        return Changed(after, 0)
    return Changed(replace(after, settled=max(entry.settled, since)), pending_slots(entry, since))


def finished(entry: Entry, run: RunFinished, now: int) -> Entry:
    """What a run's end teaches about how far the config is covered; the same entry when nothing.

    Only a success counts, and only of a run that collected all that the plan asks for today. A manual run reaches
    back one page from now, so it says nothing about what lies between that and an older `covered`. A collector whose
    clock is ahead cannot cover the future.
    """
    if run.status is not RunStatus.SUCCESS or run.covered_until is None:
        return entry
    if not covers(run.exchange, run.symbol, run.timeframes, entry.plan):
        return entry
    if run.trigger is Trigger.MANUAL and entry.covered is not None:
        return entry
    until = min(to_ms(run.covered_until), now)
    return entry if entry.covered is not None and until <= entry.covered else replace(entry, covered=until)


def caught_up(entry: Entry, state: Entry) -> Entry:
    """The entry, with what was published about it in the meantime; the same entry when that is nothing new."""
    if entry.initial is not None and state.plan.version < entry.initial:
        return entry
    settled, covered = _later(entry.settled, state.settled), entry.covered
    if covers(state.plan.exchange, state.plan.symbol, state.plan.timeframes, entry.plan):
        covered = _later(covered, state.covered)
    if (settled, covered, None) == (entry.settled, entry.covered, entry.initial):
        return entry
    return replace(entry, settled=settled, covered=covered, initial=None)


def is_ahead(entry: Entry, now: int) -> bool:
    """Whether it says that something was done at a time that is yet to come: a clock is, or was, wrong."""
    return max(entry.settled or 0, entry.covered or 0) > now + AHEAD_MS


def clamped(entry: Entry, now: int, reach_ms: int) -> Entry:
    """The entry without what a wrong clock made it say: the same one when there is nothing of that.

    Its slots count from now on, on the same grid; those that got a tick under the wrong clock keep their run_id when
    their time comes. From where it is covered cannot be told any more, so as much is read again as after downtime.
    """
    if not is_ahead(entry, now):
        return entry
    settled = None if entry.settled is None else min(entry.settled, now)
    covered = now - reach_ms if (entry.covered or 0) > now + AHEAD_MS else entry.covered
    return replace(entry, settled=settled, covered=covered)


def covers(exchange: str, symbol: str, timeframes: tuple[str, ...], plan: Plan) -> bool:
    """Whether collecting these timeframes of this market collects all that the plan asks for."""
    return (exchange, symbol) == (plan.exchange, plan.symbol) and set(plan.timeframes) <= set(timeframes)


def state_of(entry: Entry, now: int) -> JobScheduled:
    """What is published to be remembered. Never for an entry that owes its initial tick: it would be forgotten."""
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
        covered_until=None if entry.covered is None else to_instant(entry.covered),
    )


def pending_slots(entry: Entry, until: int) -> int:
    """Slots up to `until` that are due and have no tick yet; of a config that owes its first tick, since it began."""
    if not entry.plan.enabled:
        return 0
    since = entry.plan.updated_at if entry.settled is None else entry.settled
    return entry.grid.slots_between(since, until)


def _later(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)
