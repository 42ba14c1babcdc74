"""Selects one candle per series and open time from a batch, because one statement may change a row only once."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from itertools import repeat
from typing import NamedTuple

from contracts.candles import Candle, CandlesCollected


class SeriesKey(NamedTuple):
    """The identity of a series."""

    exchange: str
    symbol: str
    timeframe: str


Fetched = tuple[Candle, datetime]
"""A candle and the time of its fetch."""


def fold(events: Iterable[CandlesCollected]) -> dict[SeriesKey, list[Fetched]]:
    """The candles of each series, ascending by open time. The newest fetch of a candle counts. If two fetches have the
    same time, the later one in `events` counts.
    """
    fetches: dict[SeriesKey, list[CandlesCollected]] = defaultdict(list)
    for event in events:
        fetches[SeriesKey(event.exchange, event.symbol, event.timeframe)].append(event)
    return {key: _newest(of_one_series) for key, of_one_series in fetches.items()}


def _newest(fetches: list[CandlesCollected]) -> list[Fetched]:
    candles: dict[int, Fetched] = {}
    for event in sorted(fetches, key=lambda each: each.fetched_at):
        candles.update(
            zip((row.open_ms for row in event.rows), zip(event.rows, repeat(event.fetched_at)), strict=False)
        )
    return [candles[open_ms] for open_ms in sorted(candles)]
