"""Builds candles from trades with sequential ids, for the time in which the ids prove that no trade is missing. Pure.

Times are milliseconds since the epoch. Sums are exact: amounts are decimals.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation, localcontext
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple

from collector.candles.pages import SeriesCalendar
from collector.evidence.sources import trade_of, whole_periods
from contracts.candles import Candle
from contracts.coverage import to_instant
from contracts.spans import Interval, Intervals, subtract, union

_EXACT: Final = Context(prec=200)
"""A precision that is higher than that of any sum of amounts, so that no sum is rounded."""


class TapeTrade(NamedTuple):
    """One trade of an exchange whose ids are sequential per symbol."""

    id: int
    at: int
    price: Decimal
    amount: Decimal
    stands_for: int = 1
    """The number of trades in this row. An aggregate trade contains several."""


class BuiltCandle(NamedTuple):
    """A candle from all trades of its period."""

    candle: Candle
    trades: int


@dataclass(frozen=True)
class Built:
    """The result of `build`. A period for which a trade may be missing is in neither list."""

    candles: tuple[BuiltCandle, ...] = ()
    """Ascending, without duplicates."""
    silent: Intervals = ()
    """The periods without a trade, joined."""
    unproved: Intervals = ()
    """The rest of the span, for which nothing is proved."""


def read_trade(row: dict[str, Any]) -> TapeTrade | None:
    """Reads a trade as ccxt returns it. None if its id is not a whole number, or if it has no time, price or amount."""
    trade, price, amount = trade_of(row), _decimal(row.get("price")), _decimal(row.get("amount"))
    if trade is None or price is None or amount is None:
        return None
    return TapeTrade(trade.id, trade.at, price, amount, _count(row.get("info")))


def build(span: Interval, trades: Iterable[TapeTrade], calendar: SeriesCalendar) -> Built:
    """The candles and the silence of the span. The ends of the span are edges of periods.

    Trades may come in any order and more than once. Two different trades with the same id are both left out.
    """
    candles: dict[int, BuiltCandle] = {}
    silent: list[Interval] = []
    with localcontext(_EXACT):
        for tape in contiguous(trades):
            by_period = _by_period(tape, calendar)
            for period in _whole_periods(_proved_by(tape), span, calendar):
                if not (inside := by_period.get(period[0])):
                    silent.append(period)
                elif (candle := _candle(period[0], inside)) is not None:
                    candles[period[0]] = candle
    proved = union([*silent, *((opens, calendar.close_of(opens)) for opens in candles)])
    return Built(tuple(candles[opens] for opens in sorted(candles)), union(silent), subtract([span], proved))


def contiguous(trades: Iterable[TapeTrade]) -> list[list[TapeTrade]]:
    """The trades in groups whose ids follow each other without a hole, ascending."""
    by_id: dict[int, TapeTrade | None] = {}
    for each in trades:
        by_id[each.id] = each if by_id.get(each.id, each) == each else None
    groups: list[list[TapeTrade]] = []
    previous: int | None = None
    for number, trade in sorted(by_id.items(), key=lambda item: item[0]):
        if trade is None:
            previous = None
            continue
        if previous is None or number != previous + 1:
            groups.append([])
        groups[-1].append(trade)
        previous = number
    return groups


def reason_unproved(built: Built, trades: Iterable[TapeTrade]) -> str:
    """A sentence with the reason why the first unproved time of the span is not proved.

    The trades must include one at or after the end of the span.
    """
    start, end = built.unproved[0]
    where = f"candles from {to_instant(start):%Y-%m-%d %H:%M} UTC on are not proved"
    groups = contiguous(trades)
    if not groups or groups[0][0].at >= start:
        return f"{where}: the exchange sends no trade before them, so that their first trades may be missing"
    for one, two in pairwise(groups):
        if one[-1].at < end and two[0].at >= start:
            return f"{where}: trades are missing between the ids {one[-1].id} and {two[0].id}"
    return f"{where}: their trades are not in the order of their ids"


def _proved_by(tape: Sequence[TapeTrade]) -> Interval:
    """The time for which a contiguous tape contains all trades: after its first trade, up to its last one.

    The times of trades do not always ascend with their ids. A trade outside the tape may therefore have a time inside
    the tape. The largest step back in time in the tape is removed from both ends of the proved time.
    """
    latest = accumulate((each.at for each in tape), max)
    disorder = max(before - each.at for before, each in zip(latest, tape, strict=True))
    return tape[0].at + disorder + 1, tape[-1].at - disorder


def _by_period(tape: Iterable[TapeTrade], calendar: SeriesCalendar) -> dict[int, list[TapeTrade]]:
    found: dict[int, list[TapeTrade]] = {}
    for each in tape:
        found.setdefault(calendar.floor_open(each.at), []).append(each)
    return found


def _whole_periods(proved: Interval, span: Interval, calendar: SeriesCalendar) -> Iterable[Interval]:
    for start, end in whole_periods(proved, span, calendar):
        opens = start
        while opens < end:
            yield opens, calendar.close_of(opens)
            opens = calendar.close_of(opens)


def _candle(opens: int, trades: Sequence[TapeTrade]) -> BuiltCandle | None:
    """`trades` are all trades of the period, in the order of their ids. None if the order of the times and the order of
    the ids lead to different opens or closes, because the right one is then unknown.
    """
    first, last = trades[0], trades[-1]
    # the sort is stable, so trades with equal times stay in the order of their ids
    by_time = sorted(trades, key=lambda each: each.at)
    if (by_time[0].price, by_time[-1].price) != (first.price, last.price):
        return None
    prices = [each.price for each in trades]
    volume = sum((each.amount for each in trades), Decimal(0))
    numbers = map(float, (first.price, max(prices), min(prices), last.price, volume))
    return BuiltCandle(Candle(opens, *numbers), sum(each.stands_for for each in trades))


def _decimal(value: object) -> Decimal | None:
    """The shortest decimal for this number. If the text of the exchange had up to 15 digits, it is the same number.
    None if the value is not positive.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and number > 0 else None


def _count(info: object) -> int:
    """The trades of an aggregate trade, which names the first and the last of them (Binance: `f` and `l`)."""
    if not isinstance(info, dict):
        return 1
    first, last = str(info.get("f", "")), str(info.get("l", ""))
    return int(last) - int(first) + 1 if first.isdecimal() and last.isdecimal() and int(last) >= int(first) else 1
