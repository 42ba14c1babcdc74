"""Sample evidence without a violation, and functions that change it."""

from dataclasses import replace
from typing import Any

from contracts.coverage import to_instant
from contracts.spans import Intervals, subtract
from contracts.ticks import initial_run_id, slot_run_id
from scheduler.grid import grid_of
from support.faults.evidence import (
    AbsentSpan,
    DeadLetterEntry,
    Evidence,
    Request,
    Rules,
    Run,
    SeriesLedger,
    SeriesTruth,
    StoredConfig,
    Tick,
)
from support.faults.history import Call, Fault, History, StatusChange

START = 1_800_000_000.0
SPREAD_MS = 300_000
CONFIG = 7
GRID = grid_of(CONFIG, 1, SPREAD_MS)
SLOTS = [GRID.slot_after(int(START * 1000)) / 1000 + 60 * k for k in range(5)]
SERIES = ("binance", "BTC/USDT", "1m")
OPENS = [int(START * 1000) // 60_000 * 60_000 + 60_000 * k for k in range(5)]
OLD = OPENS[0] - 300_000
HOLE = (OLD + 60_000, OPENS[0])
"""Between the candle at OLD and OPENS: the exchange repeats an impossible row for its first slot."""
TAIL = OPENS[-1] + 60_000
"""The next run collects this candle."""
EXISTING = range(OLD - 60_000, TAIL + 1, 60_000)
VERIFIED = ((OLD, HOLE[0]), (HOLE[1], TAIL))
CANDLE = (1.0, 2.0, 0.5, 1.5, 10.0)
UNREADABLE = ("run-events", 3, 14)
REFUSED_AT = START + 100


def run_id(slot: float) -> str:
    return str(slot_run_id(CONFIG, to_instant(round(slot * 1000))))


def a_tick(slot: float) -> Tick:
    return Tick(run_id=run_id(slot), config_id=CONFIG, trigger="scheduled", scheduled_for=slot, emitted_at=slot + 0.01)


def a_run(slot: float) -> Run:
    return Run(
        run_id=run_id(slot),
        config_id=CONFIG,
        trigger="scheduled",
        scheduled_for=slot,
        status="success",
        started_at=slot + 0.02,
        finished_at=slot + 0.5,
        deadline_at=slot + 20,
        verified={SERIES: VERIFIED},
    )


def a_call(**changes: Any) -> Call:
    call = Call(
        at=START,
        verb="create",
        outcome="ok",
        config_id=CONFIG,
        subject="binance|BTC/USDT",
        version=1,
        since=START,
        interval_minutes=1,
        enabled=True,
    )
    return replace(call, **changes)


def a_request(at: float, status: int | None = 200, retry_after: float | None = None) -> Request:
    return Request(at=at, exchange="binance", status=status, answered_at=at + 0.05, retry_after=retry_after)


def an_absence(**changes: Any) -> AbsentSpan:
    absence = AbsentSpan(
        span=HOLE, absence_class="rejected", first_seen=START - 120, last_checked=START + 10
    )  # the next attempt is later than the end of the evidence
    return replace(absence, **changes)


def history(*more: Call | Fault | StatusChange) -> History:
    first = run_id(SLOTS[0])
    changes = [
        StatusChange(at=SLOTS[0] + 0.1 * k, run_id=first, status=s) for k, s in enumerate(("running", "success"))
    ]
    return History(entries=[a_call(), Fault(at=START + 1, kind="SIGKILL", target="collector"), *changes, *more])


def good_evidence() -> Evidence:
    initial = str(initial_run_id(CONFIG, 1))
    return Evidence(
        history=history(),
        until=SLOTS[-1] + 1,
        collected_at=SLOTS[-1] + 300,
        rules=Rules(spread_ms=SPREAD_MS, max_per_second={"binance": 3}, healthy_since=START + 20),
        runs=(
            replace(a_run(START), run_id=initial, trigger="initial"),
            *(a_run(slot) for slot in SLOTS),
        ),
        ticks=(
            Tick(run_id=initial, config_id=CONFIG, trigger="initial", scheduled_for=START, emitted_at=START + 0.5),
            *(a_tick(slot) for slot in SLOTS),
        ),
        configs={
            CONFIG: StoredConfig(
                version=1, enabled=True, subject="binance|BTC/USDT", scheduled_version=1, scheduled_active=True
            )
        },
        candles={SERIES: dict.fromkeys([OLD, *OPENS], CANDLE)},
        fetched_at={SERIES: dict.fromkeys([OLD, *OPENS], 200)},
        published={SERIES: dict.fromkeys([OLD, *OPENS], 200)},
        published_spans={SERIES: VERIFIED},
        ledger={SERIES: SeriesLedger(verified=VERIFIED, absences=(an_absence(),), rejected=frozenset({HOLE[0]}))},
        truth={
            SERIES: SeriesTruth(
                candles=dict.fromkeys(EXISTING, CANDLE),
                offered=frozenset(EXISTING),
                impossible_shown=frozenset({HOLE[0]}),
            )
        },
        dead_letters=(
            DeadLetterEntry(
                source_topic=UNREADABLE[0], partition=UNREADABLE[1], offset=UNREADABLE[2], attempts=3, at=START + 204.9
            ),
        ),
        unreadable=frozenset({UNREADABLE}),
        unreadable_sent_at={UNREADABLE: START + 200},
        requests=(
            *(a_request(START + 0.3 * k) for k in range(3)),
            a_request(REFUSED_AT, 429, retry_after=5),
            a_request(REFUSED_AT + 0.1),  # was sent before the refusal arrived
            a_request(REFUSED_AT + 5.1),
        ),
    )


def without_slot(evidence: Evidence, slot: float) -> Evidence:
    return replace(
        evidence,
        runs=tuple(run for run in evidence.runs if run.scheduled_for != slot),
        ticks=tuple(tick for tick in evidence.ticks if tick.scheduled_for != slot),
    )


def with_run(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, runs=(*evidence.runs[:-1], replace(evidence.runs[-1], **changes)))


def with_superseded_run(evidence: Evidence, newer: str, **changes: Any) -> Evidence:
    """The run of the second slot was superseded."""
    skipped = {"status": "skipped", "error_class": "superseded", "superseded_by": newer, "verified": {}}
    runs = [replace(run, **skipped | changes) if run.run_id == run_id(SLOTS[1]) else run for run in evidence.runs]
    return replace(evidence, runs=tuple(runs))


def with_config(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, configs={CONFIG: replace(evidence.configs[CONFIG], **changes)})


def with_ledger(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, ledger={SERIES: replace(evidence.ledger[SERIES], **changes)})


def with_spans(evidence: Evidence, verified: Intervals) -> Evidence:
    """The topic and the ledger have these spans."""
    return with_ledger(replace(evidence, published_spans={SERIES: verified}), verified=verified)


def without_candles(evidence: Evidence, *opens: int) -> Evidence:
    """No message has these candles, and no answer vouched for their slots."""
    kept = [at for at in evidence.candles[SERIES] if at not in opens]
    slots = [(at, at + 60_000) for at in opens]
    return replace(
        with_spans(evidence, subtract(VERIFIED, slots)),
        runs=tuple(replace(run, verified={}) for run in evidence.runs),
        candles={SERIES: dict.fromkeys(kept, CANDLE)},
        fetched_at={SERIES: dict.fromkeys(kept, 200)},
        published={SERIES: dict.fromkeys(kept, 200)},
    )


def with_requests(evidence: Evidence, *more: Request) -> Evidence:
    return replace(evidence, requests=(*evidence.requests, *more))


def with_call(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, history=history(a_call(**changes)))
