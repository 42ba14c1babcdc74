"""A checker that finds nothing proves nothing: a good run of the system, and the same run spoilt in each known way."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.ticks import initial_run_id
from support.faults.checker import check
from support.faults.evidence import Evidence, Letter
from support.faults.history import Fault, History, Seen
from support.faults.made_up import (
    CANDLE,
    CONFIG,
    OPENS,
    REFUSED_AT,
    SERIES,
    SLOTS,
    START,
    a_call,
    a_request,
    good,
    history,
    run_id,
    with_call,
    with_config,
    with_requests,
    with_run,
    without,
)
from support.faults.violations import Kind

BAD: list[tuple[str, Kind, Callable[[Evidence], Evidence]]] = [
    ("a slot in the middle", Kind.LOST_SLOT, lambda e: without(e, SLOTS[2])),
    ("the last slot", Kind.LOST_SLOT, lambda e: without(e, SLOTS[-1])),
    ("the first slot, before the initial tick", Kind.LOST_SLOT, lambda e: without(e, SLOTS[0])),
    ("a tick that nobody ran", Kind.LOST_TICK, lambda e: replace(e, runs=e.runs[1:])),
    (
        "a trigger that was answered",
        Kind.LOST_TICK,
        lambda e: with_call(e, verb="trigger", run_id="22222222-0000-0000-0000-000000000000"),
    ),
    ("two rows of a run", Kind.DUPLICATE, lambda e: replace(e, runs=(*e.runs, e.runs[-1]))),
    (
        "two runs of a slot",
        Kind.DUPLICATE,
        lambda e: replace(e, runs=(*e.runs, replace(e.runs[-1], run_id="11111111-0000-0000-0000-000000000000"))),
    ),
    ("a run before its slot", Kind.EARLY, lambda e: with_run(e, started_at=SLOTS[-1] - 0.001)),
    (
        "a tick before its slot",
        Kind.EARLY,
        lambda e: replace(e, ticks=(*e.ticks[:-1], replace(e.ticks[-1], emitted_at=SLOTS[-1] - 1))),
    ),
    (
        "a tick of a disabled config",
        Kind.UNASKED,
        lambda e: with_config(
            with_call(e, verb="update", version=2, enabled=False, at=SLOTS[-1] - 20, since=SLOTS[-1] + 2),
            version=2,
            enabled=False,
            scheduled_version=2,
            scheduled_active=False,
        ),
    ),
    (
        "a late run in quiet times",
        Kind.LATE,
        lambda e: with_run(
            replace(e, rules=replace(e.rules, on_time_from=SLOTS[1])),
            started_at=SLOTS[-1] + 11,
            finished_at=SLOTS[-1] + 12,
        ),
    ),
    (
        "a slot that quiet times left to a later tick",
        Kind.LATE,
        lambda e: replace(
            without(e, SLOTS[3]),
            rules=replace(e.rules, on_time_from=SLOTS[1]),
            ticks=(*without(e, SLOTS[3]).ticks[:-1], replace(e.ticks[-1], missed_slots=1)),
        ),
    ),
    ("a run for ever", Kind.STUCK, lambda e: with_run(e, status="running", finished_at=None)),
    (
        "a run that nobody took up again",
        Kind.ABANDONED,
        lambda e: with_run(e, status="failed", error_class="collector_lost"),
    ),
    ("a run without a deadline", Kind.STUCK, lambda e: with_run(e, status="running", deadline_at=None)),
    ("an end before the start", Kind.REORDERED, lambda e: with_run(e, finished_at=SLOTS[-1] - 5)),
    (
        "an ended run that runs again",
        Kind.REORDERED,
        lambda e: replace(e, history=history(Seen(at=SLOTS[1], run_id=run_id(SLOTS[0]), status="running"))),
    ),
    (
        "a guess that replaces an ending",
        Kind.REORDERED,
        lambda e: replace(
            e, history=history(Seen(at=SLOTS[1], run_id=run_id(SLOTS[0]), status="failed", presumed=True))
        ),
    ),
    (
        "a hole in the candles",
        Kind.CANDLE_MISSING,
        lambda e: replace(e, candles={SERIES: dict.fromkeys(OPENS[:2] + OPENS[3:], CANDLE)}),
    ),
    ("a series that is empty", Kind.CANDLE_MISSING, lambda e: replace(e, candles={})),
    (
        "a candle that Kafka took and the table lacks",
        Kind.CANDLE_MISSING,
        lambda e: replace(e, published={SERIES: {OPENS[-1] + 60_000: 300}}),
    ),
    (
        "a candle that never was",
        Kind.CANDLE_EXTRA,
        lambda e: replace(e, candles={SERIES: dict.fromkeys([*OPENS, OPENS[-1] + 600_000], CANDLE)}),
    ),
    (
        "a candle with another price",
        Kind.CANDLE_WRONG,
        lambda e: replace(e, candles={SERIES: dict.fromkeys(OPENS, CANDLE) | {OPENS[1]: (9.0, *CANDLE[1:])}}),
    ),
    (
        "a candle of an older fetch",
        Kind.CANDLE_STALE,
        lambda e: replace(e, fetched_at={SERIES: dict.fromkeys(OPENS, 200) | {OPENS[1]: 199}}),
    ),
    ("four requests in a second", Kind.OVER_RATE, lambda e: with_requests(e, a_request(START + 0.95))),
    (
        "a request during the pause",
        Kind.BEFORE_RETRY_AFTER,
        lambda e: with_requests(e, a_request(REFUSED_AT + 4.9)),
    ),
    ("a change that the table lacks", Kind.LOST_CHANGE, lambda e: with_call(e, verb="update", version=2)),
    ("a config that is gone", Kind.LOST_CHANGE, lambda e: replace(e, configs={})),
    (
        "a deleted config that is there",
        Kind.LOST_CHANGE,
        lambda e: with_call(e, verb="delete", enabled=None, at=SLOTS[-1] + 5),
    ),
    (
        "a change that the scheduler lacks",
        Kind.LOST_CHANGE,
        lambda e: with_config(with_call(e, verb="update", version=2), version=2),
    ),
    ("a config that still ticks", Kind.LOST_CHANGE, lambda e: with_config(e, enabled=False)),
    (
        "a refused creation that happened",
        Kind.INVENTED_CHANGE,
        lambda e: with_config(with_call(e, outcome="failed", subject="okx|X/Y", config_id=None), subject="okx|X/Y"),
    ),
    (
        "a good message put aside",
        Kind.LETTER_UNEXPECTED,
        lambda e: replace(e, letters=(*e.letters, Letter(source_topic="ticks", partition=0, offset=1))),
    ),
    (
        "poison tried too often",
        Kind.LETTER_UNEXPECTED,
        lambda e: replace(e, letters=(replace(e.letters[0], attempts=6),)),
    ),
    (
        "poison that lay about for longer than five seconds",
        Kind.LETTER_LATE,
        lambda e: replace(e, letters=(replace(e.letters[0], at=START + 205.1),)),
    ),
    ("poison that vanished", Kind.LETTER_MISSING, lambda e: replace(e, letters=())),
]


def test_a_good_run_of_the_system_has_no_violation() -> None:
    assert check(good()) == []


@pytest.mark.parametrize(("kind", "spoil"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_spoilt_one_has_exactly_that_kind_of_violation(kind: Kind, spoil: Callable[[Evidence], Evidence]) -> None:
    assert {violation.kind for violation in check(spoil(good()))} == {kind}


def test_every_kind_of_violation_has_a_bad_history() -> None:
    assert {case[1] for case in BAD} == set(Kind)


def test_a_slot_that_a_later_tick_counts_as_missed_is_not_lost() -> None:
    evidence = without(without(good(), SLOTS[1]), SLOTS[2])
    late = [replace(tick, missed_slots=2 * (tick.scheduled_for == SLOTS[3])) for tick in evidence.ticks]
    assert check(replace(evidence, ticks=tuple(late))) == []
    one = [replace(tick, missed_slots=1 * (tick.scheduled_for == SLOTS[3])) for tick in evidence.ticks]
    assert [each.kind for each in check(replace(evidence, ticks=tuple(one)))] == [Kind.LOST_SLOT]


def test_a_slot_before_a_late_initial_tick_is_not_lost() -> None:
    evidence = without(good(), SLOTS[0])
    first = replace(evidence.ticks[0], emitted_at=SLOTS[0] + 1)
    assert check(replace(evidence, ticks=(first, *evidence.ticks[1:]))) == []


def test_an_initial_tick_of_a_later_version_excuses_nothing_before_it() -> None:
    off = a_call(at=SLOTS[2] + 1, since=SLOTS[2] + 1, verb="update", version=2, enabled=False)
    on = a_call(at=SLOTS[3] + 1, since=SLOTS[3] + 1, verb="update", version=3)
    again = replace(good().ticks[0], run_id=str(initial_run_id(CONFIG, 3)), emitted_at=SLOTS[3] + 2)
    evidence = with_config(replace(good(), history=history(off, on)), version=3, scheduled_version=3)
    rows = (*evidence.runs, replace(evidence.runs[0], run_id=again.run_id))
    evidence = replace(evidence, ticks=(*evidence.ticks, again), runs=rows)
    evidence = without(evidence, SLOTS[3])
    assert check(evidence) == []
    assert [each.kind for each in check(without(evidence, SLOTS[1]))] == [Kind.LOST_SLOT]


def test_a_slot_that_the_scheduler_says_it_passed_over_is_excused_once() -> None:
    evidence = replace(without(good(), SLOTS[1]), skipped_slots={CONFIG: 1})
    assert check(evidence) == []
    assert [each.kind for each in check(without(evidence, SLOTS[3]))] == [Kind.LOST_SLOT]


def test_a_call_of_unknown_outcome_may_have_happened_or_not() -> None:
    unsure = a_call(verb="update", outcome="unknown", at=SLOTS[3] + 1, since=None, version=None)
    evidence = replace(without(good(), SLOTS[-1]), history=history(unsure))
    assert [each.kind for each in check(evidence)] == [Kind.LOST_SLOT]  # the table says that it did not happen
    assert check(with_config(evidence, version=2, scheduled_version=2)) == []


def test_what_follows_a_call_of_unknown_outcome_is_judged_again_once_a_version_is_known() -> None:
    unsure = a_call(verb="update", outcome="unknown", at=SLOTS[0] + 1, since=None, version=None)
    again = a_call(verb="update", at=SLOTS[1] + 1, since=SLOTS[1] + 1, version=3)
    evidence = with_config(replace(good(), history=history(unsure, again)), version=3, scheduled_version=3)
    assert check(evidence) == []
    assert check(without(evidence, SLOTS[1])) == []  # version 2, whatever it was, was in force
    assert [each.kind for each in check(without(evidence, SLOTS[2]))] == [Kind.LOST_SLOT]


def test_slots_that_an_initial_tick_counts_as_missed_are_not_lost() -> None:
    more = a_call(verb="update", at=SLOTS[3] + 1, since=SLOTS[3] + 1, version=2)
    evidence = with_config(replace(good(), history=history(more)), version=2, scheduled_version=2)
    late = replace(good().ticks[0], run_id=str(initial_run_id(CONFIG, 2)), emitted_at=SLOTS[3] + 2, missed_slots=2)
    evidence = replace(
        without(without(evidence, SLOTS[2]), SLOTS[3]),
        runs=(*without(without(evidence, SLOTS[2]), SLOTS[3]).runs, replace(evidence.runs[0], run_id=late.run_id)),
    )
    assert check(replace(evidence, ticks=(*evidence.ticks, late))) == []
    one = replace(late, missed_slots=1)
    assert [each.kind for each in check(replace(evidence, ticks=(*evidence.ticks, one)))] == [Kind.LOST_SLOT]


def test_a_tick_of_a_disabled_config_is_judged_from_when_its_scheduler_has_heard() -> None:
    off = a_call(verb="update", version=2, enabled=False, at=SLOTS[1] + 1, since=SLOTS[-1] + 2)
    evidence = with_config(
        replace(good(), history=history(off)),
        version=2,
        enabled=False,
        scheduled_version=2,
        scheduled_active=False,
    )
    assert {each.kind for each in check(evidence)} == {Kind.UNASKED}
    assert check(replace(evidence, heard={CONFIG: ((START, 1), (SLOTS[-1] - 1, 2))})) == []
    assert {each.kind for each in check(replace(evidence, heard={CONFIG: ((START, 1), (SLOTS[1] + 2, 2))}))} == {
        Kind.UNASKED
    }


def test_a_request_that_was_cut_before_an_answer_does_not_count_for_the_rate() -> None:
    assert check(with_requests(good(), a_request(START + 0.95, status=None))) == []


def test_a_collector_that_took_over_learns_of_a_pause_from_its_first_refusals() -> None:
    soon = [a_request(REFUSED_AT + 1 + 0.4 * k, 429, retry_after=1) for k in range(3)]
    evidence = with_requests(good(), *soon)
    assert {each.kind for each in check(evidence)} == {Kind.BEFORE_RETRY_AFTER}
    taken_over = history(Fault(at=REFUSED_AT - 10, what="SIGKILL", target="collector-2"))
    assert check(replace(evidence, history=taken_over)) == []
    stubborn = with_requests(evidence, a_request(REFUSED_AT + 4, 429, retry_after=0.1))
    assert {each.kind for each in check(replace(stubborn, history=taken_over))} == {Kind.BEFORE_RETRY_AFTER}


def test_no_slot_is_due_while_a_config_is_disabled() -> None:
    off = a_call(at=SLOTS[2] + 1, since=SLOTS[2] + 1, verb="update", version=2, enabled=False)
    on = a_call(at=SLOTS[3] + 1, since=SLOTS[3] + 1, verb="update", version=3)
    evidence = replace(without(good(), SLOTS[3]), history=history(off, on))
    assert check(with_config(evidence, version=3, scheduled_version=3)) == []


def test_a_guessed_ending_may_be_replaced_by_the_real_one() -> None:
    other = run_id(SLOTS[1])
    guessed = Seen(at=SLOTS[1] + 30, run_id=other, status="failed", presumed=True)
    assert (
        check(replace(good(), history=history(guessed, Seen(at=SLOTS[1] + 31, run_id=other, status="success")))) == []
    )


@pytest.mark.parametrize(
    ("fault", "seconds", "verdict"),
    [
        (Fault(at=START + 190, what="SIGKILL", target="collector"), 49, []),
        (Fault(at=START + 190, what="SIGKILL", target="collector"), 61, [Kind.LETTER_LATE]),
        (Fault(at=START + 205, what="SIGKILL", target="collector"), 59, []),
        (Fault(at=START + 130, what="SIGKILL", target="collector"), 6, [Kind.LETTER_LATE]),
        (Fault(at=START + 201, what="mood latency", target="binance"), 6, [Kind.LETTER_LATE]),
    ],
    ids=["restarting", "restarted long ago", "killed meanwhile", "recovered before", "an exchange is slow"],
)
def test_poison_may_wait_while_its_reader_comes_back_and_not_because_an_exchange_is_slow(
    fault: Fault, seconds: float, verdict: list[Kind]
) -> None:
    evidence = replace(good(), history=history(fault))
    late = replace(evidence, letters=(replace(evidence.letters[0], at=START + 200 + seconds),))
    assert [each.kind for each in check(late)] == verdict


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = History(tmp_path / "history.jsonl")
    for entry in history().entries:
        written.note(entry)
    assert History.read(tmp_path / "history.jsonl").entries == written.entries == history().entries
