"""Rules about series: the claims of the ledger are true, and the candles that exchanges offer are collected.

For each series, the tables are compared with the truth of the simulated exchange. A candle that exists is stored, or it
opens in a hole that the ledger shows as open, or before the first or after the last verified instant.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from contracts.coverage import to_instant
from contracts.spans import Interval, Intervals, intersect, subtract, union
from contracts.timeframes import close_of, floor_open
from support.faults.evidence import AbsentSpan, Candle, Evidence, Series, SeriesLedger, SeriesTruth, StoredConfig
from support.faults.violations import Kind, Violation

_NO_LEDGER = SeriesLedger()
_NO_TRUTH = SeriesTruth()
_NO_CANDLES: Mapping[int, Candle] = {}


def candles(evidence: Evidence) -> Iterator[Violation]:
    """Each candle that exists in a verified span is stored, and each stored candle exists and has its true values."""
    for series in _all_series(evidence):
        truth, stored = evidence.truth.get(series, _NO_TRUTH).candles, evidence.candles.get(series, _NO_CANDLES)
        verified = evidence.ledger.get(series, _NO_LEDGER).verified
        missing = [at for at in truth if at not in stored and _contains(verified, at)]
        yield from _violations(Kind.CANDLE_MISSING, series, missing, "in a verified span")
        yield from _violations(Kind.CANDLE_EXTRA, series, (at for at in stored if at not in truth))
        wrong = (at for at in stored.keys() & truth.keys() if stored[at] != truth[at])
        yield from _violations(Kind.CANDLE_WRONG, series, wrong)


def stale_candles(evidence: Evidence) -> Iterator[Violation]:
    """The table has the newest fetch of each candle that Kafka acknowledged."""
    for series, newest in evidence.published.items():
        stored = evidence.fetched_at.get(series, {})
        stale = (at for at, fetched in newest.items() if at in stored and stored[at] < fetched)
        yield from _violations(Kind.CANDLE_STALE, series, stale)
        gone = (at for at in newest if at not in stored)
        yield from _violations(Kind.CANDLE_MISSING, series, gone, "acknowledged by Kafka")


def ledger(evidence: Evidence) -> Iterator[Violation]:
    """Each stored candle is verified, no span is verified and absent, and absences do not overlap each other."""
    for series in _all_series(evidence):
        known, timeframe = evidence.ledger.get(series, _NO_LEDGER), series[2]
        slots = union((at, close_of(timeframe, at)) for at in evidence.candles.get(series, ()))
        absent = sorted(each.span for each in known.absences)
        unverified = (start for start, _ in subtract(slots, known.verified))
        yield from _violations(Kind.LEDGER_CONTRADICTION, series, unverified, "stored, but not verified")
        both = (start for start, _ in intersect(absent, known.verified))
        yield from _violations(Kind.LEDGER_CONTRADICTION, series, both, "verified and absent")
        twice = (after[0] for before, after in pairwise(absent) if after[0] < before[1])
        yield from _violations(Kind.LEDGER_CONTRADICTION, series, twice, "absent twice")


def spans(evidence: Evidence) -> Iterator[Violation]:
    """The ledger has exactly the spans of the topic, and all spans that the run log shows as verified."""
    reported: dict[Series, list[Interval]] = {
        series: list(published) for series, published in evidence.published_spans.items()
    }
    for run in evidence.runs:
        for series, verified in run.verified.items():
            reported.setdefault(series, []).extend(verified)
    for series in _all_series(evidence) | reported.keys():
        verified = evidence.ledger.get(series, _NO_LEDGER).verified
        lost = (start for start, _ in subtract(reported.get(series, ()), verified))
        yield from _violations(Kind.SPAN_LOST, series, lost, "reported as verified, but not in the ledger")
        invented = (start for start, _ in subtract(verified, evidence.published_spans.get(series, ())))
        yield from _violations(Kind.SPAN_INVENTED, series, invented, "in the ledger, but in no message")


def rejected_rows(evidence: Evidence) -> Iterator[Violation]:
    """Only rows of candles for which the exchange has sent an impossible row are rejected."""
    for series, known in evidence.ledger.items():
        shown = evidence.truth.get(series, _NO_TRUTH).impossible_shown
        good = (at for at in known.rejected if floor_open(series[2], at) not in shown)
        yield from _violations(Kind.GOOD_ROW_REJECTED, series, good)


def collected_again(evidence: Evidence) -> Iterator[Violation]:
    """When the exchanges are healthy again, the runs collect what they offer from the first verified instant on.

    Time after the last verified instant, and young silence, is read by the next run. A hole with a reason is read again
    after a wait that doubles with each attempt. If the exchange was healthy at that attempt, the hole must be smaller.
    """
    healthy_since = evidence.rules.healthy_since
    if healthy_since is None:
        return
    for config in evidence.configs.values():
        if not config.enabled:
            continue
        since = max(healthy_since, config.changed_at)
        for timeframe in config.timeframes:
            exchange, symbol = config.subject.split("|")
            yield from _not_collected(evidence, (exchange, symbol, timeframe), config, since)


def _not_collected(evidence: Evidence, series: Series, config: StoredConfig, since: float) -> Iterator[Violation]:
    known, truth = evidence.ledger.get(series, _NO_LEDGER), evidence.truth.get(series, _NO_TRUTH)
    stored = evidence.candles.get(series, _NO_CANDLES)
    first = known.verified[0][0] if known.verified else 0
    owed = [
        at
        for at in truth.offered - truth.impossible
        if at >= first and at not in stored and not _contains(known.verified, at)
    ]
    lost = {at for at in owed if (reason := _absence_at(known, at)) and reason.absence_class == "beyond_horizon"}
    yield from _violations(Kind.OFFERED_BUT_LOST, series, lost)
    overdue = (at for at in owed if at not in lost and _is_overdue(evidence, series, config, since, at))
    yield from _violations(Kind.NOT_COLLECTED, series, overdue, f"offered since {to_instant(round(since * 1000))}")


def _is_overdue(evidence: Evidence, series: Series, config: StoredConfig, since: float, at: int) -> bool:
    """Whether a run that began while the exchange was healthy must have collected the candle."""
    interval, tolerance = 60.0 * config.interval_minutes, evidence.rules.collected_within
    next_run = max(since, close_of(series[2], at) / 1000) + interval + tolerance
    absence = _absence_at(evidence.ledger.get(series, _NO_LEDGER), at)
    if absence is None or absence.last_checked > since + tolerance:
        return next_run < evidence.until
    longest_wait = 2 * (absence.last_checked - absence.first_seen + interval)
    return max(next_run, absence.last_checked + longest_wait + interval + tolerance) < evidence.until


def _absence_at(known: SeriesLedger, at: int) -> AbsentSpan | None:
    return next((each for each in known.absences if each.span[0] <= at < each.span[1]), None)


def _all_series(evidence: Evidence) -> set[Series]:
    return {*evidence.ledger, *evidence.candles}


def _contains(among: Intervals, at: int) -> bool:
    index = bisect_right(among, (at, at + 1)) - 1
    candidates = among[max(index, 0) : index + 2]
    return any(start <= at < end for start, end in candidates)


def _violations(kind: Kind, series: Series, opens: Iterable[int], what: str = "") -> Iterator[Violation]:
    """At most one violation: the number of candles or spans, and the first of them."""
    if found := sorted(opens):
        details = f"{len(found)} {what}".strip()
        yield Violation(kind, "|".join(series), f"{details}, the first at {to_instant(found[0])}")
