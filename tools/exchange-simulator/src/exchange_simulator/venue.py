"""One exchange as its dialect sees it: its markets, and their candles as the exchange writes numbers."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Protocol

from exchange_simulator import replay
from exchange_simulator.aggregate import Candle
from exchange_simulator.markets import Listing, Market, list_markets
from exchange_simulator.settings import SimulatorSettings
from exchange_simulator.synthetic import Caches, Recipe, SyntheticSeries
from exchange_simulator.timeframes import Frame

_OMITS_SILENT = {"coinbase": True, "kraken": False}
"""Exchanges where silent minutes are simulated, and whether they are left out."""

Writer = Callable[[int, int], str]
"""Formats a scaled integer with so many decimals: one of those in `aggregate`."""


class Series(Protocol):
    price_decimals: int
    volume_decimals: int

    def candles(self, frame: Frame, start_ms: int, stop_ms: int, now_ms: int) -> list[Candle]: ...


class Row(NamedTuple):
    """A candle as text, as it goes over the wire. None only where a mood has spoiled it."""

    open_ms: int
    open: str | None
    high: str | None
    low: str | None
    close: str | None
    volume: str | None


class Venue:
    """An exchange's markets and candles; recordings take the place of synthetic candles where there are any."""

    def __init__(self, exchange: str, settings: SimulatorSettings, caches: Caches) -> None:
        self._settings, self._caches = settings, caches
        self.exchange = exchange
        # Clients ask for the newest candles again and again; writing the same numbers takes longer than finding them.
        self._row = lru_cache(maxsize=8_192)(_write_row)
        replays = [item for item in settings.replays if item.exchange == exchange]
        self.listing: Listing = list_markets(exchange, tuple(item.symbol for item in replays))
        self._series: dict[str, Series] = {item.symbol: replay.load(item, settings.shift_to_ms) for item in replays}

    def rows(self, market: Market, frame: Frame, window: "Window", write: tuple[Writer, Writer]) -> list[Row]:
        """Ascending rows in the window; `write` formats prices and volumes."""
        series = self.series(market)
        candles = self.pick(series, frame, window)
        price, volume = write
        tick, lot = series.price_decimals, series.volume_decimals
        return [self._row(candle, price, volume, tick, lot) for candle in candles]

    def pick(self, series: Series, frame: Frame, window: "Window") -> list[Candle]:
        """The window's oldest or newest candles. Gaps do not count towards the limit, as on real exchanges."""
        stop_ms = min(window.stop_ms, window.now_ms + 1)
        if stop_ms <= window.start_ms or window.limit <= 0:
            return []
        if isinstance(series, SyntheticSeries):
            # Endless: ask for no more than the limit. Only Coinbase has gaps here, and it is asked for windows alone.
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
            recipe = Recipe(self._settings.seed, market, silent, _OMITS_SILENT.get(self.exchange, False))
            self._series[market.symbol] = SyntheticSeries(recipe, self._caches)
        return self._series[market.symbol]


def _write_row(candle: Candle, price: Writer, volume: Writer, tick: int, lot: int) -> Row:
    open_ms, opening, high, low, close, amount = candle
    return Row(
        open_ms, price(opening, tick), price(high, tick), price(low, tick), price(close, tick), volume(amount, lot)
    )


class Window(NamedTuple):
    """Which candles: those that open in [start, stop) by `now`, at most `limit`, the oldest or the newest of them."""

    start_ms: int
    stop_ms: int
    limit: int
    newest: bool
    now_ms: int
