"""Clients of admin-api for tests, without an HTTP server."""

from typing import Any

import httpx

from admin_api.app import AdminApi

TOKEN = "a-token-for-the-tests-of-the-api"
BASE = "/api/v1/admin/data-collection"


def stopped_clock() -> float:
    """A clock for `build_api`: the rate limits are not refilled, no matter how long a test takes."""
    return 0.0


def client_of(api: AdminApi, token: str | None = TOKEN, base: str = BASE) -> httpx.AsyncClient:
    """A client of the application. An unexpected error is a 500 response, as with a real server, and is not raised."""
    transport = httpx.ASGITransport(app=api.app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return httpx.AsyncClient(transport=transport, base_url=f"http://api{base}", headers=headers)


def a_config(**overrides: Any) -> dict[str, Any]:
    """A valid body for POST /configs."""
    return {"symbol": "BTC/USDT", "exchange": "binance", "timeframes": ["1m", "1h"], "interval_minutes": 10} | overrides


async def created(client: httpx.AsyncClient, **overrides: Any) -> dict[str, Any]:
    """Creates a config and returns the response body."""
    answer = await client.post("/configs", json=a_config(**overrides))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def a_token(client: httpx.AsyncClient, role: str, **overrides: Any) -> dict[str, Any]:
    """Creates a token with this role. The response body has its text in `token`."""
    answer = await client.post("/tokens", json={"name": f"a-{role}", "role": role} | overrides)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:candlekeep:problem:")
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == answer.request.url.path
    return body
