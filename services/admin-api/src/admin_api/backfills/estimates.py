"""Estimates the cost of missing time, and finds the candles that can no longer be requested.

Pure; times in milliseconds since the epoch.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from admin_api.backfills.schemas import Estimate, ExchangeEstimate, NeverAvailable, TradesEstimate
from contracts import spans
from contracts.coverage import to_instant
from contracts.exchange_catalogue import CandleRequest, load_catalogue, market_kind
from contracts.pages import UNKNOWN_PAGE, count_pages, horizon_of, page_without_joins
from contracts.spans import Interval, Intervals
from contracts.timeframes import parse_timeframe
from contracts.trade_pages import RATE_CANDLES, TRADES_PER_PAGE, trade_requests

BYTES_PER_CANDLE: Final = 140
"""The disk space of a row of `candles` with its entry in the primary key."""
BEYOND_HORIZON: Final = "beyond_horizon"


class FinalAbsence(NamedTuple):
    """A span whose reason in the ledger is final."""

    absence_class: str
    evidence: str
    span: Interval


@dataclass(frozen=True)
class Target:
    """The range of one series that is wanted, and what the ledger says about it."""

    exchange: str
    symbol: str
    timeframe: str
    span: Interval | None
    """The requested time. None if the range contains nothing that could be collected yet."""
    missing: Intervals = ()
    """The part of the range that is not answered."""
    verified_from: int | None = None
    absences: tuple[FinalAbsence, ...] = ()
    from_trades: bool = False
    """Whether candles that the exchange no longer has are built from its trades."""
    trades_per_candle: float | None = None
    """The mean number of trades per candle. None if it is unknown or not needed."""

    @property
    def candles(self) -> int:
        return 0 if self.span is None else candles_in(self.timeframe, [self.span])

    @property
    def missing_candles(self) -> int:
        return candles_in(self.timeframe, self.missing)


class _Reading(NamedTuple):
    """The facts of the exchange catalogue about reading a series."""

    page: int
    weight: float
    rate_limit_ms: float | None
    horizon: int | None
    """The open time of the oldest candle that can be read. None: no limit is known."""
    newest_readable: int | None


def candles_in(timeframe: str, intervals: Iterable[Interval]) -> int:
    """The number of whole candles in the time. For months and years, it is computed with their mean length."""
    length = parse_timeframe(timeframe).nominal_ms
    return sum((end - start) // length for start, end in intervals)


def estimate(targets: Sequence[Target], now: int) -> Estimate:
    """The cost of the missing time of all targets."""
    by_exchange: dict[str, list[tuple[Target, _Reading, Intervals]]] = defaultdict(list)
    for target in targets:
        reading = _reading_of(target, now)
        by_exchange[target.exchange].append((target, reading, _readable(target, reading)))
    exchanges = [_of_exchange(exchange, items) for exchange, items in sorted(by_exchange.items())]
    durations = [each.duration_seconds for each in exchanges]
    known = [each for each in durations if each is not None]
    candles = sum(each.candles for each in exchanges)
    return Estimate(
        series=len(targets),
        candles=candles,
        requests=sum(each.requests for each in exchanges),
        weight=round(sum(each.weight for each in exchanges), 3),
        duration_seconds=max(known, default=0.0) if len(known) == len(durations) else None,
        disk_bytes=candles * BYTES_PER_CANDLE,
        is_upper_bound=any(_may_precede_listing(*each) for items in by_exchange.values() for each in items),
        exchanges=exchanges,
        never_available=_never_available(targets, now),
    )


def _of_exchange(exchange: str, items: Sequence[tuple[Target, _Reading, Intervals]]) -> ExchangeEstimate:
    requests, candles, weight = 0, 0, 0.0
    for target, reading, readable in items:
        count = count_pages(target.timeframe, reading.page, readable) + _lost_spans(target, reading)
        requests += count
        weight += count * reading.weight
        candles += candles_in(target.timeframe, readable)
    rate = items[0][1].rate_limit_ms
    if (tape := _from_trades(exchange, items)) is not None:
        requests, candles, weight = requests + tape.requests, candles + tape.candles, weight + tape.weight
        rate = None if tape.series_of_unknown_cost else rate
    return ExchangeEstimate(
        exchange=exchange,
        series=len(items),
        candles=candles,
        requests=requests,
        weight=round(weight, 3),
        rate_limit_ms=items[0][1].rate_limit_ms,
        duration_seconds=None if rate is None else round(weight * rate / 1000, 3),
        from_trades=tape,
    )


def _from_trades(exchange: str, items: Sequence[tuple[Target, _Reading, Intervals]]) -> TradesEstimate | None:
    """The cost of the time for which the exchange has no candles. None if nothing is built from trades."""
    entry = load_catalogue().exchanges.get(exchange)
    series = candles = requests = unknown = 0
    weight = 0.0
    for target, reading, _ in items:
        gone = gone_time(target, reading.horizon)
        if not (count := candles_in(target.timeframe, gone)):
            continue
        series, candles = series + 1, candles + count
        kind = market_kind(target.symbol)
        each = None if entry is None or kind is None else entry.tape_weight.get(kind)
        if each is None or target.trades_per_candle is None:
            unknown += 1
            continue
        of_target = trade_requests(target.timeframe, gone, target.trades_per_candle)
        requests, weight = requests + of_target, weight + of_target * each
    if not series:
        return None
    return TradesEstimate(
        series=series,
        candles=candles,
        requests=requests,
        weight=round(weight, 3),
        series_of_unknown_cost=unknown,
        basis=f"The mean number of trades of the newest {RATE_CANDLES} stored candles of each series, and "
        f"{TRADES_PER_PAGE} trades per request. Older time may have more trades, or fewer.",
    )


def gone_time(target: Target, horizon: int | None) -> Intervals:
    """The missing time for which candles are built from trades: the time before the horizon, or all time if no horizon
    is known.
    """
    if not target.from_trades:
        return ()
    return target.missing if horizon is None else spans.intersect(target.missing, [(0, horizon)])


def _reading_of(target: Target, now: int) -> _Reading:
    entry, kind = load_catalogue().exchanges.get(target.exchange), market_kind(target.symbol)
    if entry is None:
        return _Reading(UNKNOWN_PAGE, 1.0, None, None, None)
    request = entry.request(kind, target.timeframe)
    page, weight = (request.page, request.weight) if isinstance(request, CandleRequest) else (UNKNOWN_PAGE, 1.0)
    readable = entry.newest_readable(kind, target.timeframe)
    horizon = horizon_of(target.timeframe, readable, now)
    return _Reading(page_without_joins(page, readable), weight, entry.rate_limit_ms, horizon, readable)


def _readable(target: Target, reading: _Reading) -> Intervals:
    """The missing time whose candles can still be requested."""
    missing = spans.subtract(target.missing, [each.span for each in target.absences])
    if target.from_trades:
        return spans.subtract(missing, gone_time(target, reading.horizon))
    return missing if reading.horizon is None else spans.subtract(missing, [(0, reading.horizon)])


def _beyond_horizon(target: Target, reading: _Reading) -> Intervals:
    """The missing time whose candles can no longer be requested, except time with a final reason in the ledger."""
    if reading.horizon is None or target.from_trades:
        return ()
    beyond = spans.intersect(target.missing, [(0, reading.horizon)])
    return spans.subtract(beyond, [each.span for each in target.absences])


def _lost_spans(target: Target, reading: _Reading) -> int:
    """The number of spans that are lost. One request proves the loss of each span."""
    return sum(1 for each in _beyond_horizon(target, reading) if candles_in(target.timeframe, [each]))


def _may_precede_listing(target: Target, reading: _Reading, readable: Intervals) -> bool:
    if target.from_trades:
        readable = spans.union([*readable, *gone_time(target, reading.horizon)])
    elif reading.horizon is not None:
        return False
    if not readable:
        return False
    return target.verified_from is None or readable[0][0] < target.verified_from


def _never_available(targets: Sequence[Target], now: int) -> list[NeverAvailable]:
    """One entry per exchange, timeframe and class of absence."""
    found: dict[tuple[str, str, str], list[tuple[str, Intervals]]] = defaultdict(list)
    for target in targets:
        reading = _reading_of(target, now)
        by_class: dict[str, list[FinalAbsence]] = defaultdict(list)
        for absence in target.absences:
            by_class[absence.absence_class].append(absence)
        for absence_class, absences in by_class.items():
            of_class = spans.union(each.span for each in absences)
            found[target.exchange, target.timeframe, absence_class].append((absences[0].evidence, of_class))
        if beyond := _beyond_horizon(target, reading):
            reason = f"{target.exchange} sends only the newest {reading.newest_readable} candles of {target.timeframe}."
            found[target.exchange, target.timeframe, BEYOND_HORIZON].append((reason, beyond))
    return [_entry(*key, items) for key, items in sorted(found.items())]


def _entry(exchange: str, timeframe: str, absence_class: str, items: Sequence[tuple[str, Intervals]]) -> NeverAvailable:
    intervals = [each for _, of_series in items for each in of_series]
    return NeverAvailable(
        exchange=exchange,
        timeframe=timeframe,
        absence_class=absence_class,
        reason=items[0][0],
        series=len(items),
        candles=candles_in(timeframe, intervals),
        start=to_instant(min(start for start, _ in intervals)),
        end=to_instant(max(end for _, end in intervals)),
    )
