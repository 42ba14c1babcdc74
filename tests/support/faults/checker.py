"""Judges a whole run of the system by its evidence: pure, and blind to how it was broken meanwhile."""

from collections import defaultdict
from collections.abc import Callable, Iterator

from scheduler.grid import to_instant
from support.faults import request_rules, run_rules
from support.faults.evidence import Evidence, Letter
from support.faults.history import Call
from support.faults.violations import Kind, Violation


def check(evidence: Evidence) -> list[Violation]:
    """Everything that should not be so. Empty: the guarantees held."""
    return [violation for rule in _RULES for violation in rule(evidence)]


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
    """Of one message there may be several: of each consumer that met it, and of each life of it."""
    found: dict[tuple[str, int, int], list[Letter]] = defaultdict(list)
    for letter in evidence.letters:
        found[letter.source_topic, letter.partition, letter.offset].append(letter)
    for place, letters in found.items():
        if place not in evidence.poison:
            yield Violation(Kind.LETTER_UNEXPECTED, str(place), letters[0].error)
        elif (attempts := max(letter.attempts for letter in letters)) > 5:
            yield Violation(Kind.LETTER_UNEXPECTED, str(place), f"{attempts} attempts")
        if place in evidence.poisoned_at:
            yield from _late_letter(evidence, str(place), evidence.poisoned_at[place], min(each.at for each in letters))
    for place in evidence.poison - found.keys():
        yield Violation(Kind.LETTER_MISSING, str(place), "nobody put it aside")


def _late_letter(evidence: Evidence, place: str, sent: float, put_aside: float) -> Iterator[Violation]:
    """In time whatever exchanges do; after any other fault whoever reads the topic may have to come back first."""
    faults = [fault.at for fault in evidence.history.faults if not fault.what.startswith("mood")]
    excuse = max((at for at in faults if sent - evidence.rules.heals_within < at < put_aside), default=None)
    late = put_aside - max(sent, excuse or sent)
    if late > (evidence.rules.letter_within if excuse is None else evidence.rules.heals_within):
        yield Violation(Kind.LETTER_LATE, place, f"put aside {put_aside - sent:.1f} s after it was sent")


_RULES: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    run_rules.lost_slots,
    run_rules.lost_ticks,
    run_rules.duplicates,
    run_rules.early,
    run_rules.unasked,
    run_rules.stuck,
    run_rules.late,
    run_rules.reordered,
    _candles,
    _stale_candles,
    request_rules.requests,
    _changes,
    _letters,
)
