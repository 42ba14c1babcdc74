"""Every endpoint, parameter, filter, limit and bad input of the API, against the running system."""

import re
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from local_stack.stack import Stack
from support.black_box import finished, free_symbol, new_config
from support.polling import eventually

pytestmark = [
    pytest.mark.system,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="session"),
]

BEYOND_BIGINT = 2**63


async def test_the_life_cycle_of_a_config(api: httpx.AsyncClient) -> None:
    config = await new_config(api, description="life")
    path = f"/configs/{config['id']}"
    # A response to a change has no state of the market.
    assert (await api.get(path)).json() | {"market": None} == config
    put = await api.put(path, json={"interval_minutes": 5, "timeframes": ["1m", "1h", "1d"]})
    assert (put.status_code, put.json()["interval_minutes"], put.json()["description"]) == (200, 5, "life")
    for verb, enabled in (("enable", True), ("enable", True), ("disable", False), ("disable", False)):
        response = await api.post(f"{path}/{verb}")
        assert (response.status_code, response.json()["enabled"]) == (200, enabled)
    run_id = (await api.post(f"{path}/trigger")).json()["run_id"]
    run = await finished(api, run_id=run_id)
    assert (run["config_id"], run["run_id"], run["job_type"]) == (config["id"], run_id, "data_collection")
    assert (await api.get(f"/execution-logs/{run['id']}")).json()["run_id"] == run_id
    assert (await api.delete(path)).status_code == 204
    assert (await api.get(path)).status_code == 404
    assert (await api.get(f"/execution-logs/{run['id']}")).status_code == 200


async def test_jobs_follow_configs(system: Stack, api: httpx.AsyncClient) -> None:
    """The jobs of the scheduler follow enable, disable and delete of a config."""
    database = await asyncpg.connect(system.database_url)
    config = await new_config(api)
    path = f"/configs/{config['id']}"

    async def active() -> bool | None:
        found: bool | None = await database.fetchval(
            "SELECT active FROM scheduled_jobs WHERE config_id = $1", config["id"]
        )
        return found

    try:
        await api.post(f"{path}/enable")
        await eventually(active, within=20)
        await api.post(f"{path}/disable")

        async def inactive() -> bool:
            return await active() is False

        await eventually(inactive, within=20)
        await api.delete(path)

        async def deleted() -> bool:
            return await active() is None

        await eventually(deleted, within=20)
    finally:
        await database.close()


async def test_config_filters_and_pages(api: httpx.AsyncClient) -> None:
    configs = [await new_config(api, exchange="okx") for _ in range(3)]
    await api.post(f"/configs/{configs[0]['id']}/enable")
    ids = [config["id"] for config in configs]

    async def page(**params: Any) -> list[int]:
        response = await api.get("/configs", params=params)
        assert response.status_code == 200, response.text
        assert int(response.headers["X-Total-Count"]) >= len(response.json())
        return [config["id"] for config in response.json()]

    async def page_of_these(**params: Any) -> list[int]:
        return [config_id for config_id in await page(**params) if config_id in ids]

    assert await page_of_these() == ids
    assert await page_of_these(exchange="okx") == ids
    assert await page_of_these(exchange="kraken") == []
    assert await page_of_these(enabled="true", exchange="okx") == ids[:1]
    assert await page_of_these(enabled="false") == ids[1:]
    everything = await page(limit=100)
    assert await page(skip=1, limit=2) == everything[1:3]
    for config_id in ids:
        await api.delete(f"/configs/{config_id}")


async def test_log_filters_pages_and_stats(api: httpx.AsyncClient) -> None:
    await free_symbol(api, "BTC/USDT")
    config = await new_config(api, symbol="BTC/USDT", enabled=True, timeframes=["1m"], interval_minutes=1440)
    run = await finished(api, job_name=config["job_id"])
    assert run["status"] == "success"
    started = datetime.fromisoformat(run["started_at"])
    for filters in (
        {"job_name": config["job_id"]},
        {"job_name": config["job_id"], "job_type": "data_collection"},
        {"job_name": config["job_id"], "symbol": "BTC/USDT"},
        {"job_name": config["job_id"], "status": "success"},
        {"job_name": config["job_id"], "start_date": (started - timedelta(seconds=1)).isoformat()},
        {"job_name": config["job_id"], "end_date": (started + timedelta(seconds=1)).isoformat(), "limit": 1000},
    ):
        response = await api.get("/execution-logs", params=filters)
        assert [each["id"] for each in response.json()] == [run["id"]], filters
        assert response.headers["X-Total-Count"] == "1"
    for filters in (
        {"symbol": "ETH/USDT"},
        {"job_type": "other"},
        {"status": "failed"},
        {"status": "running"},
        {"start_date": (started + timedelta(seconds=1)).isoformat()},
        {"end_date": started.isoformat()},
        {"skip": 1},
    ):
        response = await api.get("/execution-logs", params={"job_name": config["job_id"], **filters})
        assert response.json() == [], filters
    stats = (await api.get("/stats", params={"hours": 1, "job_type": "data_collection"})).json()
    assert stats["successful_executions"] >= 1
    assert stats["total_records_collected"] >= run["records_collected"] > 0
    assert (await api.get("/stats", params={"job_type": "other"})).json()["total_executions"] == 0

    async def candles() -> list[Any]:
        response = await api.get("/candles", params={"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m"})
        rows: list[Any] = response.json()
        return rows

    rows = await eventually(candles, within=20)
    times = [row["open_time"] for row in rows]
    assert times == sorted(times)
    span = {"start": times[0], "end": times[2], "exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m"}
    assert (await api.get("/candles", params=span)).json() == rows[:2]
    as_csv = await api.get("/candles", params={**span, "format": "csv"})
    assert as_csv.text.splitlines()[0] == "open_time,open,high,low,close,volume,fetched_at,trades,quote_volume,source"
    assert (await api.get("/candles", params=span, headers={"Accept": "text/csv"})).text == as_csv.text


