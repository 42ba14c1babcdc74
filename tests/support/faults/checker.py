"""Judges a whole run of the system by its evidence: pure, and blind to how it was broken meanwhile."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from contracts.ticks import slot_run_id
from scheduler.grid import Grid, grid_of, to_instant
from support.faults.evidence import Evidence, Request, Run, Tick
from support.faults.history import Call

_BEHIND = {"running": 0, "presumed": 1, "skipped": 2, "failed": 2, "success": 2}


class Kind(StrEnum):
    LOST_SLOT = "lost slot"
    LOST_TICK = "tick without a run"
    DUPLICATE = "duplicate"
    EARLY = "early"
    STUCK = "stuck"
    REORDERED = "reordered"
    CANDLE_MISSING = "candle missing"
    CANDLE_EXTRA = "candle extra"
    CANDLE_WRONG = "candle wrong"
    CANDLE_STALE = "candle of an older fetch"
    OVER_RATE = "over rate"
    BEFORE_RETRY_AFTER = "before Retry-After"
    LOST_CHANGE = "lost change"
    INVENTED_CHANGE = "invented change"
    LETTER_UNEXPECTED = "dead letter unexpected"
    LETTER_MISSING = "dead letter missing"


@dataclass(frozen=True)
class Violation:
    kind: Kind
    subject: str
    what: str


class Stretch(NamedTuple):
    """A time in which one version of a config was in force and enabled, in milliseconds."""

    config_id: int
    grid: Grid
    after_ms: int
    until_ms: int


def check(evidence: Evidence) -> list[Violation]:
    """Everything that should not be so. Empty: the guarantees held."""
    return [violation for rule in _RULES for violation in rule(evidence)]


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


def missing_slots(evidence: Evidence) -> list[Violation]:
    """Slots that nobody has dealt with: lost, or not yet dealt with."""
    return list(_lost_slots(evidence))


def _lost_slots(evidence: Evidence) -> Iterator[Violation]:
    runs, ticks = {run.run_id for run in evidence.runs}, _by_config(evidence.ticks)
    excused = dict(evidence.passed_over)
    for stretch in stretches(evidence):
        slot = stretch.grid.slot_after(stretch.after_ms)
        while slot <= stretch.until_ms:
            if str(slot_run_id(stretch.config_id, to_instant(slot))) not in runs and not any(
                _makes_up_for(tick, slot, stretch) for tick in ticks.get(stretch.config_id, ())
            ):
                if excused.get(stretch.config_id, 0) > 0:
                    excused[stretch.config_id] -= 1
                else:
                    yield Violation(Kind.LOST_SLOT, f"config {stretch.config_id}", to_instant(slot).isoformat())
            slot += stretch.grid.interval_ms


def _makes_up_for(tick: Tick, slot: int, stretch: Stretch) -> bool:
    """A scheduled tick counts the slots that it makes up for; an initial one settles all before it was emitted."""
    if tick.trigger == "initial":
        return stretch.after_ms <= slot <= _ms(tick.emitted_at)
    at = _ms(tick.scheduled_for)
    return tick.trigger == "scheduled" and at - tick.missed_slots * stretch.grid.interval_ms <= slot < at


def _lost_ticks(evidence: Evidence) -> Iterator[Violation]:
    runs = {run.run_id for run in evidence.runs}
    asked = {tick.run_id: f"{tick.trigger} tick of config {tick.config_id}" for tick in evidence.ticks}
    for call in evidence.history.calls:
        if call.verb == "trigger" and call.outcome == "ok" and call.run_id is not None:
            asked.setdefault(call.run_id, f"trigger of config {call.config_id}, answered well")
    for run_id, what in asked.items():
        if run_id not in runs:
            yield Violation(Kind.LOST_TICK, run_id, what)


def _duplicates(evidence: Evidence) -> Iterator[Violation]:
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


def _early(evidence: Evidence) -> Iterator[Violation]:
    for run in evidence.runs:
        if run.trigger == "scheduled" and run.started_at < run.scheduled_for:
            yield Violation(Kind.EARLY, run.run_id, f"started {run.scheduled_for - run.started_at:.3f} s too early")
    for tick in evidence.ticks:
        if tick.trigger == "scheduled" and tick.emitted_at < tick.scheduled_for:
            yield Violation(Kind.EARLY, tick.run_id, f"emitted {tick.scheduled_for - tick.emitted_at:.3f} s too early")


def _stuck(evidence: Evidence) -> Iterator[Violation]:
    for run in evidence.runs:
        if run.status != "running":
            continue
        if run.deadline_at is None or run.deadline_at + evidence.rules.lost_after < evidence.collected_at:
            yield Violation(Kind.STUCK, run.run_id, f"still running, its deadline was {run.deadline_at}")


def _reordered(evidence: Evidence) -> Iterator[Violation]:
    for run in evidence.runs:
        if run.finished_at is not None and run.finished_at < run.started_at:
            yield Violation(Kind.REORDERED, run.run_id, "finished before it started")
    reached: dict[str, int] = {}
    for seen in evidence.history.seen:
        rank = _BEHIND["presumed" if seen.presumed else seen.status]
        if rank < reached.get(seen.run_id, 0):
            yield Violation(Kind.REORDERED, seen.run_id, f"went back to {seen.status}")
        reached[seen.run_id] = max(rank, reached.get(seen.run_id, 0))


def _candles(evidence: Evidence) -> Iterator[Violation]:
    """Within what successful runs say they have read, all that is true is stored; what is stored anywhere is true."""
    covered: dict[tuple[str, str, str], tuple[int, int]] = {}
    for run in evidence.runs:
        for series, (first, last) in run.read.items() if run.status == "success" else ():
            known = covered.get(series, (first, last))
            covered[series] = (min(known[0], first), max(known[1], last))
    for series in covered.keys() | evidence.candles.keys():
        truth, stored = evidence.truth.get(series, {}), evidence.candles.get(series, {})
        first, last = covered.get(series, (0, -1))
        name = "|".join(series)
        if missing := [open_ms for open_ms in truth if first <= open_ms <= last and open_ms not in stored]:
            yield Violation(Kind.CANDLE_MISSING, name, f"{len(missing)}, the first at {to_instant(min(missing))}")
        if extra := [open_ms for open_ms in stored if open_ms not in truth]:
            yield Violation(Kind.CANDLE_EXTRA, name, f"{len(extra)}, the first at {to_instant(min(extra))}")
        if wrong := [open_ms for open_ms in stored.keys() & truth.keys() if stored[open_ms] != truth[open_ms]]:
            yield Violation(Kind.CANDLE_WRONG, name, f"{len(wrong)}, the first at {to_instant(min(wrong))}")


def _stale_candles(evidence: Evidence) -> Iterator[Violation]:
    for series, newest in evidence.published.items():
        stored = evidence.fetched_at.get(series, {})
        stale = [open_ms for open_ms, fetched in newest.items() if open_ms in stored and stored[open_ms] < fetched]
        gone = [open_ms for open_ms in newest if open_ms not in stored]
        if stale:
            yield Violation(Kind.CANDLE_STALE, "|".join(series), f"{len(stale)}, first at {to_instant(min(stale))}")
        if gone:
            yield Violation(Kind.CANDLE_MISSING, "|".join(series), f"{len(gone)} that Kafka acknowledged")


def _requests(evidence: Evidence) -> Iterator[Violation]:
    by_exchange: dict[str, list[Request]] = defaultdict(list)
    for request in sorted(evidence.requests, key=lambda each: each.at):
        by_exchange[request.exchange].append(request)
    for exchange, requests in by_exchange.items():
        most = evidence.rules.most_per_second.get(exchange, len(requests))
        for first, one_too_many in zip(requests, requests[most:], strict=False):
            if one_too_many.at - first.at < 1:
                yield Violation(Kind.OVER_RATE, exchange, f"more than {most} requests in the second from {first.at}")
                break
        for refusal in requests:
            if refusal.retry_after is None:
                continue
            begin = refusal.answered_at + evidence.rules.in_flight
            end = refusal.answered_at + refusal.retry_after
            if too_soon := [each for each in requests if begin < each.at < end]:
                yield Violation(
                    Kind.BEFORE_RETRY_AFTER, exchange, f"{len(too_soon)}, {end - too_soon[0].at:.1f} s early"
                )


def _changes(evidence: Evidence) -> Iterator[Violation]:
    """What was answered well is in the table and has reached the scheduler; what was refused has not happened."""
    last: dict[int, Call] = {}
    created: set[str] = set()
    refused: set[str] = set()
    for call in evidence.history.calls:
        if call.verb == "create":
            (refused if call.outcome == "failed" else created).add(call.subject)
        if call.config_id is not None and call.verb != "trigger" and call.outcome != "failed":
            last[call.config_id] = call
    for config_id, call in last.items():
        if call.outcome == "ok" and (lost := _not_in_force(evidence, config_id, call)) is not None:
            yield Violation(Kind.LOST_CHANGE, f"config {config_id}", lost)
    for config_id, config in evidence.configs.items():
        if config.subject in refused - created:
            yield Violation(Kind.INVENTED_CHANGE, f"config {config_id}", "its creation was refused")
        if (config.scheduled_version, config.scheduled_active) != (config.version, config.enabled):
            yield Violation(
                Kind.LOST_CHANGE,
                f"config {config_id}",
                f"the scheduler holds {config.scheduled_version}, the table {config.version}",
            )


def _not_in_force(evidence: Evidence, config_id: int, call: Call) -> str | None:
    config = evidence.configs.get(config_id)
    if call.verb == "delete":
        return None if config is None else "deleted, and still there"
    if config is None:
        return "answered well, and not in the table"
    if config.version < (call.version or 0):
        return f"version {call.version} was answered, the table has {config.version}"
    return None


def _letters(evidence: Evidence) -> Iterator[Violation]:
    found = {(letter.source_topic, letter.partition, letter.offset): letter for letter in evidence.letters}
    for place, letter in found.items():
        if place not in evidence.poison:
            yield Violation(Kind.LETTER_UNEXPECTED, str(place), letter.error)
        elif letter.attempts > 5:
            yield Violation(Kind.LETTER_UNEXPECTED, str(place), f"{letter.attempts} attempts")
    for place in evidence.poison - found.keys():
        yield Violation(Kind.LETTER_MISSING, str(place), "nobody put it aside")


def _by_config(ticks: Sequence[Tick]) -> dict[int, list[Tick]]:
    by_config: dict[int, list[Tick]] = defaultdict(list)
    for tick in ticks:
        by_config[tick.config_id].append(tick)
    return by_config


def _ms(instant: float) -> int:
    return round(instant * 1000)


_RULES: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    _lost_slots,
    _lost_ticks,
    _duplicates,
    _early,
    _stuck,
    _reordered,
    _candles,
    _stale_candles,
    _requests,
    _changes,
    _letters,
)
