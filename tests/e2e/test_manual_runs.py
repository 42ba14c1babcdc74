"""In the running system, a manual run is never skipped: it waits for the run in progress."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

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

SYMBOL = "LTC/USDT"
DAY_MINUTES = 24 * 60
"""So rarely that no scheduled run comes between the runs of a test."""


@pytest_asyncio.fixture(loop_scope="session")
async def slow_config(system: Stack, api: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
    """A new, enabled config on an exchange that answers after eight seconds."""
    mood = {"kind": "latency", "exchange": "binance", "path": "klines", "latency_ms": 8000, "count": 2}
    async with httpx.AsyncClient(base_url=str(system.simulator_url), timeout=60) as simulator:
        assert (await simulator.post("/control/moods", json=mood)).status_code == 201
        await free_symbol(api, SYMBOL)
        config = await new_config(api, symbol=SYMBOL, timeframes=["1m"], interval_minutes=DAY_MINUTES, enabled=True)
        yield config
        await simulator.delete("/control/moods")
    await api.delete(f"/configs/{config['id']}")


async def trigger(api: httpx.AsyncClient, config: dict[str, Any]) -> str:
    response = await api.post(f"/configs/{config['id']}/trigger", headers={"Idempotency-Key": str(uuid.uuid4())})
    assert response.status_code == 202, response.text
    return str(response.json()["run_id"])


async def runs(api: httpx.AsyncClient, config: dict[str, Any]) -> list[dict[str, Any]]:
    listed = (await api.get("/execution-logs", params={"job_name": config["job_id"]})).json()
    return sorted(listed, key=lambda run: str(run["started_at"]))


async def test_a_trigger_right_after_the_creation_of_a_config_runs_after_the_initial_run(
    api: httpx.AsyncClient, slow_config: dict[str, Any]
) -> None:
    run_ids = {await trigger(api, slow_config), await trigger(api, slow_config)}
    [run_id] = run_ids
    assert (await finished(api, run_id=run_id))["status"] == "success"
    listed = await runs(api, slow_config)
    assert [run["trigger"] for run in listed] == ["initial", "manual"]
    initial, manual = listed
    assert (initial["trigger"], initial["status"], manual["run_id"]) == ("initial", "success", run_id)
    assert initial["finished_at"] <= manual["started_at"]


async def test_triggers_during_a_slow_run_wait_together_and_run_once_after_it(
    api: httpx.AsyncClient, slow_config: dict[str, Any]
) -> None:
    async def in_progress() -> bool:
        return [run["status"] for run in await runs(api, slow_config)] == ["running"]

    await eventually(in_progress, within=30)
    run_ids = set(await asyncio.gather(*(trigger(api, slow_config) for _ in range(20))))
    [run_id] = run_ids
    assert (await finished(api, run_id=run_id))["status"] == "success"
    listed = await runs(api, slow_config)
    assert [run["trigger"] for run in listed] == ["initial", "manual"]
    first, manual = listed
    assert (first["status"], manual["run_id"]) == ("success", run_id)
    assert first["finished_at"] <= manual["started_at"]
    after = await trigger(api, slow_config)
    assert after != run_id
    assert (await finished(api, run_id=after))["status"] == "success"
