"""Binance: spot on api.binance.com, linear swaps on fapi.binance.com. COIN-M (dapi) has no markets.

`startTime` and `endTime` are inclusive. With `startTime`, the reply has the oldest rows, otherwise the newest. A limit
above the maximum is reduced without an error. The last row is the open candle. Spot has eight decimals, futures those
of the tick.
"""

import json
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

from exchange_simulator.aggregate import eight_decimals, fixed
from exchange_simulator.dialects.dialect import (
    FAR_FUTURE_MS,
    ExchangeRequest,
    Fault,
    RefusedError,
    Reply,
    as_json,
    ban_message,
    instant,
    non_negative_integer,
)
from exchange_simulator.markets import Kind, Market
from exchange_simulator.series import Row, Window
from exchange_simulator.timeframes import FRAMES, Frame
from exchange_simulator.venue import Venue

SPOT_HOST, SWAP_HOST, COIN_HOST = "api.binance.com", "fapi.binance.com", "dapi.binance.com"
_INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
_DEFAULT_LIMIT = 500
_MAX_ROWS = {"spot": 1_000, "swap": 1_500}
_MAX_TRADES = 1_000
_NORMAL = {"status": 0, "msg": "normal"}
"""The reply about the status of the system."""
_NEVER_DELIVERED_MS = 4_133_404_800_000


def _error(code: int, message: str, status: int = 400) -> Reply:
    return as_json({"code": code, "msg": message}, status)


