"""Rules about slots, ticks and runs: every slot once, not too early, forward only, and to an end."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from contracts.ticks import slot_run_id
from contracts.vocabulary import ErrorClass
from scheduler.grid import Grid, grid_of, to_instant
from support.faults.evidence import Evidence, Run, Tick
from support.faults.history import Call
from support.faults.violations import Kind, Violation

_FORWARD = {"running": 0, "presumed": 1, "skipped": 2, "failed": 3, "success": 4}
"""A run may be carried out twice; then its better ending counts."""


class Stretch(NamedTuple):
    """A time in which one version of a config was in force and enabled, in milliseconds."""

    config_id: int
    grid: Grid
    after_ms: int
    until_ms: int


def stretches(evidence: Evidence) -> Iterator[Stretch]:
    """When slots of which grid were due, by the calls that are known to have happened. What follows a call of unknown
    outcome is not judged: nobody knows which version was in force.
    """
    calls: dict[int, list[Call]] = defaultdict(list)
    for call in evidence.history.calls:
        if call.config_id is not None and call.verb != "trigger" and call.outcome != "failed":
            calls[call.config_id].append(call)
    for config_id, changes in calls.items():
        ends = [change.since or change.at for change in changes[1:]]
        for change, end in zip(changes, [*ends, evidence.until], strict=True):
            if change.outcome == "unknown":
                break
            if change.enabled and change.interval_minutes and change.since is not None:
                grid = grid_of(config_id, change.interval_minutes, evidence.rules.spread_ms)
                yield Stretch(config_id, grid, _ms(change.since), _ms(min(end, evidence.until)))


def lost_slots(evidence: Evidence) -> Iterator[Violation]:
    """Before everything is quiet: slots that are not dealt with yet as well."""
    runs, ticks = {run.run_id for run in evidence.runs}, _by_config(evidence.ticks)
    excused = dict(evidence.passed_over)
    for stretch in stretches(evidence):
        told = ticks.get(stretch.config_id, [])
        slot = stretch.grid.slot_after(_settled_at_birth(told, stretch))
        while slot <= stretch.until_ms:
            if str(slot_run_id(stretch.config_id, to_instant(slot))) not in runs and not any(
                _makes_up_for(tick, slot, stretch.grid) for tick in told
            ):
                if excused.get(stretch.config_id, 0) > 0:
                    excused[stretch.config_id] -= 1
                else:
                    yield Violation(Kind.LOST_SLOT, f"config {stretch.config_id}", to_instant(slot).isoformat())
            slot += stretch.grid.interval_ms


def _settled_at_birth(ticks: Sequence[Tick], stretch: Stretch) -> int:
    """An initial tick settles the slots before it: but only the one that the stretch begins with, however often that
    was emitted.
    """
    own = [tick for tick in ticks if tick.trigger != "manual" and _ms(tick.emitted_at) >= stretch.after_ms]
    first = min(own, key=lambda tick: tick.emitted_at, default=None)
    if first is None or first.trigger != "initial":
        return stretch.after_ms
    return max(_ms(tick.emitted_at) for tick in own if tick.run_id == first.run_id)


def _makes_up_for(tick: Tick, slot: int, grid: Grid) -> bool:
    """A scheduled tick counts the slots before its own that it makes up for."""
    at = _ms(tick.scheduled_for)
    return tick.trigger == "scheduled" and at - tick.missed_slots * grid.interval_ms <= slot < at


def lost_ticks(evidence: Evidence) -> Iterator[Violation]:
    runs = {run.run_id for run in evidence.runs}
    asked = {tick.run_id: f"{tick.trigger} tick of config {tick.config_id}" for tick in evidence.ticks}
    for call in evidence.history.calls:
        if call.verb == "trigger" and call.outcome == "ok" and call.run_id is not None:
            asked.setdefault(call.run_id, f"trigger of config {call.config_id}, answered well")
    for run_id, what in asked.items():
        if run_id not in runs:
            yield Violation(Kind.LOST_TICK, run_id, what)


def duplicates(evidence: Evidence) -> Iterator[Violation]:
    rows: dict[str, int] = defaultdict(int)
    slots: dict[tuple[int, float], set[str]] = defaultdict(set)
    for run in evidence.runs:
        rows[run.run_id] += 1
    told: list[Run | Tick] = [*evidence.runs, *evidence.ticks]
    for each in told:
        if each.trigger == "scheduled":
            slots[each.config_id, each.scheduled_for].add(each.run_id)
    for run_id, count in rows.items():
        if count > 1:
            yield Violation(Kind.DUPLICATE, run_id, f"{count} rows of one run")
    for (config_id, slot), run_ids in slots.items():
        if len(run_ids) > 1:
            yield Violation(Kind.DUPLICATE, f"config {config_id}", f"slot {slot}: {sorted(run_ids)}")


def early(evidence: Evidence) -> Iterator[Violation]:
    for run in evidence.runs:
        if run.trigger == "scheduled" and run.started_at < run.scheduled_for:
            yield Violation(Kind.EARLY, run.run_id, f"started {run.scheduled_for - run.started_at:.3f} s too early")
    for tick in evidence.ticks:
        if tick.trigger == "scheduled" and tick.emitted_at < tick.scheduled_for:
            yield Violation(Kind.EARLY, tick.run_id, f"emitted {tick.scheduled_for - tick.emitted_at:.3f} s too early")


def unasked(evidence: Evidence) -> Iterator[Violation]:
    """What is disabled or deleted does not tick, but for a moment in which the scheduler has not heard of it."""
    calls = [call for call in evidence.history.calls if call.verb != "trigger" and call.outcome != "failed"]
    ticks = _by_config(evidence.ticks)
    for index, call in enumerate(calls):
        if call.outcome == "unknown" or (call.verb != "delete" and call.enabled):
            continue
        later = (other.at for other in calls[index + 1 :] if other.config_id == call.config_id)
        begin, end = call.at + evidence.rules.heard_within, next(later, evidence.collected_at)
        for tick in ticks.get(call.config_id or 0, ()):
            if tick.trigger != "manual" and begin < tick.emitted_at < end:
                yield Violation(Kind.UNASKED, f"config {call.config_id}", f"{tick.trigger} tick {tick.run_id}")


def stuck(evidence: Evidence) -> Iterator[Violation]:
    """Nothing runs beyond its deadline, and what died with its collector is run again by another."""
    for run in evidence.runs:
        if run.error_class == ErrorClass.COLLECTOR_LOST:
            yield Violation(Kind.ABANDONED, run.run_id, "its collector died, and no other took it up")
        if run.status != "running":
            continue
        if run.deadline_at is None or run.deadline_at + evidence.rules.lost_after < evidence.collected_at:
            yield Violation(Kind.STUCK, run.run_id, f"still running, its deadline was {run.deadline_at}")


def reordered(evidence: Evidence) -> Iterator[Violation]:
    for run in evidence.runs:
        if run.finished_at is not None and run.finished_at < run.started_at:
            yield Violation(Kind.REORDERED, run.run_id, "finished before it started")
    reached: dict[str, int] = {}
    for seen in evidence.history.seen:
        rank = _FORWARD["presumed" if seen.presumed else seen.status]
        if rank < reached.get(seen.run_id, 0):
            yield Violation(Kind.REORDERED, seen.run_id, f"went back to {seen.status}")
        reached[seen.run_id] = max(rank, reached.get(seen.run_id, 0))


def _by_config(ticks: Sequence[Tick]) -> dict[int, list[Tick]]:
    by_config: dict[int, list[Tick]] = defaultdict(list)
    for tick in ticks:
        by_config[tick.config_id].append(tick)
    return by_config


def _ms(instant: float) -> int:
    return round(instant * 1000)
