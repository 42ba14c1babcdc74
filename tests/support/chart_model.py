"""A model of stored candles for tests of charts: a dictionary, which knows no levels, and a plain join of it."""

import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from contracts.candles import Candle
from contracts.coverage import to_instant, to_milliseconds
from contracts.timeframes import DAY_MS, shift, shortest_length

START_MS: Final = 1_632_182_400_000
"""2021-09-21T00:00:00Z, a Tuesday."""


class SeriesOfModel(NamedTuple):
    """A series, and where its candles may open."""

    symbol: str
    timeframe: str
    first: int
    """The open time of the first possible candle, in milliseconds since the epoch."""
    periods: int
    """The number of possible candles."""

    @property
    def name(self) -> dict[str, str]:
        return {"exchange": "binance", "symbol": self.symbol, "timeframe": self.timeframe}

    def opens(self, number: int) -> int:
        return shift(self.timeframe, self.first, number)


SERIES: Final = (
    SeriesOfModel("BTC/USDT", "1m", START_MS, 4 * 1440),
    SeriesOfModel("ETH/USDT", "5m", START_MS + 7 * 3_600_000, 6 * 288),
    SeriesOfModel("OFF/USDT", "1h", START_MS + 30 * 60_000, 24 * 90),
    SeriesOfModel("DAY/USDT", "1h", START_MS, 24 * 200),
    SeriesOfModel("WEEK/USDT", "1w", START_MS - DAY_MS, 120),
    SeriesOfModel("MONTH/USDT", "1M", 1_630_454_400_000, 60),
)
"""The candles of `OFF` open at half past, so no level has whole rows of its points. Weeks and months have no levels."""


class Stored(NamedTuple):
    """A candle and the second of its fetch."""

    candle: Candle
    second: int


Candles = dict[int, Stored]
"""The candles of a series by open time."""


def a_random_candle(rng: random.Random, open_ms: int) -> Candle:
    """Volumes whose sum as floats depends on the order."""
    prices = sorted(round(rng.uniform(50, 150), 3) for _ in range(4))
    return Candle(open_ms, prices[1], prices[3], prices[0], prices[2], rng.choice((0.1, 0.2, 1e-9, 1234567.891, 0.3)))


def joined(series: SeriesOfModel, candles: Candles, chart: Any) -> list[dict[str, Any]]:
    """The points that a chart must have, from its range and its number of periods per point."""
    points: dict[int, list[Candle]] = {}
    start = to_milliseconds(chart.start)
    for open_ms in sorted(candles):
        if start <= open_ms < to_milliseconds(chart.end):
            points.setdefault(_start_of_point(series, start, chart.periods, open_ms), []).append(candles[open_ms][0])
    return [
        {
            "open_time": to_instant(at),
            "open": of_point[0].open,
            "high": max(candle.high for candle in of_point),
            "low": min(candle.low for candle in of_point),
            "close": of_point[-1].close,
            "volume": float(sum(Decimal(repr(candle.volume)) for candle in of_point)),
            "candles": len(of_point),
        }
        for at, of_point in points.items()
    ]


def _start_of_point(series: SeriesOfModel, start: int, periods: int, open_ms: int) -> int:
    if series.timeframe == "1M":
        first, date = to_instant(start), to_instant(open_ms)
        months = (date.year - first.year) * 12 + date.month - first.month
        return shift("1M", start, months // periods * periods)
    length = shortest_length(series.timeframe) * periods
    return start + (open_ms - start) // length * length


def a_random_range(rng: random.Random, series: SeriesOfModel) -> dict[str, datetime | None]:
    """Some part of the possible time, also more than it, and often without a limit."""
    first, last = sorted(rng.sample(range(-2, series.periods + 2), 2))
    odd = timedelta(milliseconds=rng.choice((0, 0, 1, 17_000)))
    start, end = to_instant(series.opens(first)) - odd, to_instant(series.opens(last)) + odd
    return {"start": start if rng.random() < 0.7 else None, "end": end if rng.random() < 0.7 else None}
