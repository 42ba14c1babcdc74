"""The markets and candles of one exchange, with numbers in the exchange's format."""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from exchange_simulator import replay
from exchange_simulator.aggregate import Candle
from exchange_simulator.history import NO_HISTORY, History, LivedSeries, Status, joined
from exchange_simulator.markets import Kind, Listing, Market, list_markets
from exchange_simulator.pages import Page, show
from exchange_simulator.series import Row, Series, Span, Window, Writer
from exchange_simulator.settings import SimulatorSettings
from exchange_simulator.synthetic import Caches, SeriesParameters, SyntheticSeries, hash_text
from exchange_simulator.tape import Tape, TapeTrade
from exchange_simulator.timeframes import Frame

_OMITS_SILENT = {"coinbase": True, "kraken": False}
"""The exchanges with simulated minutes without trades, and whether they omit them."""

_BASE_FIELDS = ("baseAsset", "baseCoin", "baseCcy", "base_currency_id")
"""The field of the base asset in a list of markets, on Binance, Bybit, OKX and Coinbase."""

HORIZONS = {"kraken": 720}
"""The exchanges that keep only the newest rows, and their number."""


class Venue:
    """The markets and candles of one exchange. Recordings replace the synthetic candles of their market."""

    def __init__(self, exchange: str, settings: SimulatorSettings, caches: Caches) -> None:
        self._settings, self._caches = settings, caches
        self.exchange = exchange
        # Clients often request the newest candles. Formatting the numbers takes longer than finding the candles.
        self._row = lru_cache(maxsize=8_192)(_write_row)
        replays = [item for item in settings.replays if item.exchange == exchange]
        self.listing: Listing = list_markets(exchange, tuple(item.symbol for item in replays))
        self._recorded: dict[str, Series] = {item.symbol: replay.load(item, settings.shift_to_ms) for item in replays}
        self._series: dict[str, Series] = {}
        self._tapes: dict[str, Tape] = {}
        self.histories: dict[str | None, History] = {}
        """By symbol; None: for all markets."""
        self.impossible_shown: dict[tuple[str, str], Counter[int]] = {}
        """By symbol and timeframe: how often the impossible row of a candle was sent, by the candle's open time."""

    def rows(self, market: Market, frame: Frame, window: Window, page: Page, write: tuple[Writer, Writer]) -> list[Row]:
        """The rows in the order of the reply. `write` formats prices and volumes. Raises pages.RefusedSinceError."""
        series = self.series(market)
        price, volume = write
        tick, lot = series.price_decimals, series.volume_decimals
        shown = show(
            series,
            frame,
            window,
            page,
            self.key(market, frame),
            lambda candle: self._row(candle, price, volume, tick, lot),
        )
        if shown.impossible:
            self.impossible_shown.setdefault((market.symbol, frame.name), Counter()).update(shown.impossible)
        return shown.rows

    def trades(self, market: Market, asked: Span, limit: int, now_ms: int, page: Page) -> list[TapeTrade]:
        """The oldest trades in [start, stop), ascending, without those that a mood leaves out."""
        start, stop = asked
        shown = self._tape(market).trades(start, stop, now_ms, limit)
        return [
            each._replace(price=each.price + (each.id in page.falsified_trades))
            for each in shown
            if each.id not in page.missing_trades
        ]

    def count_trades(self, market: Market, span: Span, now_ms: int) -> int:
        """The number of trades in a range of whole minutes."""
        return self._tape(market).count(*span, now_ms)

    def _tape(self, market: Market) -> Tape:
        if market.symbol not in self._tapes:
            self._tapes[market.symbol] = Tape(self.series(market))
        return self._tapes[market.symbol]

    def key(self, market: Market, frame: Frame) -> int:
        """The seed of all random choices about the replies for one series."""
        return hash_text(f"{self._settings.seed}|{self.exchange}|{market.symbol}|{frame.name}")

    def history(self, market: Market) -> History:
        """The facts about the market: those of all markets of the exchange, and its own."""
        if not self.histories:
            return NO_HISTORY
        return joined(self.histories.get(None, NO_HISTORY), self.histories.get(market.symbol, NO_HISTORY))

    def set_history(self, symbol: str | None, history: History | None) -> None:
        """Replace the facts about one market, or about all (None). Without a history they are deleted."""
        self.histories.pop(symbol, None)
        if history is not None:
            self.histories[symbol] = history
        self._series.clear()
        self._tapes.clear()

    def frame(self, market: Market, frame: Frame) -> Frame:
        """The grid on which this exchange opens the candles of a timeframe."""
        return self.history(market).frame(frame)

    def market(self, kind: Kind, market_id: str) -> Market | None:
        return self.existing(self.listing.by_id.get((kind, market_id)))

    def existing(self, market: Market | None) -> Market | None:
        """The market, or None if it has vanished."""
        if market is None or self.history(market).status is Status.VANISHED:
            return None
        return market

    def listed(
        self, entries: Iterable[tuple[Market, dict[str, Any]]], inactive: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The entries of the exchange's list of markets. `inactive` are the fields of a market that is not active."""
        if not self.histories:
            return [entry for _, entry in entries]
        return [
            _renamed(entry, self.history(market).renamed_to)
            | (inactive if self.history(market).status is Status.INACTIVE else {})
            for market, entry in entries
            if self.existing(market)
        ]

    def series(self, market: Market) -> Series:
        if market.symbol not in self._series:
            self._series[market.symbol] = self._lived(market, self.history(market))
        return self._series[market.symbol]

    def _lived(self, market: Market, history: History) -> Series:
        omits = _OMITS_SILENT.get(self.exchange, False) if history.fills is None else not history.fills
        share = self._settings.silent_share if self.exchange in _OMITS_SILENT else 0.0
        share = share if history.silent_share is None else history.silent_share
        series = self._recorded.get(market.symbol) or SyntheticSeries(
            SeriesParameters(self._settings.seed, market, share, omits), self._caches
        )
        return LivedSeries(series, history, fills=not omits) if history.changes_trades else series


def _renamed(entry: dict[str, Any], base: str | None) -> dict[str, Any]:
    """The entry of a list of markets with another base asset."""
    return entry if base is None else {name: base if name in _BASE_FIELDS else value for name, value in entry.items()}


def _write_row(candle: Candle, price: Writer, volume: Writer, tick: int, lot: int) -> Row:
    open_ms, opening, high, low, close, amount = candle
    return Row(
        open_ms, price(opening, tick), price(high, tick), price(low, tick), price(close, tick), volume(amount, lot)
    )
