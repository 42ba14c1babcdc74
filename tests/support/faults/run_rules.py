"""Rules about slots, ticks and runs: each slot has one run, no run is early, and each run ends."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from contracts.coverage import to_instant
from contracts.ticks import slot_run_id
from contracts.vocabulary import ErrorClass
from scheduler.grid import Grid, grid_of
from support.faults.evidence import Evidence, Run, Tick
from support.faults.history import Call
from support.faults.violations import Kind, Violation

_FORWARD = {"running": 0, "presumed": 1, "skipped": 2, "failed": 3, "success": 4}
"""The order of a run's statuses. A run may be executed twice; then the better end counts."""
_SHORTEST_INTERVAL = 60.0


class ActivePeriod(NamedTuple):
    """A period in which one version of a config was valid and enabled. Times are in milliseconds."""

    config_id: int
    grid: Grid
    after_ms: int
    until_ms: int


def active_periods(evidence: Evidence) -> Iterator[ActivePeriod]:
    """The periods in which a config's slots were certainly due, with their grid.

    A version is valid until the next version. If the next known version has the next number, it replaced this one. If
    not, a call without a response replaced this one, at the earliest when the call was made.
    """
    for config_id, changes in _changes_by_config(evidence).items():
        for number, change in enumerate(changes):
            if change.outcome == "unknown" or change.version is None or change.since is None:
                continue
            end = _valid_until(evidence, change, changes[number + 1 :])
            if change.enabled and change.interval_minutes:
                grid = grid_of(config_id, change.interval_minutes, evidence.rules.spread_ms)
                yield ActivePeriod(config_id, grid, _ms(change.since), _ms(min(end, evidence.until)))


def _changes_by_config(evidence: Evidence) -> dict[int, list[Call]]:
    """Calls that changed a config, or may have changed it."""
    changes: dict[int, list[Call]] = defaultdict(list)
    for call in evidence.history.calls:
        if call.config_id is not None and call.verb != "trigger" and call.outcome != "failed":
            changes[call.config_id].append(call)
    return changes


def _valid_until(evidence: Evidence, change: Call, later: Sequence[Call]) -> float:
    assert change.version is not None
    unanswered = (call.at for call in later if call.outcome == "unknown")
    known = next((call for call in later if call.outcome == "ok"), None)
    if known is None:
        stored = evidence.configs.get(change.config_id or 0)
        is_last = stored is not None and stored.version == change.version
        return evidence.until if is_last else next(unanswered, evidence.until)
    if known.verb == "delete":
        return next(unanswered, known.at)
    if known.version == change.version + 1:
        return known.since or known.at
    if known.version == change.version:
        return change.since or change.at  # it changed nothing, and shows which version is valid now
    return next(unanswered, known.since or known.at)


def lost_slots(evidence: Evidence) -> Iterator[Violation]:
    """While the system still works, this also returns slots that it has not handled yet."""
    runs, ticks = {run.run_id for run in evidence.runs}, _by_config(evidence.ticks)
    skipped = dict(evidence.skipped_slots)
    for period in active_periods(evidence):
        config_ticks = ticks.get(period.config_id, [])
        slot = period.grid.slot_after(_settled_by_initial_tick(config_ticks, period))
        while slot <= period.until_ms:
            if str(slot_run_id(period.config_id, to_instant(slot))) not in runs and not any(
                _covers(tick, slot, period.grid) for tick in config_ticks
            ):
                if skipped.get(period.config_id, 0) > 0:
                    skipped[period.config_id] -= 1
                else:
                    yield Violation(Kind.LOST_SLOT, f"config {period.config_id}", to_instant(slot).isoformat())
            slot += period.grid.interval_ms


def _settled_by_initial_tick(ticks: Sequence[Tick], period: ActivePeriod) -> int:
    """The time up to which the period's initial tick settles slots; its start if there is no such tick.

    Only the initial tick at the start of the period counts. It may have been published several times.
    """
    own = [tick for tick in ticks if tick.trigger != "manual" and _ms(tick.emitted_at) >= period.after_ms]
    first = min(own, key=lambda tick: tick.emitted_at, default=None)
    if first is None or first.trigger != "initial":
        return period.after_ms
    return max(_ms(tick.emitted_at) for tick in own if tick.run_id == first.run_id)


def _covers(tick: Tick, slot: int, grid: Grid) -> bool:
    """Whether the tick counts this slot as missed.

    A scheduled tick counts slots before its own slot. An initial tick counts slots before the time of its publication.
    """
    at = _ms(tick.scheduled_for) if tick.trigger == "scheduled" else grid.slot_after(_ms(tick.emitted_at))
    return tick.trigger != "manual" and at - tick.missed_slots * grid.interval_ms <= slot < at


def lost_ticks(evidence: Evidence) -> Iterator[Violation]:
    runs = {run.run_id for run in evidence.runs}
    expected = {tick.run_id: f"{tick.trigger} tick of config {tick.config_id}" for tick in evidence.ticks}
    for call in evidence.history.calls:
        if call.verb == "trigger" and call.outcome == "ok" and call.run_id is not None:
            expected.setdefault(call.run_id, f"accepted trigger of config {call.config_id}")
    for run_id, what in expected.items():
        if run_id not in runs:
            yield Violation(Kind.LOST_TICK, run_id, what)


