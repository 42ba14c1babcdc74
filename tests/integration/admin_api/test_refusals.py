"""Error responses: invalid input, wrong credentials, unknown paths, no database. Each is a problem, never a 500."""

import asyncio
import time
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute
from pydantic import SecretStr

from admin_api.app import AdminApi, build_api
from admin_api.auth.required_roles import PUBLIC_PATHS
from support.api import BASE, TOKEN, a_config, client_of, created

pytestmark = pytest.mark.postgres

HUGE = str(2**63)


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


BAD_FIELDS = [
    ({"exchange": "binanse"}, "#/exchange", "did you mean binance"),
    ({"exchange": "no-such-place"}, "#/exchange", "use ccxt's id, such as binance"),
    ({"exchange": ""}, "#/exchange", "is not an exchange"),
    ({"exchange": "Binance"}, "#/exchange", "did you mean binance"),
    ({"exchange": None}, "#/exchange", "valid string"),
    ({"exchange": "x" * 41}, "#/exchange", "at most 40"),
    ({"exchange": "bin\x00ance"}, "#/exchange", "did you mean binance"),
    ({"timeframes": ["1m", "7m"]}, "#/timeframes/1", "binance has no '7m' candles; it offers 1s, 1m"),
    ({"timeframes": []}, "#/timeframes", "at least 1"),
    ({"timeframes": ["1m", "5m", "1m"]}, "#/timeframes", "1m is there more than once"),
    ({"timeframes": "1m"}, "#/timeframes", "valid list"),
    ({"timeframes": [1]}, "#/timeframes/0", "valid string"),
    ({"timeframes": ["1m"] * 51}, "#/timeframes", "at most 50"),
    ({"symbol": "BTCUSDT"}, "#/symbol", "BASE/QUOTE"),
    ({"symbol": "BTC/"}, "#/symbol", "BASE/QUOTE"),
    ({"symbol": "BTC/USDT/EUR"}, "#/symbol", "BASE/QUOTE"),
    ({"symbol": "BTC/USDT:"}, "#/symbol", "BASE/QUOTE"),
    ({"symbol": "BTC /USDT"}, "#/symbol", "BASE/QUOTE"),
    ({"symbol": " BTC/USDT"}, "#/symbol", "BASE/QUOTE"),
    ({"symbol": "BTC|X/USDT"}, "#/symbol", "BASE/QUOTE"),
    ({"symbol": "BTC\x00/USDT"}, "#/symbol", "BASE/QUOTE"),
    ({"symbol": "BTC/USDT\n"}, "#/symbol", "BASE/QUOTE"),
    ({"symbol": ""}, "#/symbol", "BASE/QUOTE"),
    ({"symbol": 7}, "#/symbol", "valid string"),
    ({"interval_minutes": 0}, "#/interval_minutes", "greater than or equal to 1"),
    ({"interval_minutes": 10081}, "#/interval_minutes", "less than or equal to 10080"),
    ({"interval_minutes": -5}, "#/interval_minutes", "greater than or equal to 1"),
    ({"interval_minutes": 1.5}, "#/interval_minutes", "valid integer"),
    ({"interval_minutes": "10"}, "#/interval_minutes", "valid integer"),
    ({"interval_minutes": True}, "#/interval_minutes", "valid integer"),
    ({"interval_minutes": None}, "#/interval_minutes", "valid integer"),
    ({"interval_minutes": 10**400}, "#/interval_minutes", "less than or equal to 10080"),
    ({"enabled": "yes"}, "#/enabled", "valid boolean"),
    ({"description": "x" * 501}, "#/description", "at most 500"),
    ({"description": "a\x00b"}, "#/description", "control characters"),
    ({"description": 1}, "#/description", "valid string"),
    ({"descripton": "typing error"}, "#/descripton", "no such field"),
    ({"id": 5}, "#/id", "no such field"),
]


@pytest.mark.parametrize(("fault", "pointer", "words"), BAD_FIELDS, ids=[str(case[0])[:40] for case in BAD_FIELDS])
async def test_an_invalid_field_is_422_with_its_pointer_for_create_and_update(
    client: httpx.AsyncClient, fault: dict[str, Any], pointer: str, words: str
) -> None:
    existing = await created(client, symbol="ADA/USDT")
    for method, path, body in (
        ("POST", "/configs", a_config(**fault)),
        ("PUT", f"/configs/{existing['id']}", fault),
    ):
        if method == "PUT" and None in fault.values():
            continue  # null has another meaning in an update and has a separate test
        problem = assert_problem(await client.request(method, path, json=body), 422)
        [error] = [each for each in problem["errors"] if each["pointer"] == pointer]
        assert words in error["detail"]
        assert error["where"] == "body"
        assert words in problem["detail"]


