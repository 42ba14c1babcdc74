"""Bad histories for the checker, each with its one kind of violation."""

from collections.abc import Callable
from dataclasses import replace

from support.faults.bad_series import BAD_SERIES
from support.faults.evidence import DeadLetterEntry, Evidence
from support.faults.history import StatusChange
from support.faults.sample_histories import (
    REFUSED_AT,
    SLOTS,
    START,
    a_request,
    history,
    run_id,
    with_call,
    with_config,
    with_requests,
    with_run,
    with_superseded_run,
    without_slot,
)
from support.faults.violations import Kind

BAD: list[tuple[str, Kind, Callable[[Evidence], Evidence]]] = [
    ("a slot in the middle", Kind.LOST_SLOT, lambda e: without_slot(e, SLOTS[2])),
    ("the last slot", Kind.LOST_SLOT, lambda e: without_slot(e, SLOTS[-1])),
    ("the first slot, before the initial tick", Kind.LOST_SLOT, lambda e: without_slot(e, SLOTS[0])),
    ("a tick without a run", Kind.LOST_TICK, lambda e: replace(e, runs=e.runs[1:])),
    (
        "an accepted trigger without a run",
        Kind.LOST_TICK,
        lambda e: with_call(e, verb="trigger", run_id="22222222-0000-0000-0000-000000000000"),
    ),
    ("two rows of a run", Kind.DUPLICATE, lambda e: replace(e, runs=(*e.runs, e.runs[-1]))),
    (
        "two runs of a slot",
        Kind.DUPLICATE,
        lambda e: replace(e, runs=(*e.runs, replace(e.runs[-1], run_id="11111111-0000-0000-0000-000000000000"))),
    ),
    (
        "a superseded run that names no run",
        Kind.NOT_SUPERSEDED,
        lambda e: with_superseded_run(e, "11111111-0000-0000-0000-000000000000"),
    ),
    ("a run superseded by an earlier slot", Kind.NOT_SUPERSEDED, lambda e: with_superseded_run(e, run_id(SLOTS[0]))),
    ("a run superseded by itself", Kind.NOT_SUPERSEDED, lambda e: with_superseded_run(e, run_id(SLOTS[1]))),
    (
        "a manual run that was superseded",
        Kind.NOT_SUPERSEDED,
        lambda e: with_superseded_run(e, run_id(SLOTS[2]), trigger="manual"),
    ),
    ("a run before its slot", Kind.EARLY, lambda e: with_run(e, started_at=SLOTS[-1] - 0.001)),
    (
        "a tick before its slot",
        Kind.EARLY,
        lambda e: replace(e, ticks=(*e.ticks[:-1], replace(e.ticks[-1], emitted_at=SLOTS[-1] - 1))),
    ),
    (
        "a tick of a disabled config",
        Kind.RUN_WHILE_DISABLED,
        lambda e: with_config(
            with_call(e, verb="update", version=2, enabled=False, at=SLOTS[-1] - 20, since=SLOTS[-1] + 2),
            version=2,
            enabled=False,
            scheduled_version=2,
            scheduled_active=False,
        ),
    ),
    (
        "a late run without a fault",
        Kind.LATE,
        lambda e: with_run(
            replace(e, rules=replace(e.rules, on_time_from=SLOTS[1])),
            started_at=SLOTS[-1] + 11,
            finished_at=SLOTS[-1] + 12,
        ),
    ),
    (
        "a slot covered by a later tick without a fault",
        Kind.LATE,
        lambda e: replace(
            without_slot(e, SLOTS[3]),
            rules=replace(e.rules, on_time_from=SLOTS[1]),
            ticks=(*without_slot(e, SLOTS[3]).ticks[:-1], replace(e.ticks[-1], missed_slots=1)),
        ),
    ),
    ("a run that never ends", Kind.STUCK, lambda e: with_run(e, status="running", finished_at=None)),
    (
        "a run that no other collector repeated",
        Kind.NOT_RUN_AGAIN,
        lambda e: with_run(e, status="failed", error_class="collector_lost"),
    ),
    ("a run without a deadline", Kind.STUCK, lambda e: with_run(e, status="running", deadline_at=None)),
    ("an end before the start", Kind.REORDERED, lambda e: with_run(e, finished_at=SLOTS[-1] - 5)),
    (
        "an ended run that is running again",
        Kind.REORDERED,
        lambda e: replace(e, history=history(StatusChange(at=SLOTS[1], run_id=run_id(SLOTS[0]), status="running"))),
    ),
    (
        "a presumed end that replaces a real one",
        Kind.REORDERED,
        lambda e: replace(
            e, history=history(StatusChange(at=SLOTS[1], run_id=run_id(SLOTS[0]), status="failed", presumed=True))
        ),
    ),
    *BAD_SERIES,
    ("four requests in a second", Kind.OVER_RATE, lambda e: with_requests(e, a_request(START + 0.95))),
    (
        "a request before Retry-After ends",
        Kind.BEFORE_RETRY_AFTER,
        lambda e: with_requests(e, a_request(REFUSED_AT + 4.9)),
    ),
    ("a change that is not in the table", Kind.LOST_CHANGE, lambda e: with_call(e, verb="update", version=2)),
    ("a config that is missing", Kind.LOST_CHANGE, lambda e: replace(e, configs={})),
    (
        "a deleted config in the table",
        Kind.LOST_CHANGE,
        lambda e: with_call(e, verb="delete", enabled=None, at=SLOTS[-1] + 5),
    ),
    (
        "a change that has not reached the scheduler",
        Kind.LOST_CHANGE,
        lambda e: with_config(with_call(e, verb="update", version=2), version=2),
    ),
    (
        "a disabled config that the scheduler holds as enabled",
        Kind.LOST_CHANGE,
        lambda e: with_config(e, enabled=False),
    ),
    (
        "a refused creation that happened",
        Kind.INVENTED_CHANGE,
        lambda e: with_config(with_call(e, outcome="failed", subject="okx|X/Y", config_id=None), subject="okx|X/Y"),
    ),
    (
        "a readable message as a dead letter",
        Kind.DEAD_LETTER_UNEXPECTED,
        lambda e: replace(
            e, dead_letters=(*e.dead_letters, DeadLetterEntry(source_topic="ticks", partition=0, offset=1))
        ),
    ),
    (
        "an unreadable message with too many attempts",
        Kind.DEAD_LETTER_UNEXPECTED,
        lambda e: replace(e, dead_letters=(replace(e.dead_letters[0], attempts=6),)),
    ),
    (
        "an unreadable message that waited for more than five seconds",
        Kind.DEAD_LETTER_LATE,
        lambda e: replace(e, dead_letters=(replace(e.dead_letters[0], at=START + 205.1),)),
    ),
    ("an unreadable message without a dead letter", Kind.DEAD_LETTER_MISSING, lambda e: replace(e, dead_letters=())),
]
