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
    """Days, weeks and months begin at midnight UTC. If false, only whole hours are checked."""

    monday_weeks: bool = False
    """Weeks begin on Monday. If false, any midnight is accepted as the start of a week."""

    default_page_limit: int = 100
    """The number of rows to request for a kind of market or a timeframe that is not in the catalogue. If it is too
    small, more requests are needed. If it is larger than the exchange's page, candles are requested again."""

    exact_page_limit: bool = False
    """The exchange sends as many rows as requested if they exist. If false, its page may be smaller than ccxt says. If
    a response ends before now, the next request then begins at its last row, so that no new candle is lost."""

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
    """Kind of market to the weight of one request for 1000 trades, in units of ccxt's rate limit. Only for exchanges
    that send the trades of any time, from a start on, with sequential ids: candles can be built from these."""

    sequential_trade_ids: bool = False
    """Trades have ids that grow by one per trade. Contiguous ids then prove that no trade is missing between them."""

    newest_trades_ms: int | None = None
    """Trades can be requested only if they are younger than this, in milliseconds: ccxt requests the newest ones,
    without a start. None: see `trades_since`.
    """

    trades_need_end: bool = False
    """ccxt refuses a request for trades from a time on without its end."""

    labels_close: bool = False
    """The time in a row is the close of the candle, not its open."""

    candle_lengths: Mapping[str, int] = field(default_factory=dict)
    """Timeframe to the real length of its candles in milliseconds, if it differs from the name."""

    cannot_collect: Mapping[str, str] = field(default_factory=dict)
    """Timeframe to the reason why its candles cannot be read, although ccxt builds a request."""

    always_lists_candles: bool = False
    """The exchange sends an empty list if it has no candles, never null or an empty object in its place."""

    raw_trades: Mapping[MarketKind, int | str] = field(default_factory=dict)
    """Kind of market to the index or key of the number of trades in a raw row."""

    raw_quote_volume: Mapping[MarketKind, int | str] = field(default_factory=dict)
    """Kind of market to the index or key of the volume in the quote currency in a raw row. Inverse contracts often
    swap the volumes: then it differs from that of spot markets, or does not exist."""

    error_phrases: tuple[ErrorPhrase, ...] = ()
    """Phrases in error messages, for errors that have no class in ccxt."""

    sources: Mapping[str, str] = field(default_factory=dict)
    """Field name to the document or recording with the fact, or a text that begins with `ASSUMED`."""

    requests: Mapping[MarketKind, Mapping[str, CandleRequest | CannotCollect]] = field(default_factory=dict)
    """The requests that ccxt builds, by kind of market and timeframe. From the catalogue; a row does not set it."""

    trades_since: frozenset[MarketKind] = frozenset()
    """The kinds of markets for which ccxt requests trades from a time on. From the catalogue."""

    needs_credentials: bool = False
    """ccxt refuses every request for candles without the keys of an account. From the catalogue."""

    def page_limit(self, kind: MarketKind | None, timeframe: str) -> int:
        """The number of candles from `since` on that one request is sure to cover: at most 1000."""
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
