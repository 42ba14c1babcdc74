"""Facts about exchanges, in one table with a source for every fact.

This module does not import ccxt, so that the pure code (paging, validation) can take an `ExchangeTraits` as an
argument. An exchange without a row gets the defaults. These are safe for every exchange, at the cost of weaker checks
or more requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from contracts.vocabulary import ErrorClass

ANY_KEY: Final = "*"
"""In `candle_list_path`: any key, because the exchange names it after the market."""

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
    """The number of rows to request if ccxt names no limit. If it is too small, more requests are needed. If it is
    larger than the exchange's page, candles are lost."""

    exact_page_limit: bool = False
    """The exchange sends as many rows as requested if they exist. If false, its page may be smaller than ccxt says. If
    a response ends before now, the next request then begins at its last row, so that no new candle is lost."""

    honours_until: bool = False
    """ccxt sends the end of the window (`until`) to the exchange."""

    labels_close: bool = False
    """The time in a row is the close of the candle, not its open."""

    candle_lengths: Mapping[str, int] = field(default_factory=dict)
    """Timeframe to the real length in milliseconds, where it differs from the name."""

    history_candles: int | None = None
    """The number of newest candles that can be read. If older ones are requested, the exchange sends these without an
    error. None: no such limit is known."""

    candle_list_path: tuple[str, ...] | None = None
    """The keys that lead to the list of candles in the JSON response; `()` if the response is the list. None: unknown,
    any list within the response is accepted."""

    error_phrases: tuple[ErrorPhrase, ...] = ()
    """Phrases in error messages, for errors that have no class in ccxt."""

    sources: Mapping[str, str] = field(default_factory=dict)
    """Field name to the document or recording with the fact, or a text that begins with `ASSUMED`."""


_DEFAULTS: Final = ExchangeTraits()

_CCXT: Final = "ccxt 4.5.90"
_COINBASE_EXCHANGE_CANDLES: Final = (
    "https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-candles"
)

TRAITS: Final[Mapping[str, ExchangeTraits]] = {
    "binance": ExchangeTraits(
        utc_days=True,
        monday_weeks=True,
        candle_list_path=(),
        sources={
            "utc_days": "Binance Spot REST API, GET /api/v3/klines: timeZone defaults to 0 (UTC)",
            "monday_weeks": "104 recorded weekly candles, which all open on a Monday",
            "candle_list_path": f"{_CCXT}, binance.py, response quoted in fetch_ohlcv; recorded responses",
        },
    ),
    "bybit": ExchangeTraits(
        utc_days=True,
        monday_weeks=True,
        candle_list_path=("result", "list"),
        sources={
            "utc_days": ASSUMED,
            "monday_weeks": ASSUMED,
            "candle_list_path": f"{_CCXT}, bybit.py, response quoted in fetch_ohlcv; recorded response",
        },
    ),
    "coinbase": ExchangeTraits(
        utc_days=True,
        exact_page_limit=True,
        candle_list_path=("candles",),
        error_phrases=(ErrorPhrase(text='"NOT_FOUND"', error_class=ErrorClass.BAD_SYMBOL, retryable=False),),
        sources={
            "utc_days": ASSUMED,
            "exact_page_limit": f"{ASSUMED}; {_CCXT}, coinbase.py, features, gives the limit 300",
            "candle_list_path": f"{_CCXT}, coinbase.py, response quoted in fetch_ohlcv; recorded response",
            "error_phrases": f"{ASSUMED}; {_CCXT}, coinbase.py has no class for this error",
        },
    ),
    "coinbaseexchange": ExchangeTraits(
        utc_days=True,
        exact_page_limit=True,
        candle_list_path=(),
        sources={
            "utc_days": ASSUMED,
            "exact_page_limit": f"{_COINBASE_EXCHANGE_CANDLES}: at most 300 candles per request",
            "candle_list_path": f"{_CCXT}, coinbaseexchange.py, response quoted in fetch_ohlcv; recorded response",
        },
    ),
    "kraken": ExchangeTraits(
        utc_days=True,
        history_candles=720,
        candle_list_path=("result", ANY_KEY),
        error_phrases=(
            ErrorPhrase(text="EQuery:Unknown asset pair", error_class=ErrorClass.BAD_SYMBOL, retryable=False),
        ),
        sources={
            "utc_days": ASSUMED,
            "monday_weeks": f"{ASSUMED}: weeks may be counted from the epoch, which was a Thursday",
            "history_candles": "https://docs.kraken.com/api-reference/market-data/get-ohlc-data: "
            "up to 720 of the most recent entries, for any value of since",
            "candle_list_path": f"{_CCXT}, kraken.py, response quoted in fetch_ohlcv; recorded responses",
            "error_phrases": "https://support.kraken.com/hc/en-us/articles/360001491786-API-error-messages; "
            f"{_CCXT}, kraken.py has no class for this error",
        },
    ),
    "okx": ExchangeTraits(
        utc_days=True,
        monday_weeks=True,
        candle_list_path=("data",),
        sources={
            "utc_days": f"{_CCXT}, okx.py, fetch_ohlcv requests 6Hutc, 1Dutc and so on, which are aligned to UTC",
            "monday_weeks": ASSUMED,
            "candle_list_path": f"{_CCXT}, okx.py, response quoted in fetch_ohlcv",
        },
    ),
}
"""ccxt's exchange id to the traits of the exchange."""


def traits_of(exchange_id: str) -> ExchangeTraits:
    """The traits of an exchange, by ccxt's id; the safe defaults if it has no row."""
    return TRAITS.get(exchange_id, _DEFAULTS)
