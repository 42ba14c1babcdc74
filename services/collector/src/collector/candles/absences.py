"""The classes of the spans that a run could not verify. Pure."""

from collections.abc import Collection

from collector.candles.pages import SeriesCalendar
from collector.exchange.traits import ExchangeTraits
from contracts.coverage import AbsenceClass
from contracts.spans import Interval, Intervals, intersect, subtract

AbsentSpan = tuple[Interval, AbsenceClass, str]
"""A span in milliseconds since the epoch, its class, and the evidence in words."""


def classified(
    holes: Intervals, *, rejected: Intervals, lost: Intervals, requested: Intervals, pages: int, kept: int | None
) -> list[AbsentSpan]:
    """The holes of a run by class, ascending. If two classes fit, the more specific class is used.

    `rejected`: the periods of rejected rows. `lost`: the time before the history that the exchange keeps. `requested`:
    the spans that the run requested. `pages`: the number of answers that the run read. `kept`: the number of newest
    candles that the exchange offers; None without a limit.
    """
    classes = (
        (AbsenceClass.REJECTED, rejected, "the exchange repeats rows that cannot be candles"),
        (AbsenceClass.BEYOND_HORIZON, lost, f"the exchange keeps the newest {kept} candles only"),
        (
            AbsenceClass.UNKNOWN,
            requested,
            f"{pages} answers show no candles there, and no later candle that would prove silence",
        ),
        (AbsenceClass.UNREAD, holes, "the run read the newest candles first and had no pages or time left"),
    )
    found: list[AbsentSpan] = []
    for absence_class, spans, evidence in classes:
        found += [(span, absence_class, evidence) for span in intersect(holes, spans)]
        holes = subtract(holes, spans)
    return sorted(found)


def before_history(traits: ExchangeTraits, calendar: SeriesCalendar, opens: Collection[int], now: int) -> Intervals:
    """The time before the oldest candle that the exchange still offers; empty if this candle is not known.

    `opens`: the open times of the candles that the run has seen. Some exchanges limit the number of candles, and leave
    out periods without trades. Their limit then covers more than this number of periods. So the oldest candle is known
    only if the run has seen as many candles as the exchange keeps.
    """
    kept = traits.history_candles
    if kept is None:
        return ()
    if traits.history_by_time:
        return ((0, calendar.shift(calendar.floor_open(now), 1 - kept)),)
    return ((0, sorted(opens)[-kept]),) if len(opens) >= kept else ()
