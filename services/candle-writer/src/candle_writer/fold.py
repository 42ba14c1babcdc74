"""Selects one candle per series and open time from a batch, because one statement may change a row only once."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from itertools import repeat
from typing import NamedTuple

from candle_writer.ledger import Claims, claims_of
from contracts.candles import Candle, CandlesCollected


class SeriesKey(NamedTuple):
    """The identity of a series."""

    exchange: str
    symbol: str
    timeframe: str


Fetched = tuple[Candle, datetime]
"""A candle and the time of its fetch."""


class SeriesBatch(NamedTuple):
    """The content of a batch for one series."""

    candles: list[Fetched]
    """Ascending by open time, each once. May be empty."""
    claims: Claims


def fold(events: Iterable[CandlesCollected]) -> dict[SeriesKey, SeriesBatch]:
    """The candles and the claims of each series. The newest fetch of a candle counts. If two fetches have the same
    time, the later one in `events` counts.
    """
    fetches: dict[SeriesKey, list[CandlesCollected]] = defaultdict(list)
    for event in events:
        fetches[SeriesKey(event.exchange, event.symbol, event.timeframe)].append(event)
    return {key: _fold_series(key.timeframe, of_one_series) for key, of_one_series in fetches.items()}


def _fold_series(timeframe: str, fetches: list[CandlesCollected]) -> SeriesBatch:
    candles: dict[int, Fetched] = {}
    for event in sorted(fetches, key=lambda each: each.fetched_at):
        candles.update(
            zip((row.open_ms for row in event.rows), zip(event.rows, repeat(event.fetched_at)), strict=False)
        )
    opens = sorted(candles)
    return SeriesBatch([candles[open_ms] for open_ms in opens], claims_of(timeframe, opens, fetches))