@pytest.mark.parametrize("field", ["symbol", "exchange", "timeframes"])
async def test_a_missing_field_is_named(client: httpx.AsyncClient, field: str) -> None:
    body = {name: value for name, value in a_config().items() if name != field}
    problem = assert_problem(await client.post("/configs", json=body), 422)
    assert problem["errors"] == [{"pointer": f"#/{field}", "detail": "is required", "where": "body"}]


@pytest.mark.parametrize(
    ("content", "kind", "status", "words"),
    [
        (b"{", "application/json", 422, "not valid JSON"),
        (b"", "application/json", 422, "send a JSON object"),
        (b"[]", "application/json", 422, "must be a JSON object"),
        (b"null", "application/json", 422, "JSON object"),
        (b'{"symbol": "BTC/USDT"}', "text/plain", 422, "Content-Type: application/json"),
        (b'{"symbol": "BTC/USDT"}', "application/x-www-form-urlencoded", 422, "Content-Type: application/json"),
        (b'{"symbol": "\xff"}', "application/json", 422, "not valid JSON"),
        (b"[" * 60_000, "application/json", 422, "not valid JSON"),
        (b'{"symbol": "\\ud800/USDT"}', "application/json", 422, "symbol"),
        (b'{"\\ud800": 1}', "application/json", 422, "unicode"),
        (b'{"interval_minutes": NaN}', "application/json", 422, "interval_minutes"),
        (b'{"description": "' + b"x" * 70_000 + b'"}', "application/json", 413, "too large"),
    ],
)
async def test_an_invalid_body_is_a_problem(
    client: httpx.AsyncClient, content: bytes, kind: str, status: int, words: str
) -> None:
    answer = await client.post("/configs", content=content, headers={"Content-Type": kind})
    assert words in assert_problem(answer, status)["detail"]


