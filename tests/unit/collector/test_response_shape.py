"""Which JSON has candles, says that there are none, or is a refusal."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import collector
from collector.exchange.response_shape import (
    ANY_KEY,
    CANDLE_LISTS,
    NoCandles,
    Path_,
    Refusal,
    content_of,
    paths_of,
)

ROW = [1, 2, 3]
DATA: tuple[Path_, ...] = (("data",),)
GENERATOR = Path(collector.__file__ or "").parents[2] / "generate_candle_lists.py"


def test_the_committed_places_are_those_of_the_installed_ccxt() -> None:
    spec = importlib.util.spec_from_file_location("generate_candle_lists", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stale = "stale: run `python services/collector/generate_candle_lists.py`"
    assert CANDLE_LISTS.read_text() == module.candle_lists_text(), stale


RECORDED: dict[str, Path_] = {
    "binance": (),
    "bybit": ("result", "list"),
    "coinbase": ("candles",),
    "coinbaseexchange": (),
    "kraken": ("result", ANY_KEY),
    "okx": ("data",),
}
"""The places in recorded responses, and in those that ccxt quotes."""


@pytest.mark.parametrize("exchange", RECORDED)
def test_the_generated_places_are_those_of_recorded_responses(exchange: str) -> None:
    assert (paths_of(exchange, "spot") or paths_of(exchange, "swap")) == (RECORDED[exchange],)


@pytest.mark.parametrize(
    ("paths", "body"),
    [
        (((),), [ROW]),
        (DATA, {"data": [ROW]}),
        ((("data",), ()), [ROW]),
        ((("data", "candlestick", 0, "ohlcv"),), {"data": {"candlestick": [{"type": "1min", "ohlcv": [ROW]}]}}),
        ((("result", ANY_KEY),), {"error": [], "result": {"XBTUSDT": [ROW], "last": 1}}),
        ((("t",),), {"s": "ok", "t": [1], "o": [1]}),
        (DATA, {"code": 4711, "data": [ROW]}),  # an unknown code of an exchange that sends candles with it
        (None, {"a": {"b": {"c": [ROW]}}}),
    ],
)
def test_a_list_with_elements_is_candles(paths: tuple[Path_, ...] | None, body: Any) -> None:
    assert content_of(body, paths) == "candles"


@pytest.mark.parametrize(
    ("paths", "body"),
    [
        (((),), []),
        (DATA, {"data": []}),
        (DATA, {"data": {}}),
        (DATA, {"data": None}),
        (DATA, {"data": ""}),
        (DATA, {"code": "00000", "msg": "success", "data": None}),
        (DATA, {"code": "200000", "data": []}),
        (DATA, {"code": 1, "msg": "Success", "success": True, "data": []}),
        (DATA, {"statusCode": 201, "statusDescription": "OK", "data": []}),
        (DATA, {"code": 0, "msg": "no trades in this range", "data": []}),
        (DATA, {"success": True, "error": None, "code": None, "data": []}),
        (DATA, {"status": "0000", "data": []}),
        (DATA, {"error": "0", "errors": [], "data": []}),
        (DATA, {"code": 200, "message": "查询成功", "data": []}),
        (DATA, {"msg": "no data", "data": []}),
        ((("data", "rows"),), {"success": True, "data": {}}),
        ((("bars", ANY_KEY),), {"bars": {}}),
        ((("bars", ANY_KEY),), {"bars": {"BTC/USD": None}, "next_page_token": None}),
        ((("bars", ANY_KEY),), {"bars": []}),
        ((("data", "candlestick", 0, "ohlcv"),), {"success": 1, "data": {"candlestick": []}}),
        ((("t",),), {"s": "no_data"}),
        ((("t",),), {"s": "no_data", "t": [], "nextTime": 1}),
        ((("result", "ticks"),), {"result": {"status": "no_data", "ticks": []}, "usDiff": 3}),
        ((("data",), ()), []),
        (None, {"a": {"b": {"c": []}}}),
    ],
)
def test_every_documented_form_of_no_candles_is_read(paths: tuple[Path_, ...] | None, body: Any) -> None:
    assert content_of(body, paths) == "none"


MARKERS: list[dict[str, Any]] = [
    {"success": False},
    {"success": "false"},
    {"success": 0},
    {"ok": False},
    {"result": "false", "error_code": 10001},
    {"code": 50001, "msg": "system busy"},
    {"code": "50001", "msg": ""},
    {"code": -1},
    {"code": "ERR_BUSY"},
    {"code": 429, "message": "slow"},
    {"code": 500, "success": True, "msg": "internal error"},
    {"retCode": 10016, "retMsg": "Service error"},
    {"ret_code": 10016},
    {"rc": 1, "mc": "FAILURE"},
    {"returnCode": 1},
    {"statusCode": 400},
    {"status": "error"},
    {"status": "ERROR", "err-code": "bad", "err-msg": "busy"},
    {"status": False},
    {"status": "5100"},
    {"status": "maintenance"},
    {"state": "FAILED"},
    {"s": "error", "errmsg": "busy"},
    {"error": "busy"},
    {"error": True},
    {"error": {"code": 1}},
    {"error": ["EService:Busy"]},
    {"errors": [{"code": 1}]},
    {"err": "busy"},
    {"err_msg": "busy"},
    {"errorMessage": "busy"},
    {"errorCode": "E17"},
    {"errno": 17},
    {"error_code": 10013},
    {"type": "error"},
]


@pytest.mark.parametrize("marker", MARKERS, ids=str)
@pytest.mark.parametrize("empty", [[], {}, None], ids=str)
def test_a_refusal_beside_an_empty_value_is_a_refusal(marker: dict[str, Any], empty: Any) -> None:
    with pytest.raises(Refusal):
        content_of({"data": empty, **marker}, DATA)
    with pytest.raises(Refusal):
        content_of(marker, DATA)
    with pytest.raises(NoCandles):
        content_of(marker, ((),))


@pytest.mark.parametrize(
    "body",
    [
        {"success": False, "data": [ROW]},
        {"error": "stale", "data": [ROW]},
        {"status": "error", "data": [ROW]},
        {"success": True, "data": {"success": False, "rows": []}},
        {"code": 0, "data": {"code": 50001, "rows": []}},
    ],
)
def test_a_plain_refusal_counts_beside_candles_and_on_the_way_to_the_list(body: Any) -> None:
    with pytest.raises(Refusal):
        content_of(body, (("data",), ("data", "rows")))


def test_the_error_list_of_bitfinex_is_a_refusal() -> None:
    with pytest.raises(Refusal, match="10020"):
        content_of(["error", 10020, "time_interval: invalid"], ((),))


@pytest.mark.parametrize(
    ("paths", "body"),
    [
        (DATA, {"rows": []}),
        (DATA, {}),
        (DATA, []),
        (DATA, None),
        (DATA, {"data": "candles"}),
        (DATA, {"data": 5}),
        (DATA, {"data": {"rows": []}}),
        (DATA, {"msg": "system busy", "data": []}),
        (DATA, {"message": "hello"}),
        (((),), {"message": "hello"}),
        ((("result", ANY_KEY),), {"error": [], "result": {"last": 1}}),
        (None, {"unexpected": 1}),
        (None, {"msg": "system busy", "rows": []}),
    ],
)
def test_a_doubtful_response_is_never_no_candles(paths: tuple[Path_, ...] | None, body: Any) -> None:
    with pytest.raises(NoCandles) as caught:
        content_of(body, paths)
    assert not isinstance(caught.value, Refusal)


def test_an_empty_object_is_invalid_if_the_exchange_always_sends_a_list() -> None:
    path: tuple[Path_, ...] = (("result", ANY_KEY),)
    for result in ({}, None, []):
        with pytest.raises(NoCandles):
            content_of({"error": [], "result": result}, path, always_a_list=True)
    assert content_of({"error": [], "result": {"XBTUSDT": [], "last": 1}}, path, always_a_list=True) == "none"
