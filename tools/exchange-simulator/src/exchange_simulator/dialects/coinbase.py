"""Coinbase Advanced (ccxt's `coinbase`): spot, newest first, times in seconds as text.

`start` and `end` are both inclusive and both required; a window of more than 300 candles is an error, not a clamp. The
open candle is not shown, and minutes without a trade are left out.
"""

from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from exchange_simulator.aggregate import trimmed
from exchange_simulator.catalogue import is_money
from exchange_simulator.dialects.dialect import (
    Ask,
    Fault,
    RefusedError,
    Reply,
    as_html,
    as_json,
    as_text,
    instant,
    whole_number,
)
from exchange_simulator.markets import Market
from exchange_simulator.timeframes import FRAMES, SECOND, Frame
from exchange_simulator.venue import Row, Venue, Window

_GRANULARITIES = {
    "ONE_MINUTE": "1m", "FIVE_MINUTE": "5m", "FIFTEEN_MINUTE": "15m", "THIRTY_MINUTE": "30m",
    "ONE_HOUR": "1h", "TWO_HOUR": "2h", "SIX_HOUR": "6h", "ONE_DAY": "1d",
}  # fmt: skip
_MOST = 300
_PRODUCTS = "/api/v3/brokerage/market/products"


def _error(code: str, details: str, status: int) -> Reply:
    return as_json({"error": code, "error_details": details, "message": details}, status)


def _invalid(details: str) -> Reply:
    return _error("INVALID_ARGUMENT", details, 400)


class Coinbase:
    exchange = "coinbase"
    hosts: tuple[str, ...] = ("api.coinbase.com",)

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def answer(self, ask: Ask) -> Reply:
        if ask.path.startswith("/v2/"):
            return self._v2(ask)
        if ask.path == _PRODUCTS:
            return self._products(ask)
        if ask.path.startswith(f"{_PRODUCTS}/"):
            return self._of_product(ask)
        if ask.path == "/api/v3/brokerage/time":
            seconds, millis = str(ask.now_ms // SECOND), str(ask.now_ms)
            return as_json({"iso": _iso(ask.now_ms), "epochSeconds": seconds, "epochMillis": millis})
        return _error("NOT_FOUND", "not found", 404)

    def _v2(self, ask: Ask) -> Reply:
        """The older API, which ccxt still asks for the time and the currencies."""
        data: Any
        match ask.path.removeprefix("/v2/"):
            case "time":
                data = {"iso": _iso(ask.now_ms), "epoch": ask.now_ms // SECOND}
            case "currencies":
                data = [_money(name) for name in self._assets if is_money(name)]
            case "currencies/crypto":
                data = [_coin(name) for name in self._assets if not is_money(name)]
            case "exchange-rates":
                data = {"currency": "USD", "rates": dict.fromkeys(self._assets, "1.0")}
            case _:
                return _error("NOT_FOUND", "not found", 404)
        return as_json({"data": data})

    def symbol(self, ask: Ask) -> str | None:
        market = self._market(ask)
        return market.symbol if market else None

    def fault(self, fault: Fault, _now_ms: int) -> Reply:
        match fault:
            case Fault.RATE_LIMIT:
                return as_json({"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}, 429)
            case Fault.BAN:
                return as_text("I'm a teapot", 418)
            case Fault.MAINTENANCE:
                return as_html("Coinbase is temporarily unavailable", 503)

    def _market(self, ask: Ask) -> Market | None:
        product = ask.path.removeprefix(_PRODUCTS).strip("/").partition("/")[0]
        return self._venue.listing.by_id.get(("spot", product))

    def _products(self, ask: Ask) -> Reply:
        products = [] if ask.query.get("product_type") == "FUTURE" else self._spot_products
        return as_json({"products": products, "num_products": len(products)})

    def _of_product(self, ask: Ask) -> Reply:
        market = self._market(ask)
        if market is None:
            raise RefusedError(_error("NOT_FOUND", "valid product_id is required", 404))
        if ask.path.endswith("/candles"):
            return self._candles(ask, market)
        return as_json(_product(market))

    def _candles(self, ask: Ask, market: Market) -> Reply:
        frame = self._frame(ask)
        if not ask.query.get("start") or not ask.query.get("end"):
            raise RefusedError(_invalid("start and end arguments are required"))
        refusal = _invalid("start and end argument is invalid")
        start = instant(ask.query, "start", 0, refusal, unit_ms=SECOND)
        end = instant(ask.query, "end", 0, refusal, unit_ms=SECOND)
        if end < start:
            raise RefusedError(refusal)
        if (end - start) // frame.step_ms > _MOST:
            reason = f"start and end argument is invalid - number of candles requested should be less than {_MOST}"
            raise RefusedError(_invalid(reason))
        limit = whole_number(ask.query, "limit", _MOST + 1, _invalid("limit argument is invalid"))
        # Only what has closed: a candle that opens before the one that is open now.
        stop = min(end + 1, frame.floor(ask.now_ms))
        window = Window(start, stop, min(limit, _MOST + 1), True, ask.now_ms)
        rows = ask.spoil(self._venue.rows(market, frame, window, (trimmed, trimmed)))
        return as_json({"candles": [_candle(row) for row in reversed(rows)]})

    def _frame(self, ask: Ask) -> Frame:
        name = ask.query.get("granularity", "")
        if name not in _GRANULARITIES:
            raise RefusedError(_invalid("unsupported granularity"))
        return FRAMES[_GRANULARITIES[name]]

    @cached_property
    def _spot_products(self) -> list[dict[str, Any]]:
        return [_product(market) for market in self._venue.listing.markets]

    @cached_property
    def _assets(self) -> list[str]:
        return sorted({name for market in self._venue.listing.markets for name in (market.base, market.quote)})


def _iso(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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
