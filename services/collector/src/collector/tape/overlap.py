"""Compares candles built from trades with the exchange's own candles of the same periods. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from collector.candles.pages import Page, SeriesCalendar
from collector.tape.building import Built
from contracts.candles import NO_ACTIVITY, Activity, Candle
from contracts.coverage import to_instant
from contracts.spans import Interval

OVERLAP_TRADES: Final = 2_500
"""The overlap has about this number of trades, but at least one candle."""

_TRADES_PER_CANDLE: Final = OVERLAP_TRADES / 30
"""The assumed number of trades per candle if the exchange's candles do not contain it."""

_FIELDS: Final = Candle._fields[1:]


@dataclass(frozen=True)
class Comparison:
    """The result of comparing the overlap."""

    equal: int
    """The periods with trades whose candles are equal."""
    silent: int
    """The periods without a trade, and without volume in the exchange's candles."""
    difference: str | None
    """The first difference in words. None: there is none."""

    @property
    def proves(self) -> bool:
        """Whether the comparison proves the candles. Silence alone proves nothing, because a wrong market could have no
        trades at the same time, too.
        """
        return self.difference is None and self.equal > 0


def overlap_of(page: Page, calendar: SeriesCalendar, settled_at: int) -> Interval | None:
    """The time of the exchange's own candles that are compared. It starts with the oldest candle, because this candle
    is next to the time without candles. It contains only candles that closed until `settled_at` (ms), because later
    ones may still change. None if there are no such candles.
    """
    settled = [each for each in page.closed if calendar.close_of(each.open_ms) <= settled_at]
    if not settled:
        return None
    counts = [page.activity.get(each.open_ms, NO_ACTIVITY).trades for each in settled]
    known = all(count is not None for count in counts)
    start = end = settled[0].open_ms
    trades = 0.0
    for each, count in zip(settled, counts, strict=True):
        trades += (count or 0) if known else _TRADES_PER_CANDLE * (each.volume > 0)
        if end > start and trades > OVERLAP_TRADES:
            break
        end = calendar.close_of(each.open_ms)
    return start, end


def compare(built: Built, own: Page, overlap: Interval, calendar: SeriesCalendar) -> Comparison:
    """Open, high, low, close and volume of each period must be equal, and the number of trades if the exchange sends
    it. Periods in which a trade may be missing are not compared, nor are the periods of rejected rows.
    """
    candles = {each.open_ms: each for each in own.closed}
    rejected = {calendar.floor_open(each.opens) for each in own.rejected}
    compared = [each for each in _periods_of(built, overlap, calendar) if each[0] not in rejected]
    equal = 0
    for opens, candle, trades in compared:
        known = own.activity.get(opens, NO_ACTIVITY)
        if (difference := _difference(candle, trades, candles.get(opens), known)) is not None:
            return Comparison(equal, 0, f"{to_instant(opens):%Y-%m-%d %H:%M} UTC: {difference}")
        equal += candle is not None
    return Comparison(equal, len(compared) - equal, None)


def _periods_of(built: Built, overlap: Interval, calendar: SeriesCalendar) -> Sequence[tuple[int, Candle | None, int]]:
    """Open time, candle (None: silent) and number of trades of each proved period in the overlap, ascending."""
    found: dict[int, tuple[int, Candle | None, int]] = {
        each.candle.open_ms: (each.candle.open_ms, each.candle, each.trades) for each in built.candles
    }
    for start, end in built.silent:
        opens = start
        while opens < end:
            found[opens] = (opens, None, 0)
            opens = calendar.close_of(opens)
    return [found[opens] for opens in sorted(found) if overlap[0] <= opens < overlap[1]]


def _difference(built: Candle | None, trades: int, own: Candle | None, known: Activity) -> str | None:
    if own is None:
        return None if built is None else f"{trades} trades, but no candle of the exchange"
    if built is None:
        silent = own.volume == 0 and not known.trades
        return None if silent else f"no trade, but a candle of the exchange with a volume of {own.volume}"
    for name, ours, theirs in zip(_FIELDS, built[1:], own[1:], strict=True):
        if ours != theirs:
            return f"{name} {ours} from the trades, {theirs} in the candle of the exchange"
    if known.trades is not None and known.trades != trades:
        return f"{trades} trades, {known.trades} in the candle of the exchange"
    return None


def in_words(comparison: Comparison, overlap: Interval) -> str:
    """The evidence of a comparison."""
    span = f"{to_instant(overlap[0]):%Y-%m-%d %H:%M} to {to_instant(overlap[1]):%Y-%m-%d %H:%M} UTC"
    if comparison.difference is not None:
        return f"the candles from trades differ from the exchange's own candles ({span}): {comparison.difference}"
    return f"{comparison.equal} candles from trades equal the exchange's own candles ({span})"


def activity_of(built: Built) -> Mapping[int, Activity]:
    """Open time to the number of trades of each built candle."""
    return {each.candle.open_ms: Activity(each.trades, None) for each in built.candles}
