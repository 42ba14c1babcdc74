"""Decides which tick is due, and builds it. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from contracts.ticks import TickDue, initial_run_id, lane_of, slot_run_id
from contracts.timeframes import longest_length
from contracts.vocabulary import Trigger
from scheduler.entry import Entry, config_of
from scheduler.grid import to_instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings that decisions depend on."""

    spread_ms: int
    catch_up_limit_ms: int
    deadline_seconds: int
    lanes: Mapping[str, int]


class Window(NamedTuple):
    """The start of the time range that a run collects. It always collects up to now."""

    start: int | None
    """None: nothing is covered yet, so the run collects one full page."""
    truncated_from: int | None = None
    """The start without the catch-up limit, if the limit truncated the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A due tick, for the entry at the time of the decision."""

    entry: Entry
    trigger: Trigger
    scheduled_for: int
    settles: int
    """When the tick is acknowledged, all slots up to this instant are settled."""
    missed_slots: int
    window: Window


def decide(entry: Entry, now: int, policy: Policy) -> Due | None:
    """The one tick that is due for the entry at `now`, or None. It covers all missed slots."""
    due_at = entry.due_at()
    if due_at is None or due_at > now:
        return None
    if entry.initial is not None or entry.settled is None:
        settles = now if entry.settled is None else max(now, entry.settled)
        return Due(
            entry=entry,
            trigger=Trigger.INITIAL,
            scheduled_for=entry.plan.updated_at,
            settles=settles,
            missed_slots=0 if entry.settled is None else entry.grid.slots_between(entry.settled, now),
            window=_window(entry, now, now, policy),
        )
    slot = entry.grid.slot_at(now)
    return Due(
        entry=entry,
        trigger=Trigger.SCHEDULED,
        scheduled_for=slot,
        settles=slot,
        missed_slots=entry.grid.slots_between(entry.settled, slot) - 1,
        window=_window(entry, slot, now, policy),
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
    run_id = (
        initial_run_id(plan.config_id, due.entry.initial or plan.version)
        if due.trigger is Trigger.INITIAL
        else slot_run_id(plan.config_id, to_instant(due.scheduled_for))
    )
    return TickDue(
        occurred_at=to_instant(now),
        run_id=run_id,
        config=config_of(plan),
        trigger=due.trigger,
        scheduled_for=to_instant(due.scheduled_for),
        window_start=None if due.window.start is None else to_instant(due.window.start),
        deadline_seconds=policy.deadline_seconds,
        lane=lane_of(plan.exchange, plan.config_id, policy.lanes),
        missed_slots=due.missed_slots,
    )


def _window(entry: Entry, end: int, now: int, policy: Policy) -> Window:
    """Starts at the end of the last successful run, but not before the catch-up limit.

    The limit is at least two intervals, so that it does not shorten the window of a weekly config after a failed run.
    One candle is added, because a run covers only up to the last boundary of its shortest timeframe, which may be a
    month ago for `1M`.
    """
    if entry.covered is None:
        return Window(None)
    limit = max(policy.catch_up_limit_ms, 2 * entry.grid.interval_ms)
    if entry.covered < now - limit and entry.covered < (earliest := now - limit - _candle_ms(entry)):
        return Window(min(earliest, end), truncated_from=entry.covered)
    return Window(min(entry.covered, end))


def _candle_ms(entry: Entry) -> int:
    """The length of the config's shortest candle in milliseconds. Months and years count with their greatest length."""
    return min(map(longest_length, entry.plan.timeframes))


def _later(settled: int | None, instant: int) -> int:
    return instant if settled is None else max(settled, instant)
