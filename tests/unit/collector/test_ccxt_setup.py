"""The redirection of requests, through every class of ccxt and each of its public endpoints."""

import re
import ssl
from contextlib import suppress
from typing import Any

import aiohttp
import ccxt.async_support as ccxt
import pytest

from collector.exchange.ccxt_setup import redirect_requests
from collector.exchange.strict_http import strict_class

BASE = "http://127.0.0.1:8010"


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The URLs that ccxt requests. Each connection fails before the address of the host is looked up."""
    urls: list[Any] = []

    async def refuse(_connector: aiohttp.BaseConnector, request: Any, *_: Any, **__: Any) -> Any:
        urls.append(request.url)
        raise aiohttp.ClientConnectionError("refused by the test")

    monkeypatch.setattr(aiohttp.BaseConnector, "connect", refuse)
    return urls


def endpoints(client: Any) -> list[str]:
    """The methods that ccxt builds from the list of endpoints of the class, such as `public_get_candles`."""
    return [name for name in dir(client) if re.search(r"(^|_)(get|post)_", name) and "private" not in name]


async def send_to_every_endpoint(client: Any) -> None:
    for name in endpoints(client):
        with suppress(Exception):  # some need parameters or credentials, and the others are refused by the fixture
            await getattr(client, name)({})


@pytest.mark.parametrize("exchange", ccxt.exchanges)
async def test_every_request_of_every_class_is_redirected(exchange: str, requested: list[Any]) -> None:
    client = strict_class(getattr(ccxt, exchange))({"enableRateLimit": False, "timeout_on_exit": 0})
    client.on_send, client.on_date = (lambda: 0), (lambda _: None)
    redirect_requests(client, f"{BASE}/")
    await send_to_every_endpoint(client)
    await client.close()
    assert requested, "no endpoint of the class sent a request"
    assert {str(url.origin()) for url in requested} == {BASE}
    hosts = {url.path.split("/")[1] for url in requested}
    assert all(re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", host) for host in hosts), hosts


async def test_all_exchanges_share_one_set_of_trusted_certificates() -> None:
    contexts = set()
    for each in (ccxt.binance, ccxt.kraken):
        client = strict_class(each)()
        client.open()
        contexts.add(client.ssl_context)
        await client.close()
    [context] = contexts
    assert context.verify_mode is ssl.CERT_REQUIRED
