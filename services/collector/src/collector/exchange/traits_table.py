"""Facts about exchanges: their answers in one table with a source for every fact, ccxt's requests from the catalogue.

An exchange without a row gets the defaults of `ExchangeTraits`. These are safe for every exchange, at the cost of
weaker checks or more requests. The requests are not written by hand: `contracts.exchange_catalogue` has those that
ccxt builds.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Final

from collector.exchange.traits import ASSUMED, ErrorPhrase, ExchangeTraits
from contracts.exchange_catalogue import MarketKind, RowOrder, load_catalogue
from contracts.timeframes import DAY_MS, HOUR_MS
from contracts.vocabulary import ErrorClass

_DEFAULTS: Final = ExchangeTraits()

_CCXT: Final = "ccxt 4.5.90"
_HITBTC_ORDER: Final = (
    "https://api.hitbtc.com/#candles: `sort` is DESC unless it is sent, and ccxt does not send it; "
    "https://github.com/ccxt/ccxt/issues/2833"
)
_LAST_10000: Final = (
    "https://www.gate.com/docs/developers/apiv4: `Candlestick too long ago. Maximum 10000 points ago are allowed`; "
    f"{_CCXT}, gate.py, exceptions"
)
_KUCOIN_SILENCE: Final = "https://github.com/Kucoin/kucoin-api-docs/issues/360: no data for intervals without trades"
_NEVER_FILLS: Final = "no candle for an interval without trades"
_YEAR_FILE: Final = (
    "the exchange has yearly files for this timeframe, but ccxt requests a daily file, which does not exist"
)
_TRADE_IDS: Final = (
    "https://koinju.io/blog, provable completeness of trades: ids of Coinbase, Kraken and Bitstamp are sequential"
)
_COINBASE_EXCHANGE_CANDLES: Final = (
    "https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-candles"
)

_SPOT, _LINEAR, _INVERSE = MarketKind.SPOT, MarketKind.LINEAR, MarketKind.INVERSE
_ALL: Final = (_SPOT, _LINEAR, _INVERSE)


def _row_in_ccxt(file: str) -> str:
    return f"{_CCXT}, {file}.py, the row quoted in parse_ohlcv"


TRAITS: Final[Mapping[str, ExchangeTraits]] = {
    "bequant": ExchangeTraits(order=RowOrder.NEWEST, sources={"order": _HITBTC_ORDER}),
    "binance": ExchangeTraits(
        raw_trades=dict.fromkeys(_ALL, 8),
        raw_quote_volume={_SPOT: 7, _LINEAR: 7},
        utc_days=True,
        monday_weeks=True,
        order=RowOrder.OLDEST,
        fills_silence=True,
        tape_weight={_SPOT: 0.4},
        sequential_trade_ids=True,
        sources={
            "tape_weight": f"Binance Spot REST API, GET /api/v3/aggTrades: from startTime on; {_CCXT}, binance.py",
            "raw_trades": _row_in_ccxt("binance"),
            "raw_quote_volume": f"{_row_in_ccxt('binance')}: index 7 is the base "
            "volume of inverse contracts, whose index 5 counts contracts",
            "sequential_trade_ids": "12,477 recorded aggregate trades of XRP/ETH with contiguous ids; "
            "https://github.com/binance/binance-public-data/issues/28",
            "utc_days": "Binance Spot REST API, GET /api/v3/klines: timeZone defaults to 0 (UTC)",
            "monday_weeks": "104 recorded weekly candles, which all open on a Monday",
            "order": "Binance Spot REST API, GET /api/v3/klines: at most `limit` candles from startTime on",
            "fills_silence": "https://github.com/binance/binance-public-data/issues/153 and 169: a candle is made "
            "without trades, except while trading is suspended",
        },
    ),
    "bitbank": ExchangeTraits(
        cannot_collect=dict.fromkeys(("4h", "8h", "12h", "1d", "1w"), _YEAR_FILE),
        sources={
            "cannot_collect": "https://github.com/bitbankinc/bitbank-api-docs/blob/master/public-api.md, candlestick: "
            f"YYYYMMDD up to 1hour, YYYY from 4hour on; {_CCXT}, bitbank.py, fetch_ohlcv sends YYYYMMDD for all",
        },
    ),
    "bitfinex": ExchangeTraits(
        order=RowOrder.OLDEST,
        fills_silence=False,
        sources={
            "order": f"https://docs.bitfinex.com/reference/rest-public-candles: sort=1 is ascending; {_CCXT} sends it",
            "fills_silence": f"https://github.com/bitfinexcom/bitfinex-api-py/issues/198: {_NEVER_FILLS}",
        },
    ),
    "bitstamp": ExchangeTraits(
        sequential_trade_ids=True,
        newest_trades_ms=HOUR_MS,
        sources={
            "sequential_trade_ids": _TRADE_IDS,
            "newest_trades_ms": f"{_CCXT}, bitstamp.py, fetch_trades sends time=hour and no start; "
            "https://www.bitstamp.net/api, transactions: `time` is minute, hour or day, and there is no start",
        },
    ),
    "bitvavo": ExchangeTraits(
        fills_silence=False,
        sources={"fills_silence": f"https://docs.bitvavo.com/docs/rest-api/get-candlestick-data: {_NEVER_FILLS}"},
    ),
    "bybit": ExchangeTraits(
        raw_quote_volume={_SPOT: 6, _LINEAR: 6, _INVERSE: 5},
        utc_days=True,
        monday_weeks=True,
        sources={
            "raw_quote_volume": f"{ASSUMED}; {_CCXT}, bybit.py, parse_ohlcv reads the base "
            "volume of inverse contracts from index 6, so that index 5 is the quote volume there",
            "utc_days": ASSUMED,
            "monday_weeks": ASSUMED,
        },
    ),
    "coinbase": ExchangeTraits(
        utc_days=True,
        exact_page_limit=True,
        error_phrases=(ErrorPhrase(text='"NOT_FOUND"', error_class=ErrorClass.BAD_SYMBOL, retryable=False),),
        fills_silence=False,
        sequential_trade_ids=True,
        trades_need_end=True,
        sources={
            "sequential_trade_ids": _TRADE_IDS,
            "trades_need_end": f"{_CCXT}, coinbase.py, fetch_trades: `since` requires `until`",
            "utc_days": ASSUMED,
            "exact_page_limit": f"{ASSUMED}; {_CCXT}, coinbase.py, features, gives the limit 300",
            "error_phrases": f"{ASSUMED}; {_CCXT}, coinbase.py has no class for this error",
            "fills_silence": f"{ASSUMED}; as {_COINBASE_EXCHANGE_CANDLES}, and so in recorded responses",
        },
    ),
    "coinbaseexchange": ExchangeTraits(
        utc_days=True,
        exact_page_limit=True,
        fills_silence=False,
        sources={
            "utc_days": ASSUMED,
            "exact_page_limit": f"{_COINBASE_EXCHANGE_CANDLES}: at most 300 candles per request",
            "fills_silence": f"{_COINBASE_EXCHANGE_CANDLES}: {_NEVER_FILLS}",
        },
    ),
    "cryptocom": ExchangeTraits(
        fills_silence=False,
        sources={"fills_silence": f"https://github.com/crypto-com/cdcx-cli/pull/3: {_NEVER_FILLS}"},
    ),
    "dydx": ExchangeTraits(
        order=RowOrder.NEWEST,
        sources={"order": f"{ASSUMED}; {_CCXT}, dydx.py, the response quoted in fetch_ohlcv is newest first"},
    ),
    "fmfwio": ExchangeTraits(order=RowOrder.NEWEST, sources={"order": _HITBTC_ORDER}),
    "gate": ExchangeTraits(
        raw_quote_volume={_SPOT: 1},
        history_candles=10_000,
        history_by_time=True,
        sources={
            "raw_quote_volume": _row_in_ccxt("gate"),
            "history_candles": _LAST_10000,
            "history_by_time": _LAST_10000,
        },
    ),
    "gateeu": ExchangeTraits(
        raw_quote_volume={_SPOT: 1},
        history_candles=10_000,
        history_by_time=True,
        sources={
            "raw_quote_volume": _row_in_ccxt("gate"),
            "history_candles": _LAST_10000,
            "history_by_time": _LAST_10000,
        },
    ),
    "hitbtc": ExchangeTraits(order=RowOrder.NEWEST, sources={"order": _HITBTC_ORDER}),
    "htx": ExchangeTraits(
        raw_trades={_SPOT: "count"},
        raw_quote_volume={_SPOT: "vol"},
        ignores_since=frozenset({MarketKind.LINEAR, MarketKind.INVERSE}),
        sources={
            "raw_trades": _row_in_ccxt("htx"),
            "raw_quote_volume": f"{_row_in_ccxt('htx')}: amount is the base volume "
            "and vol the quote volume of spot markets",
            "ignores_since": f"{_CCXT}, htx.py, fetch_ohlcv: if `size` is sent, `from` and `to` are ignored",
        },
    ),
    "hyperliquid": ExchangeTraits(
        raw_trades={_SPOT: "n", _LINEAR: "n"},
        history_candles=5000,
        fills_silence=False,
        sources={
            "raw_trades": f"{ASSUMED}; {_row_in_ccxt('hyperliquid')} has a number named n",
            "history_candles": "https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint: "
            "only the most recent 5000 candles are available; https://github.com/freqtrade/freqtrade/issues/11270",
            "fills_silence": f"{ASSUMED}; users report missing minutes",
        },
    ),
    "kraken": ExchangeTraits(
        raw_trades={_SPOT: 7},
        utc_days=True,
        exact_page_limit=True,
        history_candles=720,
        always_lists_candles=True,
        tape_weight={_SPOT: 1.2},
        error_phrases=(
            ErrorPhrase(text="EQuery:Unknown asset pair", error_class=ErrorClass.BAD_SYMBOL, retryable=False),
        ),
        candle_lengths={"2w": 15 * DAY_MS},
        sequential_trade_ids=True,
        sources={
            "raw_trades": f"{ASSUMED}; {_row_in_ccxt('kraken')} ends with a whole number",
            "sequential_trade_ids": _TRADE_IDS,
            "utc_days": ASSUMED,
            "monday_weeks": f"{ASSUMED}: weeks may be counted from the epoch, which was a Thursday",
            "exact_page_limit": "https://docs.kraken.com/api-reference/market-data/get-ohlc-data: "
            "all entries since the requested time, up to 720",
            "history_candles": "https://docs.kraken.com/api-reference/market-data/get-ohlc-data: "
            "up to 720 of the most recent entries, for any value of since",
            "tape_weight": "https://docs.kraken.com/api-reference/market-data/get-recent-trades: up to 1000 trades "
            f"since a time, with trade ids; {_CCXT}, kraken.py, cost",
            "always_lists_candles": "https://docs.kraken.com/api-reference/market-data/get-ohlc-data: "
            "the result always has the pair with its array, and last",
            "error_phrases": "https://support.kraken.com/hc/en-us/articles/360001491786-API-error-messages; "
            f"{_CCXT}, kraken.py has no class for this error",
            "candle_lengths": "https://docs.kraken.com/api-reference/market-data/get-ohlc-data: the interval 21600 is "
            "15 days; ccxt names it 2w",
        },
    ),
    "kucoin": ExchangeTraits(
        raw_quote_volume={_SPOT: 6},
        fills_silence=False,
        sources={"raw_quote_volume": _row_in_ccxt("kucoin"), "fills_silence": _KUCOIN_SILENCE},
    ),
    "kucoinfutures": ExchangeTraits(fills_silence=False, sources={"fills_silence": _KUCOIN_SILENCE}),
    "ndax": ExchangeTraits(
        labels_close=True,
        sources={
            "labels_close": "https://apidoc.ndax.io, GetTickerHistory: the first value of a row is the end of the bar, "
            "the last one its begin; recorded response",
        },
    ),
    "okx": ExchangeTraits(
        raw_quote_volume=dict.fromkeys(_ALL, 7),
        utc_days=True,
        monday_weeks=True,
        sources={
            "raw_quote_volume": _row_in_ccxt("okx"),
            "utc_days": f"{_CCXT}, okx.py, fetch_ohlcv requests 6Hutc, 1Dutc and so on, which are aligned to UTC",
            "monday_weeks": ASSUMED,
        },
    ),
    "upbit": ExchangeTraits(
        fills_silence=False,
        sources={"fills_silence": f"https://docs.upbit.com/reference/minute-candles: {_NEVER_FILLS}"},
    ),
}
"""ccxt's exchange id to the traits of the exchange."""


@cache
def traits_of(exchange_id: str) -> ExchangeTraits:
    """The traits of an exchange, by ccxt's id. Without a row in the table, only its requests are known."""
    row, entry = TRAITS.get(exchange_id, _DEFAULTS), load_catalogue().exchanges.get(exchange_id)
    if entry is None:
        return row
    return replace(
        row,
        requests=entry.requests,
        trades_since=entry.trades_since,
        needs_credentials=entry.needs_credentials,
    )
