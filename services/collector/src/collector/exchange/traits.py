"""The kinds of facts about an exchange. `traits_table.py` has the facts themselves.

This module does not import ccxt, so that the pure code (pages, reading) can take an `ExchangeTraits` as an argument.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from contracts.exchange_catalogue import CandleRequest, CannotCollect, MarketKind, RequestKind, RowOrder
from contracts.timeframes import longest_length
from contracts.vocabulary import ErrorClass

ASSUMED: Final = "assumed, not confirmed by a document or a recorded response"
"""The source of a fact that is not confirmed."""


@dataclass(frozen=True, kw_only=True)
class ErrorPhrase:
    """A text in an error message that identifies an error which ccxt raises as a plain `ExchangeError`."""

    text: str
    error_class: ErrorClass
    retryable: bool


@dataclass(frozen=True, kw_only=True)
class ExchangeTraits:
    """Facts about one exchange. A test requires a source for every field that differs from its default."""

    utc_days: bool = False
    """Days, weeks and months begin at midnight UTC. If false, they may begin at another time of day."""

    monday_weeks: bool = False
    """Weeks begin on Monday. If false, any midnight is accepted as the start of a week."""

    default_page_limit: int = 100
    """The number of rows to request for a kind of market or a timeframe that is not in the catalogue. If it is too
    small, more requests are needed. If it is larger than the exchange's page, candles are requested again."""

    exact_page_limit: bool = False
    """The exchange sends as many rows as requested if they exist. If false, its page may be smaller than ccxt says. In
    that case, if a response ends before now, the next request begins at its last row, so that no new candle is lost.
    """

    history_candles: int | None = None
    """The number of newest candles that can be read. If older ones are requested, the exchange sends these without an
    error, or refuses the request. None: no such limit is known."""

    history_by_time: bool = False
    """`history_candles` counts the periods before now, with or without a candle. If false, it counts candles, the open
    one included."""

    order: RowOrder = RowOrder.UNKNOWN
    """The rows that a request without an end gets."""

    ignores_since: frozenset[MarketKind] = frozenset()
    """The kinds of markets for which the exchange ignores the start and the end that ccxt sends. The catalogue then
    states `no_since`."""

    fills_silence: bool | None = None
    """The exchange sends a candle for a time without trades (true) or leaves it out (false). None: unknown."""

    tape_weight: Mapping[MarketKind, float] = field(default_factory=dict)
    """The weight of one request for 1000 trades, by kind of market, in units of ccxt's rate limit. It is set only if
    candles can be built from trades: the exchange must send the trades from any start on, with sequential ids.
    """

    sequential_trade_ids: bool = False
    """Trades have ids that grow by one per trade. Contiguous ids then prove that no trade is missing between them."""

    newest_trades_ms: int | None = None
    """The largest age of trades that can be requested, in milliseconds, if ccxt requests the newest trades without a
    start. None: see `trades_since`.
    """

    trades_need_end: bool = False
    """ccxt refuses a request for trades that has a start and no end."""

    labels_close: bool = False
    """The time in a row is the close of the candle, not its open."""

    candle_lengths: Mapping[str, int] = field(default_factory=dict)
    """The real length of candles in milliseconds, by timeframe, if it differs from the name of the timeframe."""

    cannot_collect: Mapping[str, str] = field(default_factory=dict)
    """The reason why candles cannot be read although ccxt builds a request, by timeframe."""

    always_lists_candles: bool = False
    """The exchange sends an empty list if it has no candles, never null or an empty object in its place."""

    raw_trades: Mapping[MarketKind, int | str] = field(default_factory=dict)
    """The index or key of the number of trades in a raw row, by kind of market."""

    raw_quote_volume: Mapping[MarketKind, int | str] = field(default_factory=dict)
    """The index or key of the volume in the quote currency in a raw row, by kind of market. For inverse contracts the
    two volumes are often swapped, so the index differs from that of spot markets, or there is none.
    """

    error_phrases: tuple[ErrorPhrase, ...] = ()
    """Phrases in error messages, for errors that have no class in ccxt."""

    sources: Mapping[str, str] = field(default_factory=dict)
    """The source of each fact, by field name: a document or a recording, or a text that begins with `ASSUMED`."""

    requests: Mapping[MarketKind, Mapping[str, CandleRequest | CannotCollect]] = field(default_factory=dict)
    """The requests that ccxt builds, by kind of market and timeframe. From the catalogue; a row does not set it."""

    trades_since: frozenset[MarketKind] = frozenset()
    """The kinds of markets for which ccxt requests trades from a time on. From the catalogue."""

    needs_credentials: bool = False
    """ccxt refuses every request for candles without the keys of an account. From the catalogue."""

    def page_limit(self, kind: MarketKind | None, timeframe: str) -> int:
        """The number of candles from `since` on that one request certainly covers: at most 1000."""
        request = self._request(kind, timeframe)
        return self.default_page_limit if request is None else request.page

    def request_kind(self, kind: MarketKind | None, timeframe: str) -> RequestKind:
        """How the request limits its answer. UNKNOWN if ccxt builds none."""
        request = self._request(kind, timeframe)
        return RequestKind.UNKNOWN if request is None else request.kind

    def honours_since(self, kind: MarketKind | None, timeframe: str) -> bool:
        """Whether the answer begins at `since`, as far as the request shows. An unknown request counts as false."""
        request = self._request(kind, timeframe)
        return request is not None and request.honours_since

    def honours_until(self, kind: MarketKind | None) -> bool:
        """Whether ccxt's parameter `until` sets the end of the request, for every timeframe of this kind of market."""
        requests = [] if kind is None else self.requests.get(kind, {}).values()
        candles = [each for each in requests if isinstance(each, CandleRequest)]
        return bool(candles) and all(each.until for each in candles)

    def refusal(self, kind: MarketKind | None, timeframe: str) -> CannotCollect | None:
        """The reason why these candles can never be collected; None if they can, or if it is unknown."""
        found = None if kind is None else self.requests.get(kind, {}).get(timeframe)
        return found if isinstance(found, CannotCollect) else None

    def ccxt_arguments(self, kind: MarketKind | None, timeframe: str, since: int, limit: int) -> tuple[int, int]:
        """The `since` and `limit` for ccxt, so that the request covers `limit` candles from `since` (ms) on.

        Some classes of ccxt count the first candle twice, and some round the start up to a later candle.
        """
        request = self._request(kind, timeframe)
        if request is None:
            return since, limit
        if request.starts_late:
            since = max(0, since - longest_length(timeframe))
        return since, min(request.limit, limit + request.limit - request.page)

    def _request(self, kind: MarketKind | None, timeframe: str) -> CandleRequest | None:
        found = None if kind is None else self.requests.get(kind, {}).get(timeframe)
        return found if isinstance(found, CandleRequest) else None