def duplicates(evidence: Evidence) -> Iterator[Violation]:
    rows: dict[str, int] = defaultdict(int)
    slots: dict[tuple[int, float], set[str]] = defaultdict(set)
    for run in evidence.runs:
        rows[run.run_id] += 1
    all_slots: list[Run | Tick] = [*evidence.runs, *evidence.ticks]
    for each in all_slots:
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
    """One minute after the last fault, ticks and runs are on time."""
    since, max_delay = evidence.rules.on_time_from, evidence.rules.late_after
    if since is None:
        return
    for run in evidence.runs:
        if run.trigger == "scheduled" and since <= run.scheduled_for <= run.started_at - max_delay:
            yield Violation(Kind.LATE, run.run_id, f"started {run.started_at - run.scheduled_for:.1f} s after its slot")
    for tick in evidence.ticks:
        if tick.trigger == "scheduled" and tick.missed_slots and since <= tick.scheduled_for - _SHORTEST_INTERVAL:
            yield Violation(Kind.LATE, tick.run_id, f"counts {tick.missed_slots} missed slots")


def ticks_while_disabled(evidence: Evidence) -> Iterator[Violation]:
    """A disabled or deleted config gets no ticks, except for a short time after a scheduler reported the change."""
    ticks = _by_config(evidence.ticks)
    for config_id, changes in _changes_by_config(evidence).items():
        for number, call in enumerate(changes):
            if call.outcome == "unknown" or (call.verb != "delete" and call.enabled):
                continue
            later = changes[number + 1 :]
            begin = _reported_at(evidence, call) + evidence.rules.change_grace
            end = evidence.collected_at
            if later:
                end = min(later[0].at, end if call.verb == "delete" else _valid_until(evidence, call, later))
            for tick in ticks.get(config_id, ()):
                if tick.trigger != "manual" and begin < tick.emitted_at < end:
                    yield Violation(
                        Kind.RUN_WHILE_DISABLED, f"config {config_id}", f"{tick.trigger} tick {tick.run_id}"
                    )


def _reported_at(evidence: Evidence, call: Call) -> float:
    """When a scheduler first reported this version or a newer one."""
    if evidence.scheduler_reports is None:
        return call.at
    version = math.inf if call.verb == "delete" else call.version or 0
    reports = evidence.scheduler_reports.get(call.config_id or 0, ())
    return min((at for at, reported in reports if reported >= version and at >= call.at), default=evidence.collected_at)


def stuck(evidence: Evidence) -> Iterator[Violation]:
    """No run continues after its deadline, and another collector repeats the runs of a killed collector."""
    for run in evidence.runs:
        if run.error_class == ErrorClass.COLLECTOR_LOST:
            yield Violation(Kind.NOT_RUN_AGAIN, run.run_id, "its collector died, and no other collector repeated it")
        if run.status != "running":
            continue
        if run.deadline_at is None or run.deadline_at + evidence.rules.stuck_after < evidence.collected_at:
            yield Violation(Kind.STUCK, run.run_id, f"still running, its deadline was {run.deadline_at}")


def reordered(evidence: Evidence) -> Iterator[Violation]:
    for run in evidence.runs:
        if run.finished_at is not None and run.finished_at < run.started_at:
            yield Violation(Kind.REORDERED, run.run_id, "finished before it started")
    reached: dict[str, int] = {}
    for change in evidence.history.status_changes:
        rank = _FORWARD["presumed" if change.presumed else change.status]
        if rank < reached.get(change.run_id, 0):
            yield Violation(Kind.REORDERED, change.run_id, f"went back to {change.status}")
        reached[change.run_id] = max(rank, reached.get(change.run_id, 0))


def superseded_by_nothing(evidence: Evidence) -> Iterator[Violation]:
    """A superseded run names a run of a later slot of its config. So the last of a chain was not superseded."""
    runs = {run.run_id: run for run in evidence.runs}
    for run in evidence.runs:
        if run.error_class != ErrorClass.SUPERSEDED:
            continue
        newer = runs.get(run.superseded_by or "")
        if newer is None or newer.config_id != run.config_id or newer.scheduled_for <= run.scheduled_for:
            yield Violation(Kind.NOT_SUPERSEDED, run.run_id, f"it names run {run.superseded_by}")
        elif run.trigger == "manual" or newer.trigger == "manual":
            yield Violation(Kind.NOT_SUPERSEDED, run.run_id, "manual runs neither supersede nor are superseded")


def _by_config(ticks: Sequence[Tick]) -> dict[int, list[Tick]]:
    by_config: dict[int, list[Tick]] = defaultdict(list)
    for tick in ticks:
        by_config[tick.config_id].append(tick)
    return by_config


def _ms(instant: float) -> int:
    return round(instant * 1000)
