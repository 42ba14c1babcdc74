"""Evidence with one violation about a series each: candles, their ledger, and what the exchange still offers."""

from collections.abc import Callable
from dataclasses import replace

from support.faults.evidence import Evidence
from support.faults.sample_histories import (
    CANDLE,
    HOLE,
    OLD,
    OPENS,
    SERIES,
    START,
    TAIL,
    VERIFIED,
    an_absence,
    with_ledger,
    with_run,
    with_spans,
    without_candles,
)
from support.faults.violations import Kind

_LATER = (TAIL + 600_000, TAIL + 660_000)
"""A slot for which the exchange has no candle."""
_MORE = (*VERIFIED, _LATER)


def _stored(evidence: Evidence, opens: list[int]) -> Evidence:
    return replace(evidence, candles={SERIES: dict.fromkeys(opens, CANDLE)})


def _absent(evidence: Evidence, **changes: object) -> Evidence:
    return with_ledger(evidence, absences=(an_absence(**changes),))


BAD_SERIES: list[tuple[str, Kind, Callable[[Evidence], Evidence]]] = [
    ("a gap in the candles", Kind.CANDLE_MISSING, lambda e: _stored(e, [OLD, *OPENS[:2], *OPENS[3:]])),
    ("an empty series", Kind.CANDLE_MISSING, lambda e: replace(e, candles={})),
    (
        "a verified span without its candle",
        Kind.CANDLE_MISSING,
        lambda e: with_spans(with_ledger(e, absences=(), rejected=frozenset()), ((OLD, TAIL),)),
    ),
    (
        "a candle in Kafka that is not in the table",
        Kind.CANDLE_MISSING,
        lambda e: replace(e, published={SERIES: {TAIL: 300}}),
    ),
    (
        "a candle that does not exist",
        Kind.CANDLE_EXTRA,
        lambda e: _stored(with_spans(e, _MORE), [OLD, *OPENS, _LATER[0]]),
    ),
    (
        "a candle with another price",
        Kind.CANDLE_WRONG,
        lambda e: replace(e, candles={SERIES: {**e.candles[SERIES], OPENS[1]: (9.0, *CANDLE[1:])}}),
    ),
    (
        "a candle of an older fetch",
        Kind.CANDLE_STALE,
        lambda e: replace(e, fetched_at={SERIES: {**e.fetched_at[SERIES], OPENS[1]: 199}}),
    ),
    ("a candle that is not verified", Kind.LEDGER_CONTRADICTION, lambda e: _stored(e, [OLD, *OPENS, TAIL])),
    (
        "a span that is verified and absent",
        Kind.LEDGER_CONTRADICTION,
        lambda e: _absent(e, span=(HOLE[0], HOLE[1] + 60_000)),
    ),
    (
        "a span that is absent twice",
        Kind.LEDGER_CONTRADICTION,
        lambda e: with_ledger(e, absences=(an_absence(), an_absence(span=(HOLE[0] + 60_000, HOLE[1])))),
    ),
    (
        "a published span that is not in the ledger",
        Kind.SPAN_LOST,
        lambda e: replace(e, published_spans={SERIES: _MORE}),
    ),
    ("a span of a run that is not in the ledger", Kind.SPAN_LOST, lambda e: with_run(e, verified={SERIES: _MORE})),
    ("a span that no answer vouched for", Kind.SPAN_INVENTED, lambda e: with_ledger(e, verified=_MORE)),
    (
        "a row that was rejected, although the exchange never sent an impossible one",
        Kind.GOOD_ROW_REJECTED,
        lambda e: with_ledger(e, rejected=frozenset({HOLE[0], HOLE[0] + 60_000})),
    ),
    ("an offered candle in a lost span", Kind.OFFERED_BUT_LOST, lambda e: _absent(e, absence_class="beyond_horizon")),
    ("a hole without a reason", Kind.NOT_COLLECTED, lambda e: with_ledger(e, absences=())),
    (
        "a hole that was not requested again in time",
        Kind.NOT_COLLECTED,
        lambda e: _absent(e, first_seen=START - 20, last_checked=START - 20),
    ),
    (
        "a hole that was requested from a healthy exchange without a result",
        Kind.NOT_COLLECTED,
        lambda e: _absent(e, last_checked=START + 60),
    ),
    (
        "a series that has ended although the exchange goes on",
        Kind.NOT_COLLECTED,
        lambda e: without_candles(e, *OPENS[1:]),
    ),
    ("a young silence that was no silence", Kind.NOT_COLLECTED, lambda e: without_candles(e, OPENS[1])),
]
