"""Compares the candles that ccxt has read with the response that they come from."""

from typing import Any

import ccxt.async_support as ccxt

from collector.exchange.response_shape import NoCandles, Refusal, content_of, paths_of
from collector.exchange.strict_http import LAST_REQUEST, add_http_details
from contracts.symbols import kind_of


def checked_rows(rows: list[Any], exchange: str, symbol: str, *, always_a_list: bool) -> list[Any]:
    """The rows that ccxt has read from the last response. Raises an error of ccxt if the response is a refusal, or if
    it neither contains candles nor says that there are none.
    """
    record, paths = LAST_REQUEST.get(), paths_of(exchange, kind_of(symbol))
    error: ccxt.BaseError
    try:
        content = content_of(record.body, paths, always_a_list=always_a_list)
    except Refusal as refusal:
        error = ccxt.ExchangeError(f"HTTP {record.status} with a refusal: {refusal}")
    except NoCandles as problem:
        error = ccxt.BadResponse(f"{problem}")
    else:
        if content == "none":
            return []
        if rows:
            return rows
        error = ccxt.BadResponse(f"ccxt reads no candle from this JSON: {record.body!r:.200}")
    add_http_details(error, record.status, record.headers, record.text, record.body, record.sent_ms / 1000)
    raise error