BAD_QUERIES = [
    ("/configs", {"limit": "101"}),
    ("/configs", {"limit": "0"}),
    ("/configs", {"limit": "-1"}),
    ("/configs", {"limit": "ten"}),
    ("/configs", {"skip": "-1"}),
    ("/configs", {"skip": HUGE}),
    ("/configs", {"enabled": "perhaps"}),
    ("/configs", {"exchange": "a\x00b"}),
    ("/configs", {"simbol": "BTC/USDT"}),
    ("/execution-logs", {"limit": "1001"}),
    ("/execution-logs", {"limit": "0"}),
    ("/execution-logs", {"skip": "-1"}),
    ("/execution-logs", {"skip": HUGE}),
    ("/execution-logs", {"status": "broken"}),
    ("/execution-logs", {"start_date": "yesterday"}),
    ("/execution-logs", {"end_date": "2025-13-01"}),
    ("/execution-logs", {"start_date": "0001-01-01T00:00:00+14:00"}),
    ("/execution-logs", {"start_date": "9999-12-31T23:59:59-14:00"}),
    ("/execution-logs", {"start_date": "1" * 400}),
    ("/execution-logs", {"job_name": "\x00"}),
    ("/execution-logs", {"symbol": "\x00"}),
    ("/execution-logs", {"job_type": "\x00"}),
    ("/execution-logs", {"symbol": "x" * 201}),
    ("/execution-logs", {"run_id": "not-a-uuid"}),
    ("/execution-logs", {"config_id": HUGE}),
    ("/execution-logs", {"nonsense": "1"}),
    ("/stats", {"hours": "0"}),
    ("/stats", {"hours": "721"}),
    ("/stats", {"hours": "-1"}),
    ("/stats", {"hours": "1.5"}),
    ("/stats", {"job_type": "\x00"}),
    ("/stats", {"days": "1"}),
    ("/candles", {"exchange": "\x00", "symbol": "BTC/USDT", "timeframe": "1m"}),
    ("/candles", {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m", "limit": "10001"}),
    ("/candles", {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m", "limit": "0"}),
    ("/candles", {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m", "format": "xml"}),
    ("/candles", {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m", "start": "soon"}),
    ("/candles", {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m", "since": "2025-01-01"}),
]


@pytest.mark.parametrize(("path", "params"), BAD_QUERIES, ids=[f"{p} {str(q)[:50]}" for p, q in BAD_QUERIES])
async def test_an_invalid_query_is_422_with_the_name_of_the_parameter(
    client: httpx.AsyncClient, path: str, params: dict[str, str]
) -> None:
    problem = assert_problem(await client.get(path, params=params), 422)
    assert problem["errors"][0]["pointer"].removeprefix("#/") in params
    assert problem["errors"][0]["where"] == "query"


@pytest.mark.parametrize("path", ["/configs", "/execution-logs"])
async def test_the_maximum_limits_of_the_guide_are_accepted(client: httpx.AsyncClient, path: str) -> None:
    greatest = {"/configs": 100, "/execution-logs": 1000}[path]
    assert (await client.get(path, params={"limit": greatest, "skip": 100_000})).json() == []


ON_AN_ID = [
    ("GET", "/configs/{}"),
    ("PUT", "/configs/{}"),
    ("DELETE", "/configs/{}"),
    ("POST", "/configs/{}/enable"),
    ("POST", "/configs/{}/disable"),
    ("POST", "/configs/{}/trigger"),
    ("GET", "/execution-logs/{}"),
]


@pytest.mark.parametrize(("method", "path"), ON_AN_ID)
async def test_an_unknown_id_is_404_and_an_invalid_id_is_422(client: httpx.AsyncClient, method: str, path: str) -> None:
    body = {"json": {"enabled": True}} if method == "PUT" else {}
    for row_id, status in (("4711", 404), (str(2**63 - 1), 404), (HUGE, 422), ("9" * 5000, 422), ("0", 422)):
        assert_problem(await client.request(method, path.format(row_id), **body), status)
    for row_id in ("abc", "-1", "1.5", "%00"):
        assert_problem(await client.request(method, path.format(row_id), **body), 422)


async def test_unknown_paths_and_methods_are_problems(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/nothing-here"), 404)
    answer = await client.patch("/configs/1", json={})
    assert_problem(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "PUT", "DELETE"}


class _AnId(dict[str, int]):
    def __missing__(self, name: str) -> int:
        return 1


AN_ID = _AnId()
"""A value for every path parameter."""
NEEDS_NO_DATABASE = {
    ("GET", f"{BASE}/me"),
    ("GET", f"{BASE}/events"),
    ("DELETE", f"{BASE}/sessions/current"),
    ("GET", f"{BASE}/exchanges"),
    ("GET", f"{BASE}/exchanges/{{exchange}}"),
    ("GET", f"{BASE}/services"),
}


def every_route(api: AdminApi) -> list[tuple[str, str]]:
    schema = api.app.openapi()
    return [(method.upper(), path) for path, item in schema["paths"].items() for method in item]


async def test_every_path_except_health_metrics_and_docs_needs_a_credential(a_setting: Any) -> None:
    api = build_api(a_setting(failed_logins_per_minute=100_000))
    guarded = [route for route in every_route(api) if route[1] not in PUBLIC_PATHS]
    assert len(guarded) >= 21
    for method, path in [*guarded, ("GET", "/api"), ("GET", "/nothing"), ("OPTIONS", "/api/v1")]:
        for authorization in (
            None,
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong-token-wrong-token-wrong",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            f"Bearer {TOKEN} {TOKEN}",
            f"Basic {TOKEN}",
            TOKEN,
            "Bearer \xe9\xe9\xe9",
        ):
            headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
            async with client_of(api, token=None, base="") as anonymous:
                url = path.format_map(AN_ID)
                answer = await anonymous.request(method, url, headers=headers, content=b"{not json")
            assert_problem(answer, 401)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    await api.close()


async def test_two_authorization_headers_are_refused(api: AdminApi) -> None:
    twice = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer other")]
    async with client_of(api, token=None) as anonymous:
        assert_problem(await anonymous.get("/configs", headers=twice), 401)


async def test_the_authorization_scheme_is_not_case_sensitive(api: AdminApi) -> None:
    async with client_of(api, token=None) as anonymous:
        assert (await anonymous.get("/configs", headers={"Authorization": f"bearer {TOKEN}"})).status_code == 200


async def test_health_metrics_and_docs_need_no_credential(api: AdminApi) -> None:
    async with client_of(api, token=None, base="") as anonymous:
        for path in PUBLIC_PATHS:
            assert (await anonymous.get(path)).status_code == 200, path
        metrics = (await anonymous.get("/metrics")).text
    assert "candlekeep_outbox_backlog 0.0" in metrics
    assert 'candlekeep_api_requests_total{method="GET",route="/health/live",status="200"}' in metrics


async def test_the_metrics_contain_the_outbox_backlog(client: httpx.AsyncClient) -> None:
    await created(client)
    metrics = (await client.get("http://api/metrics")).text
    assert "candlekeep_outbox_backlog 1.0" in metrics
    assert 'route="/api/v1/admin/data-collection/configs",status="201"' in metrics


async def test_health_and_metrics_query_the_database_at_most_once_a_second(
    api: AdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, statements = 100.0, 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    for module in ("database_check", "coverage.loss_metrics", "metrics"):  # a query that is given up is not counted
        monkeypatch.setattr(f"admin_api.{module}._TIMEOUT_SECONDS", 60.0)
    for once in (api.database_check.refresh, api.outbox_observer, api.loss_observer):
        monkeypatch.setattr(once, "_monotonic", lambda: now)
    for engine in (api.engine, api.reserved_engine):
        sa.event.listen(engine.sync_engine, "before_cursor_execute", count)
    async with client_of(api, token=None, base="") as anonymous:
        for path, at_first in (("/metrics", 3), ("/health/ready", 1)):  # the losses are read twice a minute
            statements = 0
            answers = await asyncio.gather(*(anonymous.get(path) for _ in range(20)))
            assert {answer.status_code for answer in answers} == {200}
            assert statements == at_first
            now += 1.0
            await anonymous.get(path)
            assert statements == at_first + 1


async def test_without_a_database_every_data_route_is_503_and_the_process_stays_live(a_setting: Any) -> None:
    api = build_api(a_setting(database_url=SecretStr("postgresql://user@127.0.0.1:1/nothing")))
    guarded = [route for route in every_route(api) if route[1] not in PUBLIC_PATHS and route not in NEEDS_NO_DATABASE]
    bodies: dict[str, Any] = {"/configs": a_config(), "/tokens": {"name": "a", "role": "viewer"}, "/rotate": {}}
    bodies["/configs/apply"] = {"configs": []}
    bodies["/bulk/create"] = {"configs": [a_config()]}
    bodies["/preflight"] = a_config()
    bodies["/backfills"] = {"select": {"symbol": "*"}, "start": "2025-01-01T00:00:00Z", "end": "2025-02-01T00:00:00Z"}
    bodies |= {f"/bulk/{verb}": {"select": {"ids": [1]}} for verb in ("enable", "disable", "trigger", "delete")}
    of_a_series = {"exchange": "a", "symbol": "b", "timeframe": "c"}
    queries: dict[str, dict[str, str]] = dict.fromkeys(
        ("candles", "chart", "coverage", "rejected-candles"), of_a_series
    )
    queries |= {"incidents": {"exchange": "a"}, "config-activity": {"config_id": "1"}}
    async with client_of(api, base="") as client:
        for method, path in guarded:
            body = next((body for end, body in bodies.items() if path.endswith(end)), {"enabled": True})
            answer = await client.request(
                method,
                path.format_map(AN_ID),
                json=body if method in {"POST", "PUT"} else None,
                params=queries.get(path.rpartition("/")[2]),
            )
            assert_problem(answer, 503)
            assert int(answer.headers["Retry-After"]) > 0
        assert (await client.get("/health/live")).status_code == 200
        ready = await client.get("/health/ready")
        assert ready.status_code == 503
        assert "database" in ready.json()["problems"]
        assert "candlekeep_outbox_backlog NaN" in (await client.get("/metrics")).text
    await api.close()


async def test_a_busy_database_is_503_after_the_configured_timeout(api: AdminApi, a_setting: Any) -> None:
    short_timeout = build_api(a_setting(database_command_timeout_seconds=0.3))
    async with client_of(short_timeout) as client:
        config = await created(client)
        async with api.engine.begin() as other:
            await other.exec_driver_sql("LOCK TABLE data_collection_configs IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            assert_problem(await client.put(f"/configs/{config['id']}", json={"enabled": False}), 503)
            assert time.monotonic() - began < 3
        assert (await client.get(f"/configs/{config['id']}")).json() == config
    await short_timeout.close()


async def test_an_unexpected_error_is_a_500_problem_without_internal_details(api: AdminApi) -> None:
    async def broken() -> None:
        raise RuntimeError("an internal secret")

    api.app.router.routes.insert(0, APIRoute("/broken", broken))
    async with client_of(api, base="") as client:
        answer = await client.get("/broken", headers={"X-Request-ID": "mine"})
    assert_problem(answer, 500)
    assert "secret" not in answer.text
    assert (answer.headers["X-Request-ID"], answer.json()["request_id"]) == ("mine", "mine")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