def _illegal(name: str) -> Reply:
    return _error(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")


def _missing(name: str) -> Reply:
    return _error(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


class Binance:
    exchange = "binance"
    hosts: tuple[str, ...] = (SPOT_HOST, SWAP_HOST, COIN_HOST)

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._kline = lru_cache(maxsize=8_192)(_kline)

    def respond(self, request: ExchangeRequest) -> Reply:
        _, _, endpoint = request.path.strip("/").rpartition("/")
        match endpoint:
            case "klines":
                return self._klines(request)
            case "aggTrades":
                return self._trades(request)
            case "exchangeInfo":
                return self._exchange_info(request)
            case "time" | "ping" | "status":
                replies = {"time": {"serverTime": request.now_ms}, "ping": {}, "status": _NORMAL}
                return as_json(replies[endpoint])
            case _:
                return _error(-1000, f"Path {request.path} is not simulated.", 404)

    def symbol(self, request: ExchangeRequest) -> str | None:
        market = self._venue.listing.by_id.get((_kind(request), request.query.get("symbol", "")))
        return market.symbol if market else None

    def timeframe(self, request: ExchangeRequest) -> str | None:
        name = request.query.get("interval")
        return name if request.path.endswith("/klines") and name in FRAMES else None

    def fault(self, fault: Fault, _now_ms: int, until_ms: int) -> Reply:
        replies = {
            Fault.RATE_LIMIT: _error(
                -1003, "Too much request weight used; current limit is 6000 request weight per 1 MINUTE.", 429
            ),
            Fault.BAN: _error(-1003, f"Way too much request weight used; IP banned until {until_ms}.", 418),
            Fault.BAN_IN_BODY: _error(-1003, ban_message(until_ms), 429),
            Fault.MAINTENANCE: _error(-1, "System is under maintenance.", 503),
            Fault.CREDENTIALS: _error(-2014, "API-key format invalid.", 401),
            Fault.BLOCKED: _error(
                0, "Service unavailable from a restricted location according to 'b. Eligibility'.", 451
            ),
            Fault.REFUSAL: as_json({"success": False, "msg": "system busy", "result": []}),
            Fault.OLD_SINCE: _error(-1130, "Data sent for parameter 'startTime' is not valid."),
        }
        return replies[fault]

    def _klines(self, request: ExchangeRequest) -> Reply:
        market = self._market(request)
        frame = self._venue.frame(market, self._frame(request))
        limit = non_negative_integer(request.query, "limit", _DEFAULT_LIMIT, _illegal("limit"))
        if limit == 0:
            raise RefusedError(_error(-1130, "Data sent for parameter 'limit' is not valid."))
        start = instant(request.query, "startTime", 0, _illegal("startTime"))
        end = instant(request.query, "endTime", FAR_FUTURE_MS, _illegal("endTime"))
        since_given = "startTime" in request.query
        window = Window(
            start, end + 1, min(limit, _MAX_ROWS[market.kind]), not since_given, request.now_ms, since_given
        )
        write = eight_decimals if market.kind == "spot" else fixed
        rows = self._venue.rows(market, frame, window, request.page, (write, write))
        return as_json([self._kline(row, frame) for row in rows], weight=2)

    def _trades(self, request: ExchangeRequest) -> Reply:
        market = self._market(request)
        series = self._venue.series(market)
        start = instant(request.query, "startTime", 0, _illegal("startTime"))
        end = instant(request.query, "endTime", FAR_FUTURE_MS, _illegal("endTime"))
        if "fromId" in request.query or "startTime" not in request.query:
            raise RefusedError(_error(-1100, "The simulator sends trades from startTime on only."))
        limit = min(non_negative_integer(request.query, "limit", _DEFAULT_LIMIT, _illegal("limit")), _MAX_TRADES)
        found = self._venue.trades(market, (start, end + 1), limit, request.now_ms, request.page)
        trades = [
            {
                "a": each.id,
                "p": eight_decimals(each.price, series.price_decimals),
                "q": eight_decimals(each.amount, series.volume_decimals),
                "f": each.id,
                "l": each.id,
                "T": each.at_ms,
                "m": False,
                "M": True,
            }
            for each in found
        ]
        return as_json(trades, weight=4)

    def _market(self, request: ExchangeRequest) -> Market:
        if "symbol" not in request.query:
            raise RefusedError(_missing("symbol"))
        market = self._venue.market(_kind(request), request.query["symbol"])
        if market is None or request.host == COIN_HOST:
            raise RefusedError(_error(-1121, "Invalid symbol."))
        return market

    def _frame(self, request: ExchangeRequest) -> Frame:
        if "interval" not in request.query:
            raise RefusedError(_missing("interval"))
        name = request.query["interval"]
        # One-second candles exist on the spot market only.
        if name not in _INTERVALS and not (name == "1s" and request.host == SPOT_HOST):
            raise RefusedError(_error(-1120, "Invalid interval."))
        return FRAMES[name]

    def _exchange_info(self, request: ExchangeRequest) -> Reply:
        if request.host == COIN_HOST:
            return as_json({"timezone": "UTC", "serverTime": request.now_ms, "symbols": []})
        every = self._venue.listed(self._entries[_kind(request)], {"status": "BREAK"})
        entries = {entry["symbol"]: entry for entry in every}
        requested = _requested_symbols(request.query)
        if requested is None:
            chosen = every
        elif all(name in entries for name in requested):
            chosen = [entries[name] for name in requested]
        else:
            raise RefusedError(_error(-1121, "Invalid symbol."))
        info = {
            "timezone": "UTC",
            "serverTime": request.now_ms,
            "rateLimits": [],
            "exchangeFilters": [],
            "symbols": chosen,
        }
        return as_json(info, weight=20)

    @cached_property
    def _entries(self) -> dict[Kind, list[tuple[Market, dict[str, Any]]]]:
        listing = self._venue.listing
        return {
            "spot": [(market, _spot_entry(market)) for market in listing.of_kind("spot")],
            "swap": [(market, _swap_entry(market)) for market in listing.of_kind("swap")],
        }


def _kind(request: ExchangeRequest) -> Kind:
    return "spot" if request.host == SPOT_HOST else "swap"


def _requested_symbols(query: Mapping[str, str]) -> list[str] | None:
    if "symbol" in query:
        return [query["symbol"]]
    if "symbols" not in query:
        return None
    try:
        names = json.loads(query["symbols"])
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RefusedError(_illegal("symbols"))
    return names


def _kline(row: Row, frame: Frame) -> tuple[Any, ...]:
    """The twelve fields of a kline. Quote volume and number of trades are plausible values."""
    try:
        volume, close = float(row.volume or 0), float(row.close or 0)
    except ValueError:
        volume = close = 0.0
    trades = int(volume * 7) % 4_000 + 1 if volume else 0
    quote = f"{volume * close:.8f}"
    half, half_quote = f"{volume / 2:.8f}", f"{volume * close / 2:.8f}"
    end_ms = frame.plus(frame.floor(row.open_ms), 1) - 1
    return (*row, end_ms, quote, trades, half, half_quote, "0")


def _filters(market: Market) -> list[dict[str, str]]:
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": market.tick,
            "maxPrice": "1000000.00000000",
            "tickSize": market.tick,
        },
        {"filterType": "LOT_SIZE", "minQty": market.lot, "maxQty": "900000000.00000000", "stepSize": market.lot},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "maxNotional": "9000000.00000000"},
    ]


def _spot_entry(market: Market) -> dict[str, Any]:
    return {
        "symbol": market.id,
        "status": "TRADING",
        "baseAsset": market.base,
        "baseAssetPrecision": 8,
        "quoteAsset": market.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": _filters(market),
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN"]],
    }


def _swap_entry(market: Market) -> dict[str, Any]:
    return {
        "symbol": market.id,
        "pair": market.id,
        "contractType": "PERPETUAL",
        "deliveryDate": _NEVER_DELIVERED_MS,
        "onboardDate": 1_569_398_400_000,
        "status": "TRADING",
        "baseAsset": market.base,
        "quoteAsset": market.quote,
        "marginAsset": market.quote,
        "pricePrecision": market.price_decimals,
        "quantityPrecision": market.volume_decimals,
        "filters": _filters(market),
    }
