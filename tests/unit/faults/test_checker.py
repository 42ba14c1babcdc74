"""The checker accepts a good history, and finds each kind of violation in a bad one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.ticks import initial_run_id
from support.faults.bad_histories import BAD
from support.faults.bad_series import BAD_SERIES
from support.faults.checker import check
from support.faults.evidence import Evidence
from support.faults.history import Fault, History, StatusChange
from support.faults.sample_histories import (
    CONFIG,
    HOLE,
    OLD,
    REFUSED_AT,
    SERIES,
    SLOTS,
    START,
    TAIL,
    a_call,
    a_request,
    good_evidence,
    history,
    run_id,
    with_config,
    with_requests,
    with_superseded_run,
    without_slot,
)
from support.faults.violations import Kind


def test_a_good_history_has_no_violation() -> None:
    assert check(good_evidence()) == []


@pytest.mark.parametrize(("kind", "add_violation"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_history_has_exactly_its_kind_of_violation(
    kind: Kind, add_violation: Callable[[Evidence], Evidence]
) -> None:
    assert {violation.kind for violation in check(add_violation(good_evidence()))} == {kind}


def test_every_kind_of_violation_has_a_bad_history() -> None:
    assert {case[1] for case in BAD} == set(Kind)


def test_a_slot_that_a_later_tick_counts_as_missed_is_not_lost() -> None:
    evidence = without_slot(without_slot(good_evidence(), SLOTS[1]), SLOTS[2])
    late = [replace(tick, missed_slots=2 * (tick.scheduled_for == SLOTS[3])) for tick in evidence.ticks]
    assert check(replace(evidence, ticks=tuple(late))) == []
    one = [replace(tick, missed_slots=1 * (tick.scheduled_for == SLOTS[3])) for tick in evidence.ticks]
    assert [each.kind for each in check(replace(evidence, ticks=tuple(one)))] == [Kind.LOST_SLOT]


def test_a_slot_before_a_late_initial_tick_is_not_lost() -> None:
    evidence = without_slot(good_evidence(), SLOTS[0])
    first = replace(evidence.ticks[0], emitted_at=SLOTS[0] + 1)
    assert check(replace(evidence, ticks=(first, *evidence.ticks[1:]))) == []


def test_an_initial_tick_of_a_later_version_does_not_cover_earlier_slots() -> None:
    off = a_call(at=SLOTS[2] + 1, since=SLOTS[2] + 1, verb="update", version=2, enabled=False)
    on = a_call(at=SLOTS[3] + 1, since=SLOTS[3] + 1, verb="update", version=3)
    again = replace(good_evidence().ticks[0], run_id=str(initial_run_id(CONFIG, 3)), emitted_at=SLOTS[3] + 2)
    evidence = with_config(replace(good_evidence(), history=history(off, on)), version=3, scheduled_version=3)
    rows = (*evidence.runs, replace(evidence.runs[0], run_id=again.run_id))
    evidence = replace(evidence, ticks=(*evidence.ticks, again), runs=rows)
    evidence = without_slot(evidence, SLOTS[3])
    assert check(evidence) == []
    assert [each.kind for each in check(without_slot(evidence, SLOTS[1]))] == [Kind.LOST_SLOT]


def test_a_run_that_was_superseded_by_a_later_slot_is_accepted() -> None:
    assert check(with_superseded_run(good_evidence(), run_id(SLOTS[3]))) == []


def test_a_slot_that_the_scheduler_reported_as_skipped_is_accepted_once() -> None:
    evidence = replace(without_slot(good_evidence(), SLOTS[1]), skipped_slots={CONFIG: 1})
    assert check(evidence) == []
    assert [each.kind for each in check(without_slot(evidence, SLOTS[3]))] == [Kind.LOST_SLOT]


def test_a_call_of_unknown_outcome_may_have_happened_or_not() -> None:
    unanswered = a_call(verb="update", outcome="unknown", at=SLOTS[3] + 1, since=None, version=None)
    evidence = replace(without_slot(good_evidence(), SLOTS[-1]), history=history(unanswered))
    assert [each.kind for each in check(evidence)] == [Kind.LOST_SLOT]  # the table shows that the change did not happen
    assert check(with_config(evidence, version=2, scheduled_version=2)) == []


def test_slots_after_a_call_of_unknown_outcome_are_checked_once_a_version_is_known() -> None:
    unanswered = a_call(verb="update", outcome="unknown", at=SLOTS[0] + 1, since=None, version=None)
    again = a_call(verb="update", at=SLOTS[1] + 1, since=SLOTS[1] + 1, version=3)
    evidence = with_config(replace(good_evidence(), history=history(unanswered, again)), version=3, scheduled_version=3)
    assert check(evidence) == []
    assert check(without_slot(evidence, SLOTS[1])) == []  # version 2 was valid, and its content is unknown
    assert [each.kind for each in check(without_slot(evidence, SLOTS[2]))] == [Kind.LOST_SLOT]


def test_slots_that_an_initial_tick_counts_as_missed_are_not_lost() -> None:
    more = a_call(verb="update", at=SLOTS[3] + 1, since=SLOTS[3] + 1, version=2)
    evidence = with_config(replace(good_evidence(), history=history(more)), version=2, scheduled_version=2)
    late = replace(
        good_evidence().ticks[0], run_id=str(initial_run_id(CONFIG, 2)), emitted_at=SLOTS[3] + 2, missed_slots=2
    )
    evidence = replace(
        without_slot(without_slot(evidence, SLOTS[2]), SLOTS[3]),
        runs=(
            *without_slot(without_slot(evidence, SLOTS[2]), SLOTS[3]).runs,
            replace(evidence.runs[0], run_id=late.run_id),
        ),
    )
    assert check(replace(evidence, ticks=(*evidence.ticks, late))) == []
    one = replace(late, missed_slots=1)
    assert [each.kind for each in check(replace(evidence, ticks=(*evidence.ticks, one)))] == [Kind.LOST_SLOT]


def test_a_tick_of_a_disabled_config_is_checked_from_the_time_of_the_scheduler_report() -> None:
    off = a_call(verb="update", version=2, enabled=False, at=SLOTS[1] + 1, since=SLOTS[-1] + 2)
    evidence = with_config(
        replace(good_evidence(), history=history(off)),
        version=2,
        enabled=False,
        scheduled_version=2,
        scheduled_active=False,
    )
    assert {each.kind for each in check(evidence)} == {Kind.RUN_WHILE_DISABLED}
    assert check(replace(evidence, scheduler_reports={CONFIG: ((START, 1), (SLOTS[-1] - 1, 2))})) == []
    assert {
        each.kind for each in check(replace(evidence, scheduler_reports={CONFIG: ((START, 1), (SLOTS[1] + 2, 2))}))
    } == {Kind.RUN_WHILE_DISABLED}


def test_a_request_without_a_response_does_not_count_for_the_rate() -> None:
    assert check(with_requests(good_evidence(), a_request(START + 0.95, status=None))) == []


def test_a_collector_that_took_over_a_lane_may_cause_a_few_refusals() -> None:
    refusals = [a_request(REFUSED_AT + 1 + 0.4 * k, 429, retry_after=1) for k in range(3)]
    evidence = with_requests(good_evidence(), *refusals)
    assert {each.kind for each in check(evidence)} == {Kind.BEFORE_RETRY_AFTER}
    taken_over = history(Fault(at=REFUSED_AT - 10, kind="SIGKILL", target="collector-2"))
    assert check(replace(evidence, history=taken_over)) == []
    one_more = with_requests(evidence, a_request(REFUSED_AT + 4, 429, retry_after=0.1))
    assert {each.kind for each in check(replace(one_more, history=taken_over))} == {Kind.BEFORE_RETRY_AFTER}


def test_no_slot_is_due_while_a_config_is_disabled() -> None:
    off = a_call(at=SLOTS[2] + 1, since=SLOTS[2] + 1, verb="update", version=2, enabled=False)
    on = a_call(at=SLOTS[3] + 1, since=SLOTS[3] + 1, verb="update", version=3)
    evidence = replace(without_slot(good_evidence(), SLOTS[3]), history=history(off, on))
    assert check(with_config(evidence, version=3, scheduled_version=3)) == []


def test_a_presumed_end_may_be_replaced_by_the_real_one() -> None:
    other = run_id(SLOTS[1])
    presumed_end = StatusChange(at=SLOTS[1] + 30, run_id=other, status="failed", presumed=True)
    assert (
        check(
            replace(
                good_evidence(),
                history=history(presumed_end, StatusChange(at=SLOTS[1] + 31, run_id=other, status="success")),
            )
        )
        == []
    )


@pytest.mark.parametrize(
    ("fault", "seconds", "verdict"),
    [
        (Fault(at=START + 190, kind="SIGKILL", target="collector"), 49, []),
        (Fault(at=START + 190, kind="SIGKILL", target="collector"), 61, [Kind.DEAD_LETTER_LATE]),
        (Fault(at=START + 205, kind="SIGKILL", target="collector"), 59, []),
        (Fault(at=START + 130, kind="SIGKILL", target="collector"), 6, [Kind.DEAD_LETTER_LATE]),
        (Fault(at=START + 201, kind="mood latency", target="binance"), 6, [Kind.DEAD_LETTER_LATE]),
    ],
    ids=["reader restarts", "reader restarted long before", "reader killed meanwhile", "fault before", "slow exchange"],
)
def test_an_unreadable_message_may_wait_for_the_restart_of_its_reader_but_not_for_a_slow_exchange(
    fault: Fault, seconds: float, verdict: list[Kind]
) -> None:
    evidence = replace(good_evidence(), history=history(fault))
    late = replace(evidence, dead_letters=(replace(evidence.dead_letters[0], at=START + 200 + seconds),))
    assert [each.kind for each in check(late)] == verdict


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = History(tmp_path / "history.jsonl")
    for entry in history().entries:
        written.record(entry)
    assert History.read(tmp_path / "history.jsonl").entries == written.entries == history().entries


def test_candles_before_the_first_and_after_the_last_verified_instant_and_in_open_holes_may_be_missing() -> None:
    evidence = good_evidence()
    (truth,) = evidence.truth.values()
    missing = sorted(truth.candles.keys() - evidence.candles[SERIES].keys())
    assert missing == [OLD - 60_000, *range(*HOLE, 60_000), TAIL]
    assert check(evidence) == []


@pytest.mark.parametrize(
    "case", [case for case in BAD_SERIES if case[1] is Kind.NOT_COLLECTED], ids=lambda case: case[0]
)
def test_what_a_disabled_config_or_an_unhealthy_exchange_does_not_deliver_is_not_owed(
    case: tuple[str, Kind, Callable[[Evidence], Evidence]],
) -> None:
    evidence = case[2](good_evidence())
    (truth,) = evidence.truth.values()
    excuses = [
        replace(evidence, rules=replace(evidence.rules, healthy_since=None)),
        replace(evidence, rules=replace(evidence.rules, healthy_since=evidence.until - 60)),
        replace(evidence, truth={SERIES: replace(truth, offered=frozenset())}),
        replace(evidence, truth={SERIES: replace(truth, impossible=truth.offered)}),
        with_config(evidence, timeframes=("5m",)),
        with_config(evidence, changed_at=evidence.until - 60),
    ]
    assert [check(each) for each in excuses] == [[]] * len(excuses)
