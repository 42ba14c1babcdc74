"""Refusals and empty responses on every exchange whose candles ccxt reads, through ccxt's own classes."""

import importlib.util
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

import collector
from collector.exchange.client import ExchangeClient
from collector.exchange.client_options import ClientOptions
from collector.exchange.clock import ExchangeClock
from collector.exchange.failures import ExchangeFailure
from collector.exchange.response_shape import ANY_KEY, CANDLE_LISTS, Path_, paths_of
from collector.exchange.traits_table import traits_of
from collector.metrics import CollectorMetrics
from contracts.vocabulary import ErrorClass

GENERATOR = Path(collector.__file__ or "").parents[2] / "generate_candle_lists.py"
EXCHANGES: dict[str, Any] = json.loads(CANDLE_LISTS.read_text())["exchanges"]

NO_REQUEST = {
    # ccxt itself refuses these, because it needs credentials or further parameters.
    *(("luno", kind) for kind in ("spot", "swap")),
    *(("modetrade", kind) for kind in ("spot", "swap")),
    *(("woofipro", kind) for kind in ("spot", "swap")),
    ("cex", "spot"),
    ("zebpay", "spot"),
}


SUCCESS: dict[str, dict[str, Any]] = {
    # The fields beside the list if a request succeeds: ccxt 4.5.90, responses quoted in fetch_ohlcv, and the recorded
    # responses.
    "bigone": {"code": 0},
    "bitbank": {"success": 1},
    "bitget": {"code": "00000", "msg": "success", "requestTime": 1703762122517},
    "bitso": {"success": True},
    "bitteam": {"ok": True},
    "bittrade": {"status": "ok"},
    "btcturk": {"s": "ok"},
    "btse": {"code": 1, "msg": "Success", "time": 1664955464, "success": True},
    **{key: {"retCode": 0, "retMsg": "OK", "retExtInfo": {}} for key in ("bybit", "bybiteu", "bybitid")},
    "bydfi": {"code": 200, "message": "success", "success": True},
    "cryptocom": {"id": -1, "method": "public/get-candlestick", "code": 0},
    "deepcoin": {"code": "0", "msg": ""},
    "delta": {"success": True},
    "digifinex": {"code": 0},
    "extended": {"status": "OK"},
    "htx": {"status": "ok", "ch": "market.ethbtc.kline.1min", "ts": 1591515374371},
    "kraken": {"error": []},
    **{key: {"code": "200000"} for key in ("kucoin", "kucoinfutures")},
    "lbank": {"result": "true", "error_code": 0, "ts": 1655969049281, "msg": "Success"},
    "lighter": {"code": 200, "r": "1m"},
    "mudrex": {"success": True},
    **{key: {"code": "0", "msg": ""} for key in ("okx", "okxus", "myokx")},
    "p2b": {"success": True, "errorCode": "", "message": ""},
    "pacifica": {"success": True, "error": None, "code": None},
    "phemex": {"code": 0, "msg": "OK"},
    "whitebit": {"success": True, "message": ""},
    "woo": {"success": True},
    "xt": {"rc": 0, "mc": "SUCCESS", "ma": []},
    "zebpay": {"statusDescription": "OK", "statusCode": 201, "customMessage": ["OK"], "msg": "OK"},
}

REFUSALS: list[dict[str, Any]] = [
    {"success": False, "msg": ""},
    {"code": 50001, "msg": "system busy", "message": "system busy", "success": False},
    {"status": "error", "error": "busy"},
    {"error": {"code": 1, "message": "busy"}},
]
"""They replace the fields of success. `test_response_shape.py` has many more."""


SERIES = [(each, kind) for each, kinds in EXCHANGES.items() for kind in kinds if (each, kind) not in NO_REQUEST]


class Server:
    """Sends the same body for every request."""

    base: str = ""
    body: bytes = b"[]"
    status: int = 200
    requests: int = 0


