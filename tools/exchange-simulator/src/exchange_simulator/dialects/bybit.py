"""Bybit v5: spot and linear swaps, newest row first. Errors have HTTP status 200 and a `retCode`.

`start` and `end` are inclusive. With `start` alone, the reply has the oldest rows from there; with `end`, the newest
rows up to it. The default is 200 rows, the maximum 1000. The first row is the open candle.
"""

from functools import cached_property
from typing import Any

from exchange_simulator.aggregate import trimmed
from exchange_simulator.dialects.dialect import (
    FAR_FUTURE_MS,
    ExchangeRequest,
    Fault,
    RefusedError,
    Reply,
    as_blocked,
    as_json,
    as_text,
    ban_message,
    instant,
    non_negative_integer,
)
from exchange_simulator.markets import Kind, Market
from exchange_simulator.series import Row, Window
from exchange_simulator.timeframes import FRAMES
from exchange_simulator.venue import Venue

_INTERVALS = {
    "1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "240": "4h", "360": "6h",
    "720": "12h", "D": "1d", "W": "1w", "M": "1M",
}  # fmt: skip
_CATEGORIES: dict[str, Kind] = {"spot": "spot", "linear": "swap"}
_DEFAULT_LIMIT, _MAX_ROWS = 200, 1_000


def _reply(now_ms: int, result: Any, code: int = 0, message: str = "OK", status: int = 200) -> Reply:
    body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now_ms}
    return as_json(body, status)


def _refuse(request: ExchangeRequest, message: str) -> Reply:
    return _reply(request.now_ms, {}, 10001, message)


class Bybit:
    exchange = "bybit"
    hosts: tuple[str, ...] = ("api.bybit.com",)

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def respond(self, request: ExchangeRequest) -> Reply:
        match request.path:
            case "/v5/market/kline":
                return self._kline(request)
            case "/v5/market/instruments-info":
                return self._instruments(request)
            case "/v5/market/time":
                nanoseconds = str(request.now_ms * 1_000_000)
                return _reply(request.now_ms, {"timeSecond": str(request.now_ms // 1_000), "timeNano": nanoseconds})
            case _:
                return as_text("404 page not found", 404)

    def symbol(self, request: ExchangeRequest) -> str | None:
        kind = _CATEGORIES.get(request.query.get("category", "linear"))
        market = self._venue.listing.by_id.get((kind, request.query.get("symbol", ""))) if kind else None
        return market.symbol if market else None

    def timeframe(self, request: ExchangeRequest) -> str | None:
        return _INTERVALS.get(request.query.get("interval", "")) if request.path.endswith("/kline") else None

    def fault(self, fault: Fault, now_ms: int, until_ms: int) -> Reply:
        replies = {
            Fault.RATE_LIMIT: _reply(now_ms, {}, 10006, "Too many visits. Exceeded the API Rate Limit.", 429),
            Fault.BAN: as_text("I'm a teapot", 418),
            Fault.BAN_IN_BODY: _reply(now_ms, {}, 10006, ban_message(until_ms), 429),
            Fault.MAINTENANCE: _reply(now_ms, {}, 10016, "System error. Please try again later."),
            Fault.CREDENTIALS: _reply(now_ms, {}, 10003, "API key is invalid.", 401),
            Fault.BLOCKED: as_blocked(),
            Fault.REFUSAL: _reply(now_ms, {"list": []}, 10016, "system busy"),
            Fault.OLD_SINCE: _reply(now_ms, {}, 10001, "params error: start is invalid"),
        }
        return replies[fault]

    def _market(self, request: ExchangeRequest) -> Market | None:
        kind = _CATEGORIES.get(request.query.get("category", "linear"))
        return self._venue.market(kind, request.query.get("symbol", "")) if kind else None

    def _kline(self, request: ExchangeRequest) -> Reply:
        market = self._market(request)
        if market is None:
            raise RefusedError(_refuse(request, "Not supported symbols"))
        interval = request.query.get("interval", "")
        if interval not in _INTERVALS:
            raise RefusedError(_refuse(request, "Invalid period!"))
        refusal = _refuse(request, "params error")
        limit = non_negative_integer(request.query, "limit", _DEFAULT_LIMIT, refusal)
        if limit == 0:
            raise RefusedError(refusal)
        start = instant(request.query, "start", 0, refusal)
        end = instant(request.query, "end", FAR_FUTURE_MS, refusal)
        since_given = "start" in request.query
        newest = not since_given or "end" in request.query
        window = Window(start, end + 1, min(limit, _MAX_ROWS), newest, request.now_ms, since_given, newest_first=True)
        frame = self._venue.frame(market, FRAMES[_INTERVALS[interval]])
        rows = self._venue.rows(market, frame, window, request.page, (trimmed, trimmed))
        category = request.query.get("category", "linear")
        return _reply(request.now_ms, {"category": category, "symbol": market.id, "list": [_row(row) for row in rows]})

    def _instruments(self, request: ExchangeRequest) -> Reply:
        category = request.query.get("category", "")
        kind = _CATEGORIES.get(category)
        entries = self._entries[kind] if kind and "status" not in request.query else []
        listed = self._venue.listed(entries, {"status": "Closed"})
        if "symbol" in request.query:
            listed = [entry for entry in listed if entry["symbol"] == request.query["symbol"]]
        return _reply(request.now_ms, {"category": category, "list": listed, "nextPageCursor": ""})

    @cached_property
    def _entries(self) -> dict[Kind, list[tuple[Market, dict[str, Any]]]]:
        listing = self._venue.listing
        return {
            "spot": [(market, _spot_entry(market)) for market in listing.of_kind("spot")],
            "swap": [(market, _swap_entry(market)) for market in listing.of_kind("swap")],
        }


def _row(row: Row) -> list[Any]:
    try:
        turnover = f"{float(row.volume or 0) * float(row.close or 0):.8f}"
    except ValueError:
        turnover = "0"
    return [str(row.open_ms), *row[1:], turnover]


def _spot_entry(market: Market) -> dict[str, Any]:
    return {
        "symbol": market.id,
        "baseCoin": market.base,
        "quoteCoin": market.quote,
        "innovation": "0",
        "status": "Trading",
        "marginTrading": "utaOnly",
        "lotSizeFilter": {
            "basePrecision": market.lot,
            "quotePrecision": "0.0000001",
            "minOrderQty": market.lot,
            "maxOrderQty": "1000000",
            "minOrderAmt": "5",
            "maxOrderAmt": "8000000",
        },
        "priceFilter": {"tickSize": market.tick},
    }


def _swap_entry(market: Market) -> dict[str, Any]:
    return {
        "symbol": market.id,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": market.base,
        "quoteCoin": market.quote,
        "settleCoin": market.quote,
        "launchTime": "1584230400000",
        "deliveryTime": "0",
        "priceScale": str(market.price_decimals),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": market.tick, "maxPrice": "1999999.80", "tickSize": market.tick},
        "lotSizeFilter": {
            "maxOrderQty": "1190",
            "minOrderQty": market.lot,
            "qtyStep": market.lot,
            "minNotionalValue": "5",
        },
        "fundingInterval": 480,
    }
