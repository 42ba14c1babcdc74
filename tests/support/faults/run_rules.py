"""Rules about slots, ticks and runs: every slot once, not too early, forward only, and to an end."""

import math
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
_SHORTEST_INTERVAL = 60.0


class Stretch(NamedTuple):
    """A time in which one version of a config was in force and enabled, in milliseconds."""

    config_id: int
    grid: Grid
    after_ms: int
    until_ms: int


def stretches(evidence: Evidence) -> Iterator[Stretch]:
    """When slots of which grid were due, by the versions that are known to have been in force.

    A version is in force from when it was answered until the next one, of which one can be sure only if that one's
    number follows: otherwise a call that was not answered came in between, at the earliest when it was made.
    """
    for config_id, changes in _changes_by_config(evidence).items():
        for number, change in enumerate(changes):
            if change.outcome == "unknown" or change.version is None or change.since is None:
                continue
            end = _in_force_until(evidence, change, changes[number + 1 :])
            if change.enabled and change.interval_minutes:
                grid = grid_of(config_id, change.interval_minutes, evidence.rules.spread_ms)
                yield Stretch(config_id, grid, _ms(change.since), _ms(min(end, evidence.until)))


def _changes_by_config(evidence: Evidence) -> dict[int, list[Call]]:
    """Calls that changed a config, or may have."""
    changes: dict[int, list[Call]] = defaultdict(list)
    for call in evidence.history.calls:
        if call.config_id is not None and call.verb != "trigger" and call.outcome != "failed":
            changes[call.config_id].append(call)
    return changes


def _in_force_until(evidence: Evidence, change: Call, later: Sequence[Call]) -> float:
    assert change.version is not None
    unsure = (call.at for call in later if call.outcome == "unknown")
    known = next((call for call in later if call.outcome == "ok"), None)
    if known is None:
        stored = evidence.configs.get(change.config_id or 0)
        is_last = stored is not None and stored.version == change.version
        return evidence.until if is_last else next(unsure, evidence.until)
    if known.verb == "delete":
        return next(unsure, known.at)
    if known.version == change.version + 1:
        return known.since or known.at
    if known.version == change.version:
        return change.since or change.at  # it changed nothing, and says what is in force from here on
    return next(unsure, known.since or known.at)


def lost_slots(evidence: Evidence) -> Iterator[Violation]:
    """Before everything is quiet: slots that are not dealt with yet as well."""
    runs, ticks = {run.run_id for run in evidence.runs}, _by_config(evidence.ticks)
    excused = dict(evidence.skipped_slots)
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
    """A scheduled tick counts the slots before its own that it makes up for, an initial one those before it left."""
    at = _ms(tick.scheduled_for) if tick.trigger == "scheduled" else grid.slot_after(_ms(tick.emitted_at))
    return tick.trigger != "manual" and at - tick.missed_slots * grid.interval_ms <= slot < at


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


def late(evidence: Evidence) -> Iterator[Violation]:
    """Once all faults have long ended, ticks are on time and so are runs."""
    since, most = evidence.rules.on_time_from, evidence.rules.late_after
    if since is None:
        return
    for run in evidence.runs:
        if run.trigger == "scheduled" and since <= run.scheduled_for <= run.started_at - most:
            yield Violation(Kind.LATE, run.run_id, f"started {run.started_at - run.scheduled_for:.1f} s after its slot")
    for tick in evidence.ticks:
        if tick.trigger == "scheduled" and tick.missed_slots and since <= tick.scheduled_for - _SHORTEST_INTERVAL:
            yield Violation(Kind.LATE, tick.run_id, f"makes up for {tick.missed_slots} slots")


def unasked(evidence: Evidence) -> Iterator[Violation]:
    """What is disabled or deleted does not tick, but for a moment after the scheduler has heard of it."""
    ticks = _by_config(evidence.ticks)
    for config_id, changes in _changes_by_config(evidence).items():
        for number, call in enumerate(changes):
            if call.outcome == "unknown" or (call.verb != "delete" and call.enabled):
                continue
            later = changes[number + 1 :]
            begin = _heard_at(evidence, call) + evidence.rules.heard_within
            end = evidence.collected_at
            if later:
                end = min(later[0].at, end if call.verb == "delete" else _in_force_until(evidence, call, later))
            for tick in ticks.get(config_id, ()):
                if tick.trigger != "manual" and begin < tick.emitted_at < end:
                    yield Violation(Kind.UNASKED, f"config {config_id}", f"{tick.trigger} tick {tick.run_id}")


def _heard_at(evidence: Evidence, call: Call) -> float:
    """When a scheduler first said that it holds this version or a newer one."""
    if evidence.heard is None:
        return call.at
    version = math.inf if call.verb == "delete" else call.version or 0
    told = evidence.heard.get(call.config_id or 0, ())
    return min((at for at, held in told if held >= version and at >= call.at), default=evidence.collected_at)


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
