"""Facts about exchanges, in one table with a source for every fact.

This module imports no ccxt, so that code which decides (paging, validation) can take an `ExchangeTraits` as an
argument. An exchange without a row gets the defaults. The defaults are careful: they are right for every exchange, at
the cost of a weaker check or another request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from contracts.vocabulary import ErrorClass

ANY_KEY: Final = "*"
"""In `candle_list_path`: any key, because the exchange names it after the market."""

ASSUMED: Final = "assumed"
"""The source of a fact that nobody has confirmed."""


@dataclass(frozen=True, kw_only=True)
class ErrorPhrase:
    """A text by which an exchange names an error that ccxt raises as a plain `ExchangeError`."""

    text: str
    error_class: ErrorClass
    retryable: bool


@dataclass(frozen=True, kw_only=True)
class ExchangeTraits:
    """How one exchange behaves. A test requires a source for every field that differs from its default."""

    utc_days: bool = False
    """Days, weeks and months begin at midnight UTC. If false, only whole hours are checked."""

    monday_weeks: bool = False
    """Weeks begin on Monday. If false, any midnight is accepted as the begin of a week."""

    default_page_limit: int = 100
    """How many rows to ask for if ccxt names no limit. A page that is too small only costs requests; a page that is
    larger than the exchange's loses candles."""

    exact_page_limit: bool = False
    """The exchange gives as many rows as it is asked for if they exist. If false, its page may be smaller than ccxt
    says. An answer that ends before now is then asked for again from its last row, so that no new candle is lost."""

    history_candles: int | None = None
    """How many of the newest candles can be read. If asked for older ones, the exchange silently answers with these.
    None: no such limit is known."""

    candle_list_path: tuple[str, ...] | None = None
    """The keys that lead to the list of candles in the JSON answer; `()` if the answer is the list. None: unknown, any
    list within the answer is accepted."""

    error_phrases: tuple[ErrorPhrase, ...] = ()
    """Phrases in error messages, for errors that ccxt has no class for."""

    sources: Mapping[str, str] = field(default_factory=dict)
    """Field name to the place where the fact was found, or `ASSUMED`."""


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
            "candle_list_path": f"{_CCXT}, binance.py, answer quoted in fetch_ohlcv; recorded answers",
        },
    ),
    "bybit": ExchangeTraits(
        utc_days=True,
        monday_weeks=True,
        candle_list_path=("result", "list"),
        sources={
            "utc_days": ASSUMED,
            "monday_weeks": ASSUMED,
            "candle_list_path": f"{_CCXT}, bybit.py, answer quoted in fetch_ohlcv; recorded answer",
        },
    ),
    "coinbase": ExchangeTraits(
        utc_days=True,
        exact_page_limit=True,
        candle_list_path=("candles",),
        error_phrases=(ErrorPhrase(text='"NOT_FOUND"', error_class=ErrorClass.BAD_SYMBOL, retryable=False),),
        sources={
            "utc_days": ASSUMED,
            "exact_page_limit": f"{ASSUMED}; {_CCXT}, coinbase.py, features: limit 300",
            "candle_list_path": f"{_CCXT}, coinbase.py, answer quoted in fetch_ohlcv; recorded answer",
            "error_phrases": f"{ASSUMED}; {_CCXT}, coinbase.py names no class for it",
        },
    ),
    "coinbaseexchange": ExchangeTraits(
        utc_days=True,
        exact_page_limit=True,
        candle_list_path=(),
        sources={
            "utc_days": ASSUMED,
            "exact_page_limit": f"{_COINBASE_EXCHANGE_CANDLES}: at most 300 candles a request",
            "candle_list_path": f"{_CCXT}, coinbaseexchange.py, answer quoted in fetch_ohlcv; recorded answer",
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
            "monday_weeks": f"{ASSUMED}: weeks may be counted from the epoch, a Thursday",
            "history_candles": "https://docs.kraken.com/api-reference/market-data/get-ohlc-data: "
            "up to 720 of the most recent entries, whatever the value of since",
            "candle_list_path": f"{_CCXT}, kraken.py, answer quoted in fetch_ohlcv; recorded answers",
            "error_phrases": "https://support.kraken.com/hc/en-us/articles/360001491786-API-error-messages; "
            f"{_CCXT}, kraken.py names no class for it",
        },
    ),
    "okx": ExchangeTraits(
        utc_days=True,
        monday_weeks=True,
        candle_list_path=("data",),
        sources={
            "utc_days": f"{_CCXT}, okx.py, fetch_ohlcv asks for 6Hutc, 1Dutc and so on, which open by UTC",
            "monday_weeks": ASSUMED,
            "candle_list_path": f"{_CCXT}, okx.py, answer quoted in fetch_ohlcv",
        },
    ),
}
"""ccxt's exchange id to what is known about the exchange."""


def traits_of(exchange_id: str) -> ExchangeTraits:
    """What is known about an exchange, by ccxt's id; the careful defaults if it has no row."""
    return TRAITS.get(exchange_id, _DEFAULTS)
