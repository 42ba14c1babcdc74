"""Error responses to invalid input and unknown paths: each is a problem, never a 500."""

from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from admin_api.app import AdminApi
from support.api import a_config, assert_problem, client_of, created

pytestmark = pytest.mark.postgres


HUGE = str(2**63)
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
