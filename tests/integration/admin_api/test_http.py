"""HTTP details: HEAD requests, compressed bodies, and the start page."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi
from admin_api.auth.required_roles import PUBLIC_PATHS
from runtime.process.http_server import http_server
from support.api import BASE, TOKEN, a_config, client_of, created
from support.polling import eventually

pytestmark = pytest.mark.postgres

BEARER = {"Authorization": f"Bearer {TOKEN}"}
_DIFFERS = {"x-request-id", "ratelimit", "date"}
"""Headers that differ between two responses."""


@pytest.fixture
async def served(api: AdminApi) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API behind its HTTP server."""
    async with (
        http_server(api.app, "127.0.0.1", 0) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client,
    ):
        yield client


def headers_of(answer: httpx.Response, *, without: frozenset[str] = frozenset()) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in _DIFFERS | without}


async def test_head_is_answered_on_each_path_with_get_with_the_same_headers_and_no_body(
    api: AdminApi, client: httpx.AsyncClient, served: httpx.AsyncClient
) -> None:
    config = await created(client)
    gets = {path for path, item in api.app.openapi()["paths"].items() if "get" in item} - {f"{BASE}/events"}
    paths = sorted(gets | PUBLIC_PATHS | {"/docs/static/swagger-ui.css", "/nothing"})
    assert len(paths) >= 20
    params = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m"}
    for path in paths:
        url = path.format(config_id=config["id"], log_id=1, exchange="kraken", backfill_id=1)
        query = params if path.endswith("candles") else None
        got = await served.get(url, params=query, headers=BEARER)
        head = await served.head(url, params=query, headers=BEARER)
        assert head.status_code == got.status_code, path
        assert head.content == b"", path
        # The metrics count these requests, so their text changes.
        varying = frozenset({"content-length"}) if path == "/metrics" else frozenset[str]()
        assert headers_of(head, without=varying) == headers_of(got, without=varying), path


async def test_head_of_a_stream_ends_with_its_headers(api: AdminApi, served: httpx.AsyncClient) -> None:
    head = await served.head(f"{BASE}/events", headers=BEARER)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    await eventually(lambda: api.event_streams.count == 0, within=5)


async def test_head_needs_a_token_if_get_does_and_the_allow_header_lists_it(served: httpx.AsyncClient) -> None:
    refused = await served.head(f"{BASE}/configs")
    assert (refused.status_code, refused.content) == (401, b"")
    not_there = await served.head(f"{BASE}/configs/1/trigger", headers=BEARER)
    assert (not_there.status_code, not_there.headers["Allow"]) == (405, "POST")
    patched = await served.patch(f"{BASE}/configs/1", headers=BEARER)
    assert set(patched.headers["Allow"].split(", ")) == {"GET", "HEAD", "PUT", "DELETE"}


async def test_head_requests_are_counted_as_head(served: httpx.AsyncClient) -> None:
    await served.head("/health/live")
    metrics = (await served.get("/metrics")).text
    assert 'candlekeep_api_requests_total{method="HEAD",route="/health/live",status="200"} 1.0' in metrics


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "deflate, gzip", "identity, gzip", "nonsense"])
async def test_an_encoded_body_is_refused_with_415_and_accept_encoding(client: httpx.AsyncClient, coding: str) -> None:
    body = gzip.compress(json.dumps(a_config()).encode())
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    answer = await client.post("/configs", content=body, headers=headers)
    assert (answer.status_code, answer.headers["Accept-Encoding"]) == (415, "identity")
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:candlekeep:problem:unsupported-media-type"
    assert "without the header Content-Encoding" in problem["detail"]
    assert (await client.get("/configs")).json() == []


async def test_a_streamed_body_with_an_encoding_is_refused_with_415(served: httpx.AsyncClient) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield gzip.compress(b"configs: []")

    headers = BEARER | {"Content-Encoding": "gzip", "Content-Type": "application/yaml"}
    answer = await served.post(f"{BASE}/configs/apply", content=parts(), headers=headers)
    assert (answer.status_code, answer.headers["Accept-Encoding"]) == (415, "identity")


@pytest.mark.parametrize("headers", [{"Content-Encoding": "identity"}, {"Content-Encoding": ""}])
async def test_a_body_without_an_encoding_is_accepted(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await client.post("/configs", json=a_config(), headers=headers)).status_code == 201


async def test_the_start_page_links_to_the_documentation(api: AdminApi) -> None:
    async with client_of(api, token=None, base="") as anonymous:
        page = await anonymous.get("/")
        links = {"docs", "openapi.json", "health/ready", "health/live"}
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        for link in links:
            assert f'href="{link}"' in page.text
            assert (await anonymous.get(f"/{link}")).status_code == 200
        refused = await anonymous.post("/")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert page.headers["X-Frame-Options"] == "DENY"
    assert refused.status_code == 405


async def test_the_start_page_is_the_same_for_every_caller(api: AdminApi, client: httpx.AsyncClient) -> None:
    async def page_for(**headers: Any) -> str:
        async with client_of(api, token=None, base="") as anonymous:
            return (await anonymous.get("/", headers=headers)).text

    before = await page_for()
    await created(client)
    assert await page_for(**BEARER) == await page_for(Host="evil.example") == before


@pytest.mark.parametrize("wrong", ["1_0", "+1", "01", "%D9%A1", "%EF%BC%91", "1.0", "1e0", "%201", "0x1", "-0", "1%00"])
async def test_an_id_has_one_form(wrong: str, client: httpx.AsyncClient) -> None:
    one = await created(client, **a_config())
    assert one["id"] == 1
    for method, path in (
        ("GET", f"/configs/{wrong}"),
        ("PUT", f"/configs/{wrong}"),
        ("DELETE", f"/configs/{wrong}"),
        ("POST", f"/configs/{wrong}/disable"),
        ("POST", f"/configs/{wrong}/trigger"),
        ("GET", f"/execution-logs/{wrong}"),
        ("DELETE", f"/tokens/{wrong}"),
        ("POST", f"/tokens/{wrong}/rotate"),
        ("GET", f"/execution-logs?config_id={wrong.replace('+', '%2B')}"),
        ("GET", f"/configs?limit={wrong.replace('+', '%2B')}"),
        ("GET", f"/stats?hours={wrong.replace('+', '%2B')}"),
    ):
        answer = await client.request(method, path, json={} if method in {"PUT", "POST"} else None)
        assert answer.status_code in {404, 422}, f"{method} {path}: {answer.status_code}"
    assert (await client.get("/configs/1")).json() == one


async def raw_get(api: AdminApi, path: str, query: bytes) -> tuple[int, Any]:
    """Status and body of a request whose query may have any bytes."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": BASE + path,
        "raw_path": (BASE + path).encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"api"), (b"authorization", BEARER["Authorization"].encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await api.app(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(each.get("body", b"") for each in sent[1:]))


@pytest.mark.parametrize("query", [b"symbol=%ff", b"symbol=\xff", b"%fe=1", b"symbol=%ed%a0%80", b"x=%c3", b"\xc3\x28"])
async def test_a_query_that_is_not_utf_8_is_refused(query: bytes, api: AdminApi) -> None:
    for path in ("/configs", "/execution-logs", "/candles", "/audit-log", "/configs/1"):
        status, problem = await raw_get(api, path, query)
        assert status == 422, path
        assert "not UTF-8" in problem["errors"][0]["detail"]
    assert await raw_get(api, "/configs", "exchange=é".encode() + b"%E2%82%AC") == (200, [])
