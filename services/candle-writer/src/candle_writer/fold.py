"""Selects one candle per series and open time from a batch, because one statement may change a row only once."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from itertools import repeat
from typing import NamedTuple

from candle_writer.ledger import Claims, claims_of
from contracts.candles import NO_ACTIVITY, Candle, CandlesCollected
from contracts.vocabulary import CandleSource


class SeriesKey(NamedTuple):
    """The names that identify a series."""

    exchange: str
    symbol: str
    timeframe: str


KnownActivity = tuple[int | None, float | None]
"""The values of an `Activity`. A plain tuple is faster to make, and there is one per candle."""

Fetched = tuple[Candle, datetime, KnownActivity, str | None]
"""A candle with the time of its fetch, its `Activity` and its source as stored in the table."""


class SeriesBatch(NamedTuple):
    """The content of a batch for one series."""

    candles: list[Fetched]
    """The candles, ascending by open time, without duplicates. May be empty."""
    claims: Claims


def fold(events: Iterable[CandlesCollected]) -> dict[SeriesKey, SeriesBatch]:
    """The candles and the claims of each series. The exchange's own candle has priority over a candle from trades.
    Otherwise the newest fetch of a candle is used. If two fetches have the same time, the later one in `events` is
    used.
    """
    fetches: dict[SeriesKey, list[CandlesCollected]] = defaultdict(list)
    for event in events:
        fetches[SeriesKey(event.exchange, event.symbol, event.timeframe)].append(event)
    return {key: _fold_series(key.timeframe, of_one_series) for key, of_one_series in fetches.items()}


def _fold_series(timeframe: str, fetches: list[CandlesCollected]) -> SeriesBatch:
    candles: dict[int, Fetched] = {}
    for event in sorted(fetches, key=lambda each: (each.source is CandleSource.EXCHANGE, each.fetched_at)):
        opens_of_event = [row.open_ms for row in event.rows]
        source = None if event.source is CandleSource.EXCHANGE else event.source.value
        fetched = zip(event.rows, repeat(event.fetched_at), _activity_of(event), repeat(source), strict=False)
        if candles.keys().isdisjoint(opens_of_event):
            candles.update(zip(opens_of_event, fetched, strict=False))
        else:
            for open_ms, newer in zip(opens_of_event, fetched, strict=False):
                candles[open_ms] = _completed(newer, candles.get(open_ms))
    opens = sorted(candles)
    return SeriesBatch([candles[open_ms] for open_ms in opens], claims_of(timeframe, opens, fetches))


def _activity_of(event: CandlesCollected) -> Iterable[KnownActivity]:
    if not event.trades and not event.quote_volumes:
        return repeat(NO_ACTIVITY)
    return zip(event.trades or repeat(None), event.quote_volumes or repeat(None), strict=False)


def _completed(newer: Fetched, older: Fetched | None) -> Fetched:
    """The newer fetch. If both have the same candle, it gets the values that only the older fetch has."""
    if older is None or newer[0] != older[0]:
        return newer
    (trades, quote_volume), (known_trades, known_volume) = newer[2], older[2]
    return (
        newer[0],
        newer[1],
        (known_trades if trades is None else trades, known_volume if quote_volume is None else quote_volume),
        newer[3],
    )
