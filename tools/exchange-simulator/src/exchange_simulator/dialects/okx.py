"""OKX v5: spot and linear swaps, newest row first. Errors have HTTP status 200 or 400 and a `code`.

`after` means older than and `before` newer than; both are exclusive. The reply has the newest rows between them: 100 by
default, 300 at most. `candles` has the latest 1440 candles, the open one with confirm=0; `history-candles` has all
closed candles. Frames of six hours or more open by the time of Hong Kong, or by UTC if the bar ends in `utc`.
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
from exchange_simulator.markets import Kind, Market, size
from exchange_simulator.series import Row, Window
from exchange_simulator.timeframes import FRAMES, Frame, at_utc_offset
from exchange_simulator.venue import Venue

_HONG_KONG_HOURS = 8
_SHORT = {
    "1m": "1m", "3m": "3m", "5m": "5m", "15m": "15m", "30m": "30m", "1H": "1h", "2H": "2h", "4H": "4h",
}  # fmt: skip
_LONG = {"6H": "6h", "12H": "12h", "1D": "1d", "1W": "1w", "1M": "1M", "3M": "3M"}
_BARS: dict[str, Frame] = (
    {bar: FRAMES[name] for bar, name in _SHORT.items()}
    | {bar: at_utc_offset(FRAMES[name], _HONG_KONG_HOURS) for bar, name in _LONG.items()}
    | {f"{bar}utc": FRAMES[name] for bar, name in _LONG.items()}
)
_DEFAULT_LIMIT, _MAX_ROWS, _DEPTH = 100, 300, 1_440
_CONTRACT_DECIMALS = {"BTC": 2, "ETH": 1}
"""Swap volumes are in contracts of 0.01 BTC, 0.1 ETH, or 1 of any other asset."""


def _error(code: str, message: str, status: int = 200) -> Reply:
    return as_json({"code": code, "data": [], "msg": message}, status)


def _parameter(name: str) -> Reply:
    return _error("51000", f"Parameter {name} error", 400)


class Okx:
    exchange = "okx"
    hosts: tuple[str, ...] = ("www.okx.com",)

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def respond(self, request: ExchangeRequest) -> Reply:
        match request.path.removeprefix("/api/v5/"):
            case "market/candles":
                return self._candles(request, history=False)
            case "market/history-candles":
                return self._candles(request, history=True)
            case "public/instruments":
                return self._instruments(request)
            case "public/time":
                return as_json({"code": "0", "data": [{"ts": str(request.now_ms)}], "msg": ""})
            case _:
                return _error("404", "Not Found", 404)

    def symbol(self, request: ExchangeRequest) -> str | None:
        market = self._venue.listing.by_id.get(_market_key(request))
        return market.symbol if market else None

    def timeframe(self, request: ExchangeRequest) -> str | None:
        frame = _BARS.get(request.query.get("bar", "1m"))
        return frame.name if frame and request.path.endswith("candles") else None

    def fault(self, fault: Fault, _now_ms: int, until_ms: int) -> Reply:
        replies = {
            Fault.RATE_LIMIT: _error("50011", "Too Many Requests", 429),
            Fault.BAN: as_text("I'm a teapot", 418),
            Fault.BAN_IN_BODY: _error("50011", ban_message(until_ms), 429),
            Fault.MAINTENANCE: _error("50001", "Service temporarily unavailable. Try again later.", 503),
            Fault.CREDENTIALS: _error("50103", 'Request header "OK-ACCESS-KEY" cannot be empty.', 401),
            Fault.BLOCKED: as_blocked(),
            Fault.REFUSAL: _error("50001", "system busy"),
            Fault.OLD_SINCE: _parameter("before"),
        }
        return replies[fault]

    def _market(self, request: ExchangeRequest) -> Market | None:
        return self._venue.market(*_market_key(request))

    def _candles(self, request: ExchangeRequest, *, history: bool) -> Reply:
        market = self._market(request)
        if market is None:
            raise RefusedError(_error("51001", "Instrument ID doesn't exist."))
        bar = request.query.get("bar", "1m")
        if bar not in _BARS:
            raise RefusedError(_parameter("bar"))
        frame = self._venue.frame(market, _BARS[bar])
        limit = min(non_negative_integer(request.query, "limit", _DEFAULT_LIMIT, _parameter("limit")), _MAX_ROWS)
        # Without `before`, all candles are newer; with it, the bound itself is excluded.
        start = instant(request.query, "before", 0, _parameter("before")) + ("before" in request.query)
        stop = instant(request.query, "after", FAR_FUTURE_MS, _parameter("after"))
        open_now = frame.floor(request.now_ms)
        if not history:
            start = max(start, frame.plus(open_now, 1 - _DEPTH))
        window = Window(
            start,
            stop,
            limit,
            newest=True,
            now_ms=request.now_ms,
            since_given="before" in request.query,
            closed_only=history,
            newest_first=True,
        )
        rows = self._venue.rows(market, frame, window, request.page, (trimmed, trimmed))
        data = [_row(row, market, confirmed=row.open_ms < open_now) for row in rows]
        return as_json({"code": "0", "msg": "", "data": data})

    def _instruments(self, request: ExchangeRequest) -> Reply:
        kind = request.query.get("instType", "")
        if kind not in ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION"):
            raise RefusedError(_parameter("instType"))
        entries = self._venue.listed(self._entries.get(kind, []), {"state": "suspend"})
        if "instId" in request.query:
            entries = [entry for entry in entries if entry["instId"] == request.query["instId"]]
        return as_json({"code": "0", "data": entries, "msg": ""})

    @cached_property
    def _entries(self) -> dict[str, list[tuple[Market, dict[str, Any]]]]:
        listing = self._venue.listing
        return {
            "SPOT": [(market, _spot_entry(market)) for market in listing.of_kind("spot")],
            "SWAP": [(market, _swap_entry(market)) for market in listing.of_kind("swap")],
        }


def _market_key(request: ExchangeRequest) -> tuple[Kind, str]:
    name = request.query.get("instId", "")
    return "swap" if name.endswith("-SWAP") else "spot", name


def _contract_decimals(market: Market) -> int:
    return min(_CONTRACT_DECIMALS.get(market.base, 0), market.volume_decimals)


def _row(row: Row, market: Market, *, confirmed: bool) -> list[Any]:
    """Time, prices, volume (in contracts for swaps), volume in the base, volume in the quote, confirm."""
    try:
        base, close = float(row.volume or 0), float(row.close or 0)
    except ValueError:
        base = close = 0.0
    volume = row.volume
    if market.kind == "swap" and volume is not None:
        volume = f"{base * 10 ** _contract_decimals(market):.10g}"
    quote = f"{base * close:.8f}"
    in_base = row.volume if market.kind == "swap" else quote
    return [str(row.open_ms), *row[1:5], volume, in_base, quote, "1" if confirmed else "0"]


def _spot_entry(market: Market) -> dict[str, Any]:
    return {
        "instType": "SPOT",
        "instId": market.id,
        "baseCcy": market.base,
        "quoteCcy": market.quote,
        "settleCcy": "",
        "uly": "",
        "instFamily": "",
        "ctVal": "",
        "lever": "10",
        "listTime": "1611907686000",
        "lotSz": market.lot,
        "minSz": market.lot,
        "tickSz": market.tick,
        "maxLmtSz": "9999999999",
        "maxMktSz": "1000000",
        "state": "live",
    }


def _swap_entry(market: Market) -> dict[str, Any]:
    pair = f"{market.base}-{market.quote}"
    return _spot_entry(market) | {
        "instType": "SWAP",
        "baseCcy": "",
        "quoteCcy": "",
        "settleCcy": market.quote,
        "uly": pair,
        "instFamily": pair,
        "ctType": "linear",
        "ctVal": size(_contract_decimals(market)),
        "ctMult": "1",
        "ctValCcy": market.base,
        "lever": "100",
        "lotSz": "1",
        "minSz": "1",
    }
