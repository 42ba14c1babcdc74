"""Coinbase Advanced (ccxt's `coinbase`): spot, newest row first, times in seconds as text.

`start` and `end` are inclusive and required. A window of more than 300 candles is an error. The reply has no open
candle and no minutes without trades. Trades have sequential ids.
"""

from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from exchange_simulator.aggregate import fixed, trimmed
from exchange_simulator.catalogue import is_currency
from exchange_simulator.dialects.dialect import (
    ExchangeRequest,
    Fault,
    RefusedError,
    Reply,
    as_blocked,
    as_html,
    as_json,
    as_text,
    ban_message,
    instant,
    non_negative_integer,
)
from exchange_simulator.markets import Market
from exchange_simulator.series import Row, Window
from exchange_simulator.timeframes import DAY, FRAMES, SECOND, Frame
from exchange_simulator.venue import Venue

_GRANULARITIES = {
    "ONE_MINUTE": "1m", "FIVE_MINUTE": "5m", "FIFTEEN_MINUTE": "15m", "THIRTY_MINUTE": "30m",
    "ONE_HOUR": "1h", "TWO_HOUR": "2h", "SIX_HOUR": "6h", "ONE_DAY": "1d",
}  # fmt: skip
_MAX_ROWS = 300
_MAX_TRADES = 1_000
_ALL = 10**9
_PRODUCTS = "/api/v3/brokerage/market/products"
_INACTIVE = {"status": "delisted", "trading_disabled": True, "is_disabled": True}


def _error(code: str, details: str, status: int) -> Reply:
    return as_json({"error": code, "error_details": details, "message": details}, status)


def _invalid(details: str) -> Reply:
    return _error("INVALID_ARGUMENT", details, 400)


