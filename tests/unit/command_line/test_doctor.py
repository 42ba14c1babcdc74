"""`candlekeep doctor`: each check with good and bad responses."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from command_line.client import Api
from command_line.doctor import api_checks, clock_check, fetch_checks, lines_of, own_checks, service_check, tls_check
from command_line.failures import TimedOut
from command_line.settings import Settings

NOW = datetime(2026, 5, 4, 12, 0, 0, 400_000, tzinfo=UTC)
CONFIGS = [
    {"id": 1, "exchange": "okx", "symbol": "SOL/USDT", "enabled": False},
    {"id": 2, "exchange": "okx", "symbol": "BTC/USDT", "enabled": True},
    {"id": 3, "exchange": "kraken", "symbol": "BTC/USD", "enabled": True},
    {"id": 4, "exchange": "okx", "symbol": "ETH/USDT", "enabled": True},
]


def _service(**changes: Any) -> dict[str, Any]:
    return {"service": "collector", "state": "working", "instances": 2, "lag": 3, "detail": None} | changes


def _api(respond: Callable[[httpx.Request], httpx.Response]) -> Api:
    return Api(Settings("http://127.0.0.1:8000", "secret"), httpx.MockTransport(respond))


@pytest.mark.parametrize(
    ("seconds", "state"), [(0, "ok"), (1, "ok"), (-1, "ok"), (4, "warning"), (-4, "warning"), (60, "failed")]
)
def test_a_clock(seconds: int, state: str) -> None:
    date = (NOW + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert clock_check(date, NOW, NOW + timedelta(seconds=0.2))["state"] == state


def test_a_response_without_a_date_is_a_warning() -> None:
    assert clock_check(None, NOW, NOW)["state"] == "warning"


@pytest.mark.parametrize(
    ("url", "state"),
    [("https://api.example.com/x", "ok"), ("http://127.0.0.1:8000", "ok"), ("http://api.example.com", "warning")],
)
def test_tls(url: str, state: str) -> None:
    assert tls_check(url)["state"] == state


@pytest.mark.parametrize(
    ("service", "state", "word"),
    [
        (_service(), "ok", "2 instances"),
        (_service(state="stopped", instances=0), "failed", "no instance"),
        (_service(state="unknown", detail="Kafka does not answer"), "warning", "Kafka does not answer"),
        (_service(state="rebalancing"), "warning", "dividing"),
    ],
)
def test_a_service(service: dict[str, Any], state: str, word: str) -> None:
    found = service_check(service)
    assert (found["state"], word in found["found"], bool(found["advice"])) == (state, True, state != "ok")


def test_a_refused_token_and_a_dead_address_are_one_failure() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"title": "Unauthorized", "detail": "the token is unknown"})

    def die(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    for respond, word in ((refuse, "the token is unknown"), (die, "does not answer")):
        [found] = api_checks(_api(respond))
        assert (found["state"], word in found["found"]) == ("failed", True)


def test_a_healthy_api_has_a_line_for_each_check() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        body = [_service()] if request.url.path.endswith("/services") else {}
        return httpx.Response(200, json=body, headers={"Date": date})

    found = api_checks(_api(respond))
    assert [each["name"] for each in found] == ["API", "TLS to the API", "clock of the API", "collector"]
    assert {each["state"] for each in found} == {"ok"}


def test_one_config_of_each_exchange_is_fetched() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(202, json={"run_id": request.url.path.split("/")[-2]})
        return httpx.Response(200, json=CONFIGS)

    def wait(_api: Api, run_id: str, _seconds: float) -> dict[str, Any]:
        if run_id == "3":
            raise TimedOut("Run 3 has not ended")
        return {"status": "success", "records_collected": 7, "error_message": None}

    kraken, okx = fetch_checks(_api(respond), wait)
    assert (kraken["name"], kraken["state"]) == ("fetch from kraken", "failed")
    assert (okx["state"], okx["found"]) == ("ok", "BTC/USDT: 7 candles")


def test_without_addresses_the_line_says_where_to_run_it() -> None:
    [found] = own_checks({"DATABASE_URL": "postgresql://x@y/z"})
    assert (found["state"], "KAFKA_BOOTSTRAP_SERVERS not set" in found["found"]) == ("warning", True)


def test_lines_end_with_the_counts() -> None:
    checks = [service_check(_service()), service_check(_service(state="stopped"))]
    assert lines_of(checks)[-1] == "1 ok, 0 warning, 1 failed"
    assert lines_of(checks)[2].startswith("        -> Start collector")
