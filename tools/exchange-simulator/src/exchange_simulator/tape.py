"""The trades behind the candles of a market, with sequential ids.

A minute with volume has four trades: at its open, high, low and close price. So the candles can be computed from the
trades. Ids count from the start of the month (UTC) and jump between months, because the count of all earlier trades
would need all earlier candles. The open minute has no trades yet.
"""

from functools import lru_cache
from typing import NamedTuple

from exchange_simulator.aggregate import Candle
from exchange_simulator.series import Series
from exchange_simulator.timeframes import DAY, FRAMES, MINUTE

_PER_MINUTE = 4
_MINUTES = FRAMES["1m"]
_MONTHS = FRAMES["1M"]
_MOST_PER_MONTH = 1_000_000
"""More than the trades of a month, so that the ids of months do not overlap."""


class TapeTrade(NamedTuple):
    """One trade. The price is in ticks and the amount in lots."""

    id: int
    at_ms: int
    price: int
    amount: int


class Tape:
    """The trades of one series. The trades of a closed day are computed once."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._day = lru_cache(maxsize=128)(self._closed_minutes)

    def trades(self, start_ms: int, stop_ms: int, now_ms: int, limit: int) -> list[TapeTrade]:
        """The oldest `limit` trades in [start, stop), ascending."""
        stop_ms = min(stop_ms, _MINUTES.floor(now_ms))
        found: list[TapeTrade] = []
        at = start_ms // DAY * DAY
        while at < stop_ms and len(found) < limit:
            found += [each for each in self._trades_of_day(at, now_ms) if start_ms <= each.at_ms < stop_ms]
            at += DAY
        return found[:limit]

    def count(self, start_ms: int, stop_ms: int, now_ms: int) -> int:
        """The number of trades in [start, stop), which are whole minutes."""
        minutes = self._series.candles(_MINUTES, start_ms, min(stop_ms, _MINUTES.floor(now_ms)), now_ms)
        return sum(min(_PER_MINUTE, candle.volume) for candle in minutes)

    def _trades_of_day(self, day_ms: int, now_ms: int) -> list[TapeTrade]:
        month_ms = _MONTHS.floor(day_ms)
        number = (month_ms // DAY) * _MOST_PER_MONTH
        number += sum(self._count(earlier, now_ms) for earlier in range(month_ms, day_ms, DAY))
        trades: list[TapeTrade] = []
        for candle in self._minutes(day_ms, now_ms):
            for each in _of_minute(candle):
                number += 1
                trades.append(each._replace(id=number))
        return trades

    def _count(self, day_ms: int, now_ms: int) -> int:
        return sum(min(_PER_MINUTE, candle.volume) for candle in self._minutes(day_ms, now_ms))

    def _minutes(self, day_ms: int, now_ms: int) -> list[Candle]:
        return self._day(day_ms, min(day_ms + DAY, _MINUTES.floor(now_ms)))

    def _closed_minutes(self, start_ms: int, end_ms: int) -> list[Candle]:
        if end_ms <= start_ms:
            return []
        return [each for each in self._series.candles(_MINUTES, start_ms, end_ms, end_ms) if each.volume]


def _of_minute(candle: Candle) -> list[TapeTrade]:
    """Without ids. A candle of fewer than four lots has fewer trades, and its extremes may lack one."""
    count = min(_PER_MINUTE, candle.volume)
    prices = (candle.open, candle.high, candle.low, candle.close)[:count]
    share = candle.volume // count
    amounts = [share] * (count - 1) + [candle.volume - share * (count - 1)]
    step = MINUTE // (count + 1)
    return [
        TapeTrade(0, candle.open_ms + (index + 1) * step, price, amount)
        for index, (price, amount) in enumerate(zip(prices, amounts, strict=True))
    ]
