"""Requests to an exchange as spans: one per HTTP request, without its URL and without the text of its error."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from collector.exchange.failures import ExchangeFailure
from collector.run.retry_policy import RetryPolicy
from runtime.tracing.spans import run_span, span
from support.collecting import Exchanges, Simulator
from support.stub_exchange import StubExchange
from support.traces import recording_spans

NO_RETRIES = RetryPolicy(max_retries=0, max_retries_by_class={})


async def test_each_request_is_a_span_with_its_status(
    simulator: Simulator, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(simulator.base)
    await exchanges.warm_up("binance")
    before = len(await simulator.requests("binance"))
    run_id = uuid4()
    with recording_spans() as spans:
        with run_span("run", run_id, exchange="binance", symbol="BTC/USDT"), span("timeframe", timeframe="1m"):
            await exchanges.collect("binance", max_pages=3)
        requests = [each for each in spans.ended() if each.name == "exchange request"]
    assert len(requests) == len(await simulator.requests("binance")) - before >= 1
    facts = {"run_id": str(run_id), "exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m", "http_status": 200}
    assert [dict(each.attributes or {}) for each in requests] == [facts] * len(requests)


async def test_a_failed_request_has_its_status_and_the_class_of_its_error_only(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    secret = uuid4().hex
    exchanges = exchanges_at(stub_exchange.base)
    await exchanges.warm_up("binance")
    stub_exchange.respond_with({"code": -1000, "msg": secret}, 503)
    with recording_spans() as spans:
        with run_span("run", uuid4()), pytest.raises(ExchangeFailure, match=secret):
            await exchanges.collect("binance", policy=NO_RETRIES)
        [request, run] = spans.ended()
    attributes = request.attributes or {}
    assert (request.name, attributes["http_status"], attributes["error.type"]) == (
        "exchange request",
        503,
        "OperationFailed",
    )
    assert not request.status.is_ok
    assert all(secret not in each.to_json() and "http://" not in each.to_json() for each in (request, run))
