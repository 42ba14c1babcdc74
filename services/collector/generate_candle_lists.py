"""Writes src/collector/exchange/candle_lists.json from the installed ccxt, without network access.

For each exchange and kind of market, ccxt's own `fetch_ohlcv` gets a response that records the keys which ccxt reads.
The value that ccxt then gives to its parser of candles is the list of candles.

Run the script after every update of ccxt: `make generate`, or `python services/collector/generate_candle_lists.py`.
"""

import asyncio
import json
from typing import Any

import ccxt.async_support as ccxt
from ccxt.base.exchange import BaseExchange
from typing_extensions import override

from collector.exchange.response_shape import ANY_KEY, CANDLE_LISTS, Path_

MARKET_ID = "77"
"""The market's id; some classes need a number. In a path it is replaced by `ANY_KEY`."""

SYMBOLS = {"spot": ("BTC/USDT",), "swap": ("BTC/USDT:USDT", "BTC/USD:BTC")}
SINCE = 1_700_000_000_000

BY_HAND: dict[str, dict[str, list[list[str | int]]]] = {
    # Exchanges whose candles ccxt cannot request in the way of the collector. The path is in the response quoted in
    # `fetch_ohlcv`.
    "cex": {"spot": [["data"]]},
    "zebpay": {"spot": [["data"]]},
}


class RecordingObject(dict[str, Any]):
    """An object that has every key."""

    def __init__(self, path: Path_) -> None:
        super().__init__()
        self.path = path

    @override
    def __getitem__(self, key: Any) -> Any:
        return RecordingObject((*self.path, key))

    @override
    def get(self, key: Any, _default: Any = None) -> Any:
        return self[key]

    @override
    def __contains__(self, key: object) -> bool:
        return True

    @override
    def __len__(self) -> int:
        return 1


class RecordingList(list[Any]):
    """A list that has every index."""

    def __init__(self, path: Path_) -> None:
        super().__init__()
        self.path = path

    @override
    def __getitem__(self, index: Any) -> Any:
        return RecordingObject((*self.path, index))

    @override
    def __len__(self) -> int:
        return 1


class Parsed(Exception):  # noqa: N818 -- it is not an error
    """ccxt has given this value to its parser of candles."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


def recording_class(cls: Any) -> Any:  # noqa: C901 -- one small method per function of ccxt
    """A subclass whose responses record, and which stops at the parser of candles."""

    class Recording(cls):  # type: ignore[misc] # ccxt's classes are chosen at run time
        response: Any = None

        def sign(self, *_: Any, **__: Any) -> Any:
            return {"url": "", "method": "GET", "headers": None, "body": None}

        async def fetch(self, *_: Any, **__: Any) -> Any:
            return self.response

        async def throttle(self, *_: Any) -> None:
            pass

        async def load_markets(self, *_: Any, **__: Any) -> Any:
            return self.markets

        @staticmethod
        def safe_value(container: Any, key: Any, default: Any = None) -> Any:
            recording = isinstance(container, RecordingObject | RecordingList)
            return container[key] if recording else BaseExchange.safe_value(container, key, default)

        def safe_list(self, container: Any, key: Any, default: Any = None) -> Any:
            if isinstance(container, RecordingObject):
                return RecordingList((*container.path, key))
            return super().safe_list(container, key, default)

        def convert_trading_view_to_ohlcv(self, ohlcvs: Any, timestamp: str = "t", *_: Any, **__: Any) -> Any:
            raise Parsed(self.safe_list(ohlcvs, timestamp, []))

        def parse_ohlcvs(self, ohlcvs: Any, *_: Any, **__: Any) -> Any:
            if cls.parse_ohlcvs is not BaseExchange.parse_ohlcvs:  # BtcTurk's class reads one list per column
                raise Parsed(self.safe_list(ohlcvs, "t", []))
            raise Parsed(ohlcvs)

    Recording.__name__ = cls.__name__
    return Recording


def market_of(client: Any, symbol: str) -> dict[str, Any]:
    pair, _, settle = symbol.partition(":")
    base, quote = pair.split("/")
    is_swap = bool(settle)
    market: dict[str, Any] = client.safe_market_structure(
        {
            "id": MARKET_ID,
            "symbol": symbol,
            "base": base,
            "quote": quote,
            "baseId": base,
            "quoteId": quote,
            "settle": settle or None,
            "settleId": settle or None,
            "type": "swap" if is_swap else "spot",
            "active": True,
            "info": {},
            "spot": not is_swap,
            "swap": is_swap,
            "contract": is_swap,
            "id2": MARKET_ID,
            "baseName": base,
            "linear": settle == quote if is_swap else None,
            "inverse": settle == base if is_swap else None,
            "precision": {"amount": 1e-8, "price": 1e-8},
        }
    )
    return market


async def path_of(client: Any, symbol: str, response: Any) -> Path_ | None:
    """The path that ccxt reads from `response`. None if it does not read candles from it."""
    client.response = response
    timeframe = "1m" if "1m" in client.timeframes else next(iter(client.timeframes))
    try:
        await client.fetch_ohlcv(symbol, timeframe, SINCE, 100)
    except Parsed as parsed:
        path = getattr(parsed.value, "path", None)
        if path is None and isinstance(parsed.value, list) and len(parsed.value) == 1:
            path = getattr(parsed.value[0], "path", None)  # BingX's class puts anything else than a list into one
        return None if path is None else tuple(_key(each, symbol) for each in path)
    except Exception:  # noqa: BLE001 -- ccxt does not support this symbol, or the response does not fit
        return None
    return None


def _key(key: Any, symbol: str) -> str | int:
    names = {MARKET_ID, symbol.lower(), symbol.lower().partition(":")[0]}
    is_of_market = key is None or (isinstance(key, str) and key.lower() in names)
    named_key: str | int = ANY_KEY if is_of_market else key
    return named_key


async def candle_lists() -> dict[str, dict[str, list[list[str | int]]]]:
    """Exchange to kind of market (spot, swap) to the paths of the list; several if ccxt accepts several forms."""
    found: dict[str, dict[str, list[list[str | int]]]] = {}
    for exchange in sorted(ccxt.exchanges):
        if getattr(ccxt, exchange)().has.get("fetchOHLCV") is True:
            kinds = {kind: await _paths(exchange, symbols) for kind, symbols in SYMBOLS.items()}
            found[exchange] = {kind: paths for kind, paths in kinds.items() if paths} | BY_HAND.get(exchange, {})
    return found


async def _paths(exchange: str, symbols: tuple[str, ...]) -> list[list[str | int]]:
    client = recording_class(getattr(ccxt, exchange))({"apiKey": "key", "secret": "secret", "password": "password"})
    client.accountId = client.uid = "1"
    client.timeout_on_exit = 0  # ccxt waits 250 ms for its connections, but this client opens none
    client.set_markets([market_of(client, symbol) for symbol in symbols])
    responses = (RecordingObject(()), RecordingList(()))
    paths = [await path_of(client, symbol, response) for symbol in symbols for response in responses]
    await client.close()
    return [list(path) for path in dict.fromkeys(paths) if path is not None]


def candle_lists_text() -> str:
    """One exchange per line, so that diffs are easy to read."""
    lines = [f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in asyncio.run(candle_lists()).items()]
    return f'{{\n  "ccxt": {json.dumps(ccxt.__version__)},\n  "exchanges": {{\n' + ",\n".join(lines) + "\n  }\n}\n"


if __name__ == "__main__":
    CANDLE_LISTS.write_text(candle_lists_text(), encoding="utf-8")
