"""The markets and candles of one exchange, with numbers in the exchange's format."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Protocol

from exchange_simulator import replay
from exchange_simulator.aggregate import Candle
from exchange_simulator.markets import Listing, Market, list_markets
from exchange_simulator.settings import SimulatorSettings
from exchange_simulator.synthetic import Caches, SeriesParameters, SyntheticSeries
from exchange_simulator.timeframes import Frame

_OMITS_SILENT = {"coinbase": True, "kraken": False}
"""The exchanges with simulated minutes without trades, and whether they omit them."""

Writer = Callable[[int, int], str]
"""Formats a scaled integer, given the number of decimals. `aggregate` contains such functions."""


class Series(Protocol):
    price_decimals: int
    volume_decimals: int

    def candles(self, frame: Frame, start_ms: int, stop_ms: int, now_ms: int) -> list[Candle]: ...


class Row(NamedTuple):
    """A candle as text, as it is sent. Values are None only if a mood has changed them."""

    open_ms: int
    open: str | None
    high: str | None
    low: str | None
    close: str | None
    volume: str | None


class Venue:
    """The markets and candles of one exchange. Recordings replace the synthetic candles of their market."""

    def __init__(self, exchange: str, settings: SimulatorSettings, caches: Caches) -> None:
        self._settings, self._caches = settings, caches
        self.exchange = exchange
        # Clients often request the newest candles. Formatting the numbers takes longer than finding the candles.
        self._row = lru_cache(maxsize=8_192)(_write_row)
        replays = [item for item in settings.replays if item.exchange == exchange]
        self.listing: Listing = list_markets(exchange, tuple(item.symbol for item in replays))
        self._series: dict[str, Series] = {item.symbol: replay.load(item, settings.shift_to_ms) for item in replays}

    def rows(self, market: Market, frame: Frame, window: "Window", write: tuple[Writer, Writer]) -> list[Row]:
        """Ascending rows in the window. `write` formats prices and volumes."""
        series = self.series(market)
        candles = self.select_candles(series, frame, window)
        price, volume = write
        tick, lot = series.price_decimals, series.volume_decimals
        return [self._row(candle, price, volume, tick, lot) for candle in candles]

    def select_candles(self, series: Series, frame: Frame, window: "Window") -> list[Candle]:
        """The oldest or newest candles of the window. As on real exchanges, gaps do not count towards the limit."""
        stop_ms = min(window.stop_ms, window.now_ms + 1)
        if stop_ms <= window.start_ms or window.limit <= 0:
            return []
        if isinstance(series, SyntheticSeries):
            # The series has no end, so compute at most `limit` candles. Only Coinbase has gaps, and its windows end.
            if window.newest:
                first = max(window.start_ms, frame.plus(frame.floor(stop_ms - 1), 1 - window.limit), 0)
                return series.candles(frame, first, stop_ms, window.now_ms)
            return series.candles(
                frame,
                window.start_ms,
                min(stop_ms, frame.plus(frame.ceil(window.start_ms), window.limit)),
                window.now_ms,
            )
        candles = series.candles(frame, window.start_ms, stop_ms, window.now_ms)
        return candles[-window.limit :] if window.newest else candles[: window.limit]

    def series(self, market: Market) -> Series:
        if market.symbol not in self._series:
            silent = self._settings.silent_share if self.exchange in _OMITS_SILENT else 0.0
            parameters = SeriesParameters(self._settings.seed, market, silent, _OMITS_SILENT.get(self.exchange, False))
            self._series[market.symbol] = SyntheticSeries(parameters, self._caches)
        return self._series[market.symbol]


def _write_row(candle: Candle, price: Writer, volume: Writer, tick: int, lot: int) -> Row:
    open_ms, opening, high, low, close, amount = candle
    return Row(
        open_ms, price(opening, tick), price(high, tick), price(low, tick), price(close, tick), volume(amount, lot)
    )


class Window(NamedTuple):
    """Selects candles that open in [start, stop) and not after now: at most `limit`, the oldest or the newest ones."""

    start_ms: int
    stop_ms: int
    limit: int
    newest: bool
    now_ms: int
