"""The proofs of single sources about the silence of one series. Pure.

Times are milliseconds since the epoch. Each function returns only the time that its source proves. Other sources may
prove the rest.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import accumulate, pairwise
from sys import float_info
from typing import Any, Final, NamedTuple

from collector.candles.pages import SeriesCalendar
from contracts.spans import Interval, Intervals, intersect, subtract, union

_DECIMAL_DIGITS: Final = 15
"""A decimal number with at most this number of digits can be converted to a float and back without a change."""

_LONGER_SILENCES: Final = 2
"""A silence is used only if the answer has at least this number of other silences that are at least as long."""


class Amounts(NamedTuple):
    """The traded amounts of one candle."""

    opens: int
    volume: float
    trades: int | None = None
    """The number of trades. None: the exchange does not send it."""


class Trade(NamedTuple):
    """One trade of an exchange whose ids are sequential per symbol."""

    id: int
    at: int


def trade_of(row: dict[str, Any]) -> Trade | None:
    """The trade of a raw row. None if its id is not a number, or if it has no time."""
    number, at = str(row.get("id") or ""), row.get("timestamp")
    return Trade(int(number), at) if number.isdecimal() and number.isascii() and isinstance(at, int) else None


def trade_time_of(row: dict[str, Any]) -> int | None:
    """The time of a trade in milliseconds. None for a row without a time."""
    at = row.get("timestamp")
    return at if type(at) is int else None


def silent_between_neighbours(
    hole: Interval, opens: Sequence[int], calendar: SeriesCalendar, *, omits: bool
) -> Intervals:
    """The silence of the hole between two candles of one answer. `opens` are the open times of its candles.

    `omits`: a document says that the exchange leaves out periods without trades. A silence is used only if at least two
    other silences of the answer are as long or longer. Otherwise the candles may be lost.
    """
    if not omits:
        return ()
    silences = [(calendar.close_of(one), two) for one, two in pairwise(sorted(set(opens)))]
    silences = [each for each in silences if each[0] < each[1]]
    lengths = sorted((end - start for start, end in silences), reverse=True)
    if len(lengths) <= _LONGER_SILENCES:
        return ()
    return intersect([hole], [each for each in silences if each[1] - each[0] <= lengths[_LONGER_SILENCES]])


def silent_beside_coarser_candle(
    hole: Interval, coarser: Amounts, bucket: Interval, finer: Iterable[Amounts], calendar: SeriesCalendar
) -> Intervals:
    """The time of the hole without trades. It is proved if the finer candles in the bucket together equal the coarser
    candle.

    A coarser candle without volume proves nothing, because exchanges invent flat rows.
    """
    inside = [each for each in finer if bucket[0] <= each.opens and calendar.close_of(each.opens) <= bucket[1]]
    if coarser.opens != bucket[0] or len({each.opens for each in inside}) != len(inside):
        return ()
    if not coarser.volume > 0 or not _equal(coarser, inside):
        return ()
    present = [(each.opens, calendar.close_of(each.opens)) for each in inside]
    return subtract(intersect([hole], [bucket]), present)


def has_more_volume(coarser: Amounts, finer: Sequence[Amounts]) -> bool:
    """Whether the coarser candle contains trades that are in none of its finer candles."""
    return coarser.volume > sum(each.volume for each in finer) and not _equal(coarser, finer)


def _equal(coarser: Amounts, finer: Sequence[Amounts]) -> bool:
    """Whether the sum of the finer amounts equals the coarser amount. Counts of trades must be equal; volumes are
    compared as decimals.

    Volumes with up to 15 digits are summed exactly. Longer volumes were rounded to floats before. Each may differ by
    half a unit in the last place, so the sums may differ by one unit per number.
    """
    counts = [each.trades for each in (coarser, *finer)]
    known = [count for count in counts if count is not None]
    if len(known) == len(counts) and known[0] != sum(known[1:]):
        return False
    volumes = [Decimal(repr(float(each.volume))) for each in (coarser, *finer)]
    difference = abs(volumes[0] - sum(volumes[1:], Decimal(0)))
    if all(len(each.normalize().as_tuple().digits) <= _DECIMAL_DIGITS for each in volumes):
        return difference == 0
    unit = Decimal(float_info.epsilon) * max(volumes)
    return difference <= unit * len(volumes)


def silent_between_trades(hole: Interval, trades: Iterable[Trade], calendar: SeriesCalendar) -> Intervals:
    """The periods of the hole that lie between two trades with consecutive ids. A jump of ids proves nothing.

    If the time of a trade is earlier than the time of a trade before it, the silence around it is shortened.
    """
    tape = sorted(set(trades))
    if len({each.id for each in tape}) != len(tape):
        return ()
    latest_before = list(accumulate((each.at for each in tape), max))
    earliest_after = list(accumulate((each.at for each in reversed(tape)), min))[::-1]
    silent: list[Interval] = []
    for index, (one, two) in enumerate(pairwise(tape)):
        start, end = latest_before[index] + 1, earliest_after[index + 1]
        if two.id == one.id + 1 and start < end and hole[0] < end and start < hole[1]:
            silent += whole_periods((start, end), hole, calendar)
    return union(silent)


def jumps(hole: Interval, trades: Iterable[Trade], calendar: SeriesCalendar) -> Intervals:
    """The periods of the hole that touch the time between two trades with ids that are not consecutive."""
    return union(
        (max(hole[0], calendar.floor_open(one.at)), min(hole[1], calendar.close_of(calendar.floor_open(two.at))))
        for one, two in pairwise(sorted(set(trades)))
        if two.id != one.id + 1 and one.at < hole[1] and two.at >= hole[0]
    )


def traded_periods(hole: Interval, trades: Iterable[Trade], calendar: SeriesCalendar) -> Intervals:
    """The periods of the hole in which there is a trade."""
    return periods_of((each.at for each in trades if hole[0] <= each.at < hole[1]), calendar)


def periods_of(times: Iterable[int], calendar: SeriesCalendar) -> Intervals:
    """The periods that contain these times."""
    return union((each, calendar.close_of(each)) for each in {calendar.floor_open(at) for at in times})


def whole_periods(span: Interval, hole: Interval, calendar: SeriesCalendar) -> Intervals:
    """The periods of the hole that lie completely in the span. The hole begins and ends between periods."""
    first = calendar.floor_open(max(span[0], hole[0]))
    if first < max(span[0], hole[0]):
        first = calendar.close_of(first)
    last = calendar.floor_open(min(span[1], hole[1]))
    return ((first, last),) if first < last else ()
