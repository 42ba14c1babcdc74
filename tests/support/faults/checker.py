"""Checks the evidence of a test. The check is a pure function and does not depend on the faults of the test."""

from collections import defaultdict
from collections.abc import Callable, Iterator

from support.faults import request_rules, run_rules, series_rules
from support.faults.evidence import DeadLetterEntry, Evidence
from support.faults.history import Call
from support.faults.violations import Kind, Violation


def check(evidence: Evidence) -> list[Violation]:
    """Return all violations. If the list is empty, the guarantees held."""
    return [violation for rule in _RULES for violation in rule(evidence)]


def _changes(evidence: Evidence) -> Iterator[Violation]:
    """Accepted changes are in the table and have reached the scheduler. Refused changes have not happened."""
    last: dict[int, Call] = {}
    created: set[str] = set()
    refused: set[str] = set()
    for call in evidence.history.calls:
        if call.verb == "create":
            (refused if call.outcome == "failed" else created).add(call.subject)
        if call.config_id is not None and call.verb != "trigger" and call.outcome != "failed":
            last[call.config_id] = call
    for config_id, call in last.items():
        if call.outcome == "ok" and (lost := _missing_change(evidence, config_id, call)) is not None:
            yield Violation(Kind.LOST_CHANGE, f"config {config_id}", lost)
    for config_id, config in evidence.configs.items():
        if config.subject in refused - created:
            yield Violation(Kind.INVENTED_CHANGE, f"config {config_id}", "exists, although its creation was refused")
        if (config.scheduled_version, config.scheduled_active) != (config.version, config.enabled):
            yield Violation(
                Kind.LOST_CHANGE,
                f"config {config_id}",
                f"the scheduler has version {config.scheduled_version}, the table has {config.version}",
            )


def _missing_change(evidence: Evidence, config_id: int, call: Call) -> str | None:
    config = evidence.configs.get(config_id)
    if call.verb == "delete":
        return None if config is None else "was deleted, but is still in the table"
    if config is None:
        return "was accepted, but is not in the table"
    if config.version < (call.version or 0):
        return f"the API returned version {call.version}, but the table has {config.version}"
    return None


def _dead_letters(evidence: Evidence) -> Iterator[Violation]:
    """One message may have several dead letters: one per consumer, and more if a consumer was restarted."""
    found: dict[tuple[str, int, int], list[DeadLetterEntry]] = defaultdict(list)
    for entry in evidence.dead_letters:
        found[entry.source_topic, entry.partition, entry.offset].append(entry)
    for position, entries in found.items():
        if position not in evidence.unreadable:
            yield Violation(Kind.DEAD_LETTER_UNEXPECTED, str(position), entries[0].error)
        elif (attempts := max(entry.attempts for entry in entries)) > 5:
            yield Violation(Kind.DEAD_LETTER_UNEXPECTED, str(position), f"{attempts} attempts")
        if position in evidence.unreadable_sent_at:
            sent_at, stored_at = evidence.unreadable_sent_at[position], min(entry.at for entry in entries)
            yield from _late_dead_letter(evidence, str(position), sent_at, stored_at)
    for position in evidence.unreadable - found.keys():
        yield Violation(Kind.DEAD_LETTER_MISSING, str(position), "no consumer stored it as a dead letter")


def _late_dead_letter(evidence: Evidence, position: str, sent_at: float, stored_at: float) -> Iterator[Violation]:
    """Faults of exchanges do not change the limit. After another fault, the reader of the topic may have to restart
    first.
    """
    faults = [fault.at for fault in evidence.history.faults if not fault.kind.startswith("mood")]
    excuse = max((at for at in faults if sent_at - evidence.rules.recovery_seconds < at < stored_at), default=None)
    late = stored_at - max(sent_at, excuse or sent_at)
    if late > (evidence.rules.dead_letter_within if excuse is None else evidence.rules.recovery_seconds):
        delay = stored_at - sent_at
        yield Violation(Kind.DEAD_LETTER_LATE, position, f"stored as a dead letter {delay:.1f} s after it was sent")


_RULES: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    run_rules.lost_slots,
    run_rules.lost_ticks,
    run_rules.duplicates,
    run_rules.early,
    run_rules.ticks_while_disabled,
    run_rules.stuck,
    run_rules.late,
    run_rules.reordered,
    run_rules.superseded_by_nothing,
    series_rules.candles,
    series_rules.stale_candles,
    series_rules.ledger,
    series_rules.spans,
    series_rules.rejected_rows,
    series_rules.collected_again,
    request_rules.requests,
    _changes,
    _dead_letters,
)
