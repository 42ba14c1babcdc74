"""Requests, health and metrics while the database is away or busy, and the queries that observe it."""

import asyncio
import time
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from admin_api.app import AdminApi, build_api
from admin_api.auth.required_roles import PUBLIC_PATHS
from support.api import BASE, a_config, assert_problem, client_of, created
from support.api_routes import AN_ID, every_route

pytestmark = pytest.mark.postgres


NEEDS_NO_DATABASE = {
    ("GET", f"{BASE}/me"),
    ("GET", f"{BASE}/events"),
    ("DELETE", f"{BASE}/sessions/current"),
    ("GET", f"{BASE}/exchanges"),
    ("GET", f"{BASE}/exchanges/{{exchange}}"),
    ("GET", f"{BASE}/services"),
}


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