@pytest.fixture(scope="module")
def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate_candle_lists", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()

    async def respond(_: web.Request) -> web.Response:
        server.requests += 1
        return web.Response(body=server.body, status=server.status, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", respond)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


class Series:
    """One symbol of one exchange, whose requests go to the server."""

    def __init__(self, server: Server, generator: Any, exchange: str, kind: str) -> None:
        self.server, self.exchange, self.kind = server, exchange, kind
        self.symbol = generator.SYMBOLS[kind][0]
        options = ClientOptions(url_overrides={exchange: server.base}, request_timeout_seconds=5)
        metrics = CollectorMetrics(CollectorRegistry())
        self.client = ExchangeClient(exchange, options, metrics, ExchangeClock(), lambda _exchange, _circuit: None)
        ccxt_client, _ = self.client._client_and_markets(self.symbol)
        ccxt_client.set_markets([generator.market_of(ccxt_client, self.symbol)])
        assert self.client._rate_limiter is not None
        self.client._rate_limiter._rate = 0.0  # with the rates of ninety exchanges the tests would take minutes
        self.timeframe = "1m" if "1m" in ccxt_client.timeframes else next(iter(ccxt_client.timeframes))

    async def response_to(self, body: Any, status: int = 200) -> list[Any] | ExchangeFailure:
        self.server.body, self.server.status = json.dumps(body).encode(), status
        try:
            return (await self.client.fetch(self.symbol, self.timeframe, 1_764_000_000_000, 10)).rows
        except ExchangeFailure as failure:
            return failure


def placed(value: Any, path: Path_) -> Any:
    """JSON with `value` at the path."""
    for key in reversed(path):
        value = [value] if isinstance(key, int) else {"77" if key == ANY_KEY else key: value}
    return value


async def test_the_exchanges_without_a_request_are_those_that_ccxt_refuses(server: Server, generator: Any) -> None:
    for exchange, kind in sorted(NO_REQUEST):
        series = Series(server, generator, exchange, kind)
        failure = await series.response_to([])
        await series.client.close()
        assert isinstance(failure, ExchangeFailure)
        assert failure.error_class in {ErrorClass.AUTHENTICATION, ErrorClass.BAD_REQUEST}, failure.message
    assert server.requests == 0


@pytest.mark.parametrize(("exchange", "kind"), SERIES)
async def test_every_form_of_no_candles_is_no_candles_and_every_refusal_is_a_failure(
    exchange: str, kind: str, server: Server, generator: Any
) -> None:
    series, success = Series(server, generator, exchange, kind), SUCCESS.get(exchange, {})
    wrong: list[Any] = []
    for path in paths_of(exchange, kind) or ():
        for body in empty_bodies(exchange, path):
            found = await series.response_to({**body, **success} if path else body)
            wrong += [(body, found)] if found != [] else []
        for refusal in REFUSALS:
            body = {**placed([], path), **success, **refusal} if path else refusal
            found = await series.response_to(body)
            wrong += [] if isinstance(found, ExchangeFailure) else [(body, found)]
    await series.client.close()
    assert not wrong
    assert server.requests > 0


def empty_bodies(exchange: str, path: Path_) -> list[Any]:
    """The forms of "no candles" of a response whose list is at the path. Kraken's always has a list."""
    if not path or traits_of(exchange).always_lists_candles:
        return [placed([], path)]
    bodies = [placed(value, path) for value in ([], {}, None)]
    # ccxt's class of Bitbank refuses a response without data.
    return bodies + [placed(value, path[:1]) for value in ({}, None) if (exchange, value) != ("bitbank", None)]


@pytest.mark.parametrize(("exchange", "kind"), SERIES)
async def test_ccxt_neither_drops_nor_sorts_nor_adds_rows_after_they_were_parsed(
    exchange: str, kind: str, server: Server, generator: Any
) -> None:
    """The rows are in the wrong order, one is before `since`, one is there twice, and one is missing."""
    series = Series(server, generator, exchange, kind)
    ccxt_client, _ = series.client._client_and_markets(series.symbol)
    since = 1_764_000_000_000
    rows = [[since + minute * 60_000, 1.0, 2.0, 0.5, 1.5, 3.0] for minute in (7, 5, -3, 6, 6, 9)]
    ccxt_client.parse_ohlcvs = lambda *_args, **_kwargs: [list(row) for row in rows]
    path = (paths_of(exchange, kind) or ((),))[0]
    server.body = json.dumps({**placed([], path), **SUCCESS.get(exchange, {})} if path else []).encode()
    try:
        assert await ccxt_client.fetch_ohlcv(series.symbol, series.timeframe, since, 10) == rows
    finally:
        await series.client.close()


async def test_no_candle_of_bitopro_is_invented(server: Server, generator: Any) -> None:
    minute = 60_000
    since = 1_764_000_000_000 // minute * minute
    times = [since + 5 * minute, since - 2 * minute, since + 2 * minute]  # newest first, with a gap, one too old
    numbers = {"open": "1", "high": "2", "low": "0.5", "close": "1.5", "volume": "3"}
    series = Series(server, generator, "bitopro", "spot")
    rows = await series.response_to({"data": [{"timestamp": at, **numbers} for at in times]})
    await series.client.close()
    assert rows == [[at, 1.0, 2.0, 0.5, 1.5, 3.0] for at in times]


async def test_the_own_parser_of_btcturk_drops_no_row(server: Server, generator: Any) -> None:
    series = Series(server, generator, "btcturk", "spot")
    body = {"s": "ok", "t": [1_700_000_060, 1_700_000_000], **{column: [1, 2] for column in "ohlcv"}}
    rows = await series.response_to(body)
    await series.client.close()
    assert isinstance(rows, list)
    assert sorted(row[1] for row in rows) == [1.0, 2.0]