class Coinbase:
    exchange = "coinbase"
    hosts: tuple[str, ...] = ("api.coinbase.com",)

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def respond(self, request: ExchangeRequest) -> Reply:
        if request.path.startswith("/v2/"):
            return self._v2(request)
        if request.path == _PRODUCTS:
            return self._products(request)
        if request.path.startswith(f"{_PRODUCTS}/"):
            return self._of_product(request)
        if request.path == "/api/v3/brokerage/time":
            seconds, millis = str(request.now_ms // SECOND), str(request.now_ms)
            return as_json({"iso": _iso(request.now_ms), "epochSeconds": seconds, "epochMillis": millis})
        return _error("NOT_FOUND", "not found", 404)

    def _v2(self, request: ExchangeRequest) -> Reply:
        """The older API. ccxt still uses it for the time and the currencies."""
        data: Any
        match request.path.removeprefix("/v2/"):
            case "time":
                data = {"iso": _iso(request.now_ms), "epoch": request.now_ms // SECOND}
            case "currencies":
                data = [_money(name) for name in self._assets if is_currency(name)]
            case "currencies/crypto":
                data = [_coin(name) for name in self._assets if not is_currency(name)]
            case "exchange-rates":
                data = {"currency": "USD", "rates": dict.fromkeys(self._assets, "1.0")}
            case _:
                return _error("NOT_FOUND", "not found", 404)
        return as_json({"data": data})

    def symbol(self, request: ExchangeRequest) -> str | None:
        market = self._venue.listing.by_id.get(("spot", _product_id(request)))
        return market.symbol if market else None

    def timeframe(self, request: ExchangeRequest) -> str | None:
        return _GRANULARITIES.get(request.query.get("granularity", "")) if request.path.endswith("/candles") else None

    def fault(self, fault: Fault, _now_ms: int, until_ms: int) -> Reply:
        replies = {
            Fault.RATE_LIMIT: as_json({"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}, 429),
            Fault.BAN: as_text("I'm a teapot", 418),
            Fault.BAN_IN_BODY: as_json(
                {"errors": [{"id": "rate_limit_exceeded", "message": ban_message(until_ms)}]}, 429
            ),
            Fault.MAINTENANCE: as_html("Coinbase is temporarily unavailable", 503),
            Fault.CREDENTIALS: as_text("Unauthorized", 401),
            Fault.BLOCKED: as_blocked(),
            Fault.REFUSAL: as_json({"success": False, "message": "system busy", "candles": []}),
            Fault.OLD_SINCE: _invalid("start argument is invalid"),
        }
        return replies[fault]

    def _market(self, request: ExchangeRequest) -> Market | None:
        return self._venue.market("spot", _product_id(request))

    def _products(self, request: ExchangeRequest) -> Reply:
        spot = request.query.get("product_type") != "FUTURE"
        products = self._venue.listed(self._spot_products, _INACTIVE) if spot else []
        return as_json({"products": products, "num_products": len(products)})

    def _of_product(self, request: ExchangeRequest) -> Reply:
        market = self._market(request)
        if market is None:
            raise RefusedError(_error("NOT_FOUND", "valid product_id is required", 404))
        if request.path.endswith("/candles"):
            return self._candles(request, market)
        if request.path.endswith("/ticker"):
            return self._trades(request, market)
        return as_json(self._venue.listed([(market, _product(market))], _INACTIVE)[0])

    def _candles(self, request: ExchangeRequest, market: Market) -> Reply:
        frame = self._venue.frame(market, self._frame(request))
        if not request.query.get("start") or not request.query.get("end"):
            raise RefusedError(_invalid("start and end arguments are required"))
        refusal = _invalid("start and end argument is invalid")
        start = instant(request.query, "start", 0, refusal, unit_ms=SECOND)
        end = instant(request.query, "end", 0, refusal, unit_ms=SECOND)
        if end < start:
            raise RefusedError(refusal)
        if (end - start) // frame.step_ms > _MAX_ROWS:
            reason = f"start and end argument is invalid - number of candles requested should be less than {_MAX_ROWS}"
            raise RefusedError(_invalid(reason))
        limit = non_negative_integer(request.query, "limit", _MAX_ROWS + 1, _invalid("limit argument is invalid"))
        window = Window(
            start,
            end + 1,
            min(limit, _MAX_ROWS + 1),
            newest=True,
            now_ms=request.now_ms,
            closed_only=True,
            newest_first=True,
        )
        rows = self._venue.rows(market, frame, window, request.page, (trimmed, trimmed))
        return as_json({"candles": [_candle(row) for row in rows]})

    def _trades(self, request: ExchangeRequest, market: Market) -> Reply:
        """The newest trades of the window, the newest first."""
        refusal = _invalid("start and end argument is invalid")
        start = instant(request.query, "start", request.now_ms - DAY, refusal, unit_ms=SECOND)
        end = instant(request.query, "end", request.now_ms, refusal, unit_ms=SECOND)
        limit = non_negative_integer(request.query, "limit", _MAX_TRADES, _invalid("limit argument is invalid"))
        found = self._venue.trades(market, (start, end + 1), _ALL, request.now_ms, request.page)
        newest = found[-min(limit, _MAX_TRADES) :] if limit else []
        series = self._venue.series(market)
        trades = [
            {
                "trade_id": str(each.id),
                "product_id": market.id,
                "price": fixed(each.price, series.price_decimals),
                "size": fixed(each.amount, series.volume_decimals),
                "time": _iso_with_milliseconds(each.at_ms),
                "side": "BUY",
                "bid": "",
                "ask": "",
            }
            for each in reversed(newest)
        ]
        return as_json({"trades": trades, "best_bid": "", "best_ask": ""})

    def _frame(self, request: ExchangeRequest) -> Frame:
        name = request.query.get("granularity", "")
        if name not in _GRANULARITIES:
            raise RefusedError(_invalid("unsupported granularity"))
        return FRAMES[_GRANULARITIES[name]]

    @cached_property
    def _spot_products(self) -> list[tuple[Market, dict[str, Any]]]:
        return [(market, _product(market)) for market in self._venue.listing.markets]

    @cached_property
    def _assets(self) -> list[str]:
        return sorted({name for market in self._venue.listing.markets for name in (market.base, market.quote)})


def _product_id(request: ExchangeRequest) -> str:
    return request.path.removeprefix(_PRODUCTS).strip("/").partition("/")[0]


def _iso(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _iso_with_milliseconds(at_ms: int) -> str:
    return f"{_iso(at_ms)[:-1]}.{at_ms % SECOND:03}Z"


def _money(name: str) -> dict[str, Any]:
    return {"id": name, "name": name, "min_size": "0.01"}


def _coin(name: str) -> dict[str, Any]:
    return {"code": name, "name": name.title(), "asset_id": f"asset-{name.lower()}", "type": "crypto", "exponent": 8}


def _candle(row: Row) -> dict[str, Any]:
    return {
        "start": str(row.open_ms // SECOND),
        "low": row.low,
        "high": row.high,
        "open": row.open,
        "close": row.close,
        "volume": row.volume,
    }


def _product(market: Market) -> dict[str, Any]:
    return {
        "product_id": market.id,
        "price": f"{market.price:.{market.price_decimals}f}",
        "base_increment": market.lot,
        "quote_increment": market.tick,
        "price_increment": market.tick,
        "quote_min_size": "1",
        "quote_max_size": "10000000",
        "base_min_size": market.lot,
        "base_max_size": "10000000",
        "base_name": market.base,
        "quote_name": market.quote,
        "is_disabled": False,
        "status": "online",
        "trading_disabled": False,
        "product_type": "SPOT",
        "quote_currency_id": market.quote,
        "base_currency_id": market.base,
        "alias": f"{market.base}-USD" if market.quote == "USDC" else "",
        "alias_to": [f"{market.base}-USDC"] if market.quote == "USD" else [],
        "view_only": False,
        "display_name": market.id,
        "product_venue": "CBE",
    }
