"""The exchanges of a stack with the simulator: no request leaves to a real exchange."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
import ccxt.async_support as ccxt
import pytest
from prometheus_client import CollectorRegistry

from collector.app import _client_options
from collector.exchange.clients import ExchangeClients
from collector.exchange.failures import ExchangeFailure
from collector.metrics import CollectorMetrics
from collector.settings import CollectorSettings
from contracts.vocabulary import ErrorClass
from local_stack.errors import StackError
from local_stack.plan import SIMULATED_EXCHANGES, simulated_environment
from runtime.consumers.membership_fence import MembershipFence

SIMULATOR = "http://127.0.0.1:8010"
OTHER = "http://127.0.0.1:9999"


def environment_with(**inherited: str) -> dict[str, str]:
    return simulated_environment(SIMULATOR, inherited)


def allowed_with(**inherited: str) -> list[str]:
    return sorted(environment_with(**inherited)["EXCHANGES_ALLOWED"].split(","))


def urls_with(**inherited: str) -> dict[str, str]:
    urls: dict[str, str] = json.loads(environment_with(**inherited)["EXCHANGE_URL_OVERRIDES"])
    return urls


def test_only_the_simulated_exchanges_are_allowed() -> None:
    assert allowed_with() == list(SIMULATED_EXCHANGES)
    assert urls_with() == dict.fromkeys(SIMULATED_EXCHANGES, SIMULATOR)


def test_an_address_of_the_operator_wins_and_allows_its_exchange() -> None:
    named = json.dumps({"kraken": OTHER, "bitstamp": f"{OTHER}/"})
    assert urls_with(EXCHANGE_URL_OVERRIDES=named) == {
        **dict.fromkeys(SIMULATED_EXCHANGES, SIMULATOR),
        "kraken": OTHER,
        "bitstamp": OTHER,
    }
    assert allowed_with(EXCHANGE_URL_OVERRIDES=named) == sorted([*SIMULATED_EXCHANGES, "bitstamp"])


def test_the_operator_can_allow_fewer_exchanges() -> None:
    assert allowed_with(EXCHANGES_ALLOWED=" okx, kraken") == ["kraken", "okx"]
    assert allowed_with(EXCHANGES_ALLOWED="") == list(SIMULATED_EXCHANGES)


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("EXCHANGES_ALLOWED", "kraken,bitstamp", "add an address to EXCHANGE_URL_OVERRIDES, or use LIVE=1"),
        ("EXCHANGES_ALLOWED", "krakn", "did you mean kraken"),
        ("EXCHANGE_URL_OVERRIDES", OTHER, "Invalid JSON"),
        ("EXCHANGE_URL_OVERRIDES", "[]", "should be an object"),
        ("EXCHANGE_URL_OVERRIDES", '{"kraken": 1}', "should be a valid string"),
        ("EXCHANGE_URL_OVERRIDES", '{"kraken": "127.0.0.1:9999"}', "not a base URL such as"),
        ("EXCHANGE_URL_OVERRIDES", '{"krakn": "http://127.0.0.1:9999"}', "did you mean kraken"),
    ],
)
def test_a_value_that_is_not_valid_is_an_error_with_its_name(variable: str, value: str, reason: str) -> None:
    with pytest.raises(StackError) as error:
        environment_with(**{variable: value})
    assert str(error.value).startswith(variable)
    assert reason in str(error.value)


def test_without_the_simulator_nothing_is_set() -> None:
    assert simulated_environment(None, {"EXCHANGE_URL_OVERRIDES": "any", "EXCHANGES_ALLOWED": "any"}) == {}


@pytest.fixture
def contacted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The servers that ccxt connects to. Each connection fails before a look-up of the host's address."""
    servers: list[str] = []

    async def refuse(_connector: aiohttp.BaseConnector, request: Any, *_: Any, **__: Any) -> Any:
        servers.append(f"{request.url.scheme}://{request.url.host}:{request.url.port}")
        raise aiohttp.ClientConnectionError("refused by the test")

    monkeypatch.setattr(aiohttp.BaseConnector, "connect", refuse)
    return servers


@pytest.fixture
def clients_of() -> Callable[[dict[str, str]], ExchangeClients]:
    """The clients of a collector that has these variables."""

    def build(environment: dict[str, str]) -> ExchangeClients:
        settings = CollectorSettings.model_validate(
            {
                "kafka_bootstrap_servers": "127.0.0.1:9092",
                "exchange_url_overrides": json.loads(environment["EXCHANGE_URL_OVERRIDES"]),
                "exchanges_allowed": environment["EXCHANGES_ALLOWED"],
            }
        )
        membership = MembershipFence(3600)
        membership.joined()
        return ExchangeClients(_client_options(settings, membership), CollectorMetrics(CollectorRegistry()))

    return build


async def send_requests(clients: ExchangeClients, exchange: str) -> None:
    """Requests for the markets and for the candles, for spot markets and for swaps."""
    client = clients.get(exchange)
    for symbol in ("BTC/USDT", "BTC/USDT:USDT"):
        with suppress(ExchangeFailure):
            await client.require(symbol, "1m")
        with suppress(ExchangeFailure):
            await client.fetch(symbol, "1m", 1_760_000_000_000, 10)
    await clients.close()


@pytest.mark.parametrize("exchange", sorted(ccxt.exchanges))
async def test_each_exchange_of_ccxt_is_refused_or_redirected_in_the_demo(
    exchange: str, contacted: list[str], clients_of: Callable[[dict[str, str]], ExchangeClients]
) -> None:
    """Also exchanges whose ids are similar, such as coinbaseexchange and myokx."""
    clients = clients_of(environment_with())
    if exchange not in SIMULATED_EXCHANGES:
        with pytest.raises(ExchangeFailure, match="not allowed here") as refused:
            clients.get(exchange)
        assert refused.value.error_class is ErrorClass.NOT_SUPPORTED
        return
    await send_requests(clients, exchange)
    assert set(contacted) == {SIMULATOR}


async def test_an_exchange_of_the_operator_gets_requests_at_its_address_only(
    contacted: list[str], clients_of: Callable[[dict[str, str]], ExchangeClients]
) -> None:
    for exchange in ("bitstamp", "kraken"):
        clients = clients_of(environment_with(EXCHANGE_URL_OVERRIDES=json.dumps({exchange: OTHER})))
        await send_requests(clients, exchange)
    assert set(contacted) == {OTHER}