BAD_BODIES: list[tuple[dict[str, Any], str]] = [
    ({"exchange": "binanse"}, "binance"),
    ({"timeframes": ["7m"]}, "1m"),
    ({"timeframes": []}, "timeframes"),
    ({"timeframes": ["1m", "1m"]}, "1m"),
    ({"symbol": "BTCUSDT"}, "BASE/QUOTE"),
    ({"symbol": "A\x00/USDT"}, "BASE/QUOTE"),
    ({"interval_minutes": 0}, "interval_minutes"),
    ({"interval_minutes": 10081}, "interval_minutes"),
    ({"description": "x" * 501}, "description"),
    ({"description": "\x00"}, "description"),
    ({"surprise": 1}, "surprise"),
]


@pytest.mark.parametrize(("change", "word"), BAD_BODIES)
async def test_bad_configs_are_422_problems(api: httpx.AsyncClient, change: dict[str, Any], word: str) -> None:
    valid = {"symbol": "NEW/USDT", "exchange": "binance", "timeframes": ["1m"], "interval_minutes": 10}
    response = await api.post("/configs", json=valid | change)
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
    assert word in response.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "/configs?limit=101",
        "/configs?limit=0",
        "/configs?skip=-1",
        "/configs?enabled=maybe",
        f"/configs?skip={BEYOND_BIGINT}",
        f"/configs/{BEYOND_BIGINT}",
        "/configs/abc",
        "/execution-logs?limit=1001",
        "/execution-logs?skip=-1",
        "/execution-logs?status=odd",
        "/execution-logs?start_date=soon",
        "/execution-logs?symbol=%00",
        f"/execution-logs/{BEYOND_BIGINT}",
        "/stats?hours=0",
        "/stats?hours=721",
        "/candles?exchange=binance&symbol=BTC/USDT",
        "/candles?exchange=binance&symbol=BTC/USDT&timeframe=1m&limit=10001",
        "/candles?exchange=binance&symbol=BTC/USDT&timeframe=1m&start=2025-01-02&end=2025-01-01",
    ],
)
async def test_bad_queries_are_422_problems(api: httpx.AsyncClient, query: str) -> None:
    response = await api.get(query)
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")


async def test_conflicts_name_the_config_and_missing_resources_are_404(api: httpx.AsyncClient) -> None:
    config = await new_config(api)
    body = {name: config[name] for name in ("symbol", "exchange", "timeframes")}
    conflict = await api.post("/configs", json=body)
    assert (conflict.status_code, conflict.json()["config_id"]) == (409, config["id"])
    warned = await api.put(f"/configs/{config['id']}", json={"interval_minutes": 1})
    assert len(warned.json()["warnings"]) == 1
    await api.delete(f"/configs/{config['id']}")
    for method, path in (
        ("GET", f"/configs/{config['id']}"),
        ("DELETE", f"/configs/{config['id']}"),
        ("POST", f"/configs/{config['id']}/enable"),
        ("POST", f"/configs/{config['id']}/disable"),
        ("POST", f"/configs/{config['id']}/trigger"),
        ("GET", "/execution-logs/999999999"),
        ("GET", f"/candles?exchange=binance&symbol={config['symbol']}&timeframe=1m"),
    ):
        response = await api.request(method, path)
        assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json"), path


async def test_everything_except_health_metrics_and_docs_requires_the_token(system: Stack) -> None:
    async with httpx.AsyncClient(base_url=system.api_url, timeout=60) as anonymous:
        for path in ("/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"):
            assert (await anonymous.get(path)).status_code == 200, path
        schema = (await anonymous.get("/openapi.json")).json()
        for path, item in schema["paths"].items():
            if not path.startswith("/api/"):
                continue
            for method in item:
                for headers in ({}, {"Authorization": f"Bearer {system.token}x"}, {"Authorization": "Bearer"}):
                    url = re.sub(r"{\w+}", "1", path)
                    response = await anonymous.request(method, url, headers=headers, content=b"{")
                    # After many wrong tokens, the address is rate limited; the correct token still works.
                    assert response.status_code in ({401, 429} if headers else {401}), (method, path)
                    assert ("WWW-Authenticate" in response.headers) == (response.status_code == 401)
