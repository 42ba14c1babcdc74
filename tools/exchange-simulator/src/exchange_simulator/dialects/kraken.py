"""Kraken: errors have HTTP status 200 and an `error` list. Times are in seconds.

OHLC gives at most the newest 720 rows, always with the open candle. `since` is exclusive. If it is older than these 720
rows, the reply starts later, without an error. Minutes without trades are flat rows without volume.
"""

from functools import cached_property
from typing import Any

from exchange_simulator.aggregate import fixed
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
from exchange_simulator.markets import Market, kraken_altname, kraken_asset
from exchange_simulator.series import Row, Window
from exchange_simulator.timeframes import DAY, FRAMES, HOUR, SECOND, Frame
from exchange_simulator.venue import HORIZONS, Venue

_INTERVALS = {
    "1": "1m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "240": "4h", "1440": "1d", "10080": "1w", "21600": "2w",
}  # fmt: skip
_MAX_ROWS = HORIZONS["kraken"]
_MAX_TRADES = 1_000
_ONLINE = {"status": "online", "timestamp": ""}


def _error(*codes: str) -> Reply:
    return as_json({"error": list(codes)})


_INVALID = _error("EGeneral:Invalid arguments")


class Kraken:
    exchange = "kraken"
    hosts: tuple[str, ...] = ("api.kraken.com",)

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def respond(self, request: ExchangeRequest) -> Reply:
        match request.path.removeprefix("/0/public/"):
            case "OHLC":
                return self._ohlc(request)
            case "Trades":
                return self._trades(request)
            case "AssetPairs":
                return self._asset_pairs(request)
            case "Assets":
                return as_json({"error": [], "result": self._assets})
            case "Time" | "SystemStatus" as name:
                time = {"unixtime": request.now_ms // SECOND, "rfc1123": ""}
                return as_json({"error": [], "result": time if name == "Time" else _ONLINE})
            case _:
                return _error("EGeneral:Unknown method")

    def symbol(self, request: ExchangeRequest) -> str | None:
        market = self._names.get(request.query.get("pair", ""))
        return market.symbol if market else None

    def timeframe(self, request: ExchangeRequest) -> str | None:
        return _INTERVALS.get(request.query.get("interval", "1")) if request.path.endswith("/OHLC") else None

    def fault(self, fault: Fault, _now_ms: int, until_ms: int) -> Reply:
        replies = {
            Fault.RATE_LIMIT: as_text("error code: 1015", 429),
            Fault.BAN: as_text("error code: 1006", 418),
            Fault.BAN_IN_BODY: _error(f"EAPI:Rate limit exceeded. {ban_message(until_ms)}"),
            Fault.MAINTENANCE: _error("EService:Unavailable"),
            Fault.CREDENTIALS: _error("EAPI:Invalid key"),
            Fault.BLOCKED: as_blocked(),
            Fault.REFUSAL: as_json({"error": ["EService:Busy"], "result": {}}),
            Fault.OLD_SINCE: _INVALID,
        }
        return replies[fault]

    def _ohlc(self, request: ExchangeRequest) -> Reply:
        market = self._venue.existing(self._names.get(request.query.get("pair", "")))
        if market is None:
            raise RefusedError(_error("EQuery:Unknown asset pair"))
        interval = request.query.get("interval", "1")
        if interval not in _INTERVALS:
            raise RefusedError(_INVALID)
        frame = self._venue.frame(market, FRAMES[_INTERVALS[interval]])
        since = instant(request.query, "since", 0, _INVALID, unit_ms=SECOND)
        open_now = frame.floor(request.now_ms)
        # `since` is exclusive, but the open candle is always shown.
        start = min(since + 1, open_now)
        window = Window(start, FAR_FUTURE_MS, _MAX_ROWS, True, request.now_ms, "since" in request.query)
        rows = self._venue.rows(market, frame, window, request.page, (fixed, fixed))
        last = max([row.open_ms for row in rows if row.open_ms < open_now], default=frame.plus(open_now, -1)) // SECOND
        shown = [_row(row, market, self._count(market, frame, row.open_ms, request.now_ms)) for row in rows]
        return as_json({"error": [], "result": {market.id: shown, "last": last}})

    def _count(self, market: Market, frame: Frame, open_ms: int, now_ms: int) -> int:
        """The number of trades in a candle. That of candles longer than an hour is made up: counting takes too long."""
        if frame.months or frame.shortest_ms > HOUR:
            return open_ms // SECOND % 89 + 1
        return self._venue.count_trades(market, (open_ms, frame.plus(open_ms, 1)), now_ms)

    def _trades(self, request: ExchangeRequest) -> Reply:
        market = self._venue.existing(self._names.get(request.query.get("pair", "")))
        if market is None:
            raise RefusedError(_error("EQuery:Unknown asset pair"))
        series = self._venue.series(market)
        since = instant(request.query, "since", 0, _INVALID, unit_ms=SECOND)
        limit = min(non_negative_integer(request.query, "count", _MAX_TRADES, _INVALID), _MAX_TRADES)
        asked = (since, FAR_FUTURE_MS) if since else (request.now_ms - DAY, FAR_FUTURE_MS)
        found = self._venue.trades(market, asked, limit, request.now_ms, request.page)
        trades = [
            [
                fixed(each.price, series.price_decimals),
                fixed(each.amount, series.volume_decimals),
                each.at_ms / SECOND,
                "b",
                "l",
                "",
                each.id,
            ]
            for each in found
        ]
        last = str((found[-1].at_ms if found else since) * 1_000_000)
        return as_json({"error": [], "result": {market.id: trades, "last": last}})

    def _asset_pairs(self, request: ExchangeRequest) -> Reply:
        requested = request.query.get("pair")
        markets: list[Market | None] = [*self._venue.listing.markets]
        if requested is not None:
            markets = [self._venue.existing(self._names.get(name)) for name in requested.split(",")]
        if None in markets:
            raise RefusedError(_error("EQuery:Unknown asset pair"))
        result = {
            market.id: entry
            for market in markets
            if market
            for entry in self._venue.listed([(market, self._pairs[market.id])], {"status": "delisted"})
        }
        return as_json({"error": [], "result": result})

    @cached_property
    def _names(self) -> dict[str, Market]:
        """Every name that Kraken accepts for a pair: `XXBTZUSD`, `XBTUSD` and `XBT/USD`."""
        names: dict[str, Market] = {}
        for market in self._venue.listing.markets:
            base, quote = kraken_altname(market.base), kraken_altname(market.quote)
            names |= {market.id: market, base + quote: market, f"{base}/{quote}": market}
        return names

    @cached_property
    def _pairs(self) -> dict[str, dict[str, Any]]:
        return {market.id: _pair(market) for market in self._venue.listing.markets}

    @cached_property
    def _assets(self) -> dict[str, dict[str, Any]]:
        names = {name for market in self._venue.listing.markets for name in (market.base, market.quote)}
        return {
            kraken_asset(name): {
                "aclass": "currency",
                "altname": kraken_altname(name),
                "decimals": 10,
                "display_decimals": 5,
                "status": "enabled",
            }
            for name in sorted(names)
        }


def _row(row: Row, market: Market, trades: int) -> list[Any]:
    """Seconds, open, high, low, close, volume-weighted price (here the close), volume, number of trades."""
    silent = row.volume is not None and not row.volume.strip("0.")
    weighted = fixed(0, market.price_decimals) if silent else row.close
    trades = 0 if silent else trades
    return [row.open_ms // SECOND, row.open, row.high, row.low, row.close, weighted, row.volume, trades]


def _pair(market: Market) -> dict[str, Any]:
    base, quote = kraken_altname(market.base), kraken_altname(market.quote)
    return {
        "altname": base + quote,
        "wsname": f"{base}/{quote}",
        "aclass_base": "currency",
        "base": kraken_asset(market.base),
        "aclass_quote": "currency",
        "quote": kraken_asset(market.quote),
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": market.price_decimals,
        "lot_decimals": market.volume_decimals,
        "lot_multiplier": 1,
        "leverage_buy": [2, 3],
        "leverage_sell": [2, 3],
        "fees": [[0, 0.4], [10000, 0.35]],
        "fees_maker": [[0, 0.25], [10000, 0.2]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": "0.002",
        "costmin": "0.5",
        "tick_size": market.tick,
        "status": "online",
    }
