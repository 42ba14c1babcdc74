"""Safe writes, bulk operations and manifests in the running system."""

import uuid
from typing import Any

import httpx
import pytest
import yaml

from support.black_box import finished, new_config

pytestmark = [
    pytest.mark.system,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="session"),
]

AS_YAML = {"Content-Type": "application/yaml"}


async def test_a_trigger_with_the_same_key_starts_one_run(api: httpx.AsyncClient) -> None:
    config = await new_config(api)
    key = {"Idempotency-Key": str(uuid.uuid4())}
    responses = [await api.post(f"/configs/{config['id']}/trigger", headers=key) for _ in range(3)]
    assert len({response.content for response in responses}) == 1
    run = await finished(api, job_name=config["job_id"])
    assert run["run_id"] == responses[0].json()["run_id"]
    assert len((await api.get("/execution-logs", params={"job_name": config["job_id"]})).json()) == 1
    await api.delete(f"/configs/{config['id']}")


async def test_an_update_of_an_outdated_version_is_refused(api: httpx.AsyncClient) -> None:
    config = await new_config(api)
    path = f"/configs/{config['id']}"
    if_match = {"If-Match": (await api.get(path)).headers["ETag"]}
    assert (await api.put(path, json={"interval_minutes": 20}, headers=if_match)).status_code == 200
    stale = await api.put(path, json={"interval_minutes": 30}, headers=if_match)
    assert (stale.status_code, stale.headers["ETag"]) == (412, '"2"')
    assert (await api.get(path)).json()["interval_minutes"] == 20
    await api.delete(path)


async def test_bulk_operations_create_trigger_and_delete_configs(api: httpx.AsyncClient) -> None:
    name = f"M{uuid.uuid4().hex[:8].upper()}"
    new_configs = [
        {"symbol": f"{name}{n}/USDT", "exchange": "binance", "timeframes": ["1m"], "enabled": False} for n in range(3)
    ]
    created = (await api.post("/configs/bulk/create", json={"configs": new_configs})).json()
    assert created["summary"]["done"] == 3
    triggered = (await api.post("/configs/bulk/trigger", json={"select": {"symbol": f"{name}*"}})).json()
    for item in triggered["items"]:
        assert (await finished(api, run_id=item["run_id"]))["config_id"] == item["config_id"]
    deleted = (await api.post("/configs/bulk/delete", json={"select": {"symbol": f"{name}*"}})).json()
    assert [item["config_id"] for item in deleted["items"]] == [item["config_id"] for item in created["items"]]


async def test_an_exported_manifest_is_edited_and_applied(api: httpx.AsyncClient) -> None:
    config = await new_config(api)
    file: dict[str, Any] = yaml.safe_load((await api.get("/configs/export")).text)
    [entry] = [each for each in file["configs"] if each["symbol"] == config["symbol"]]
    entry["interval_minutes"], entry["timeframes"] = 30, ["1m", "4h"]
    added = {
        "exchange": "okx",
        "symbol": f"N{uuid.uuid4().hex[:8].upper()}/USDT",
        "timeframes": ["1h"],
        "enabled": False,
    }
    file["configs"] = [entry, added]

    async def apply(**options: Any) -> list[tuple[str, str]]:
        response = await api.post("/configs/apply", content=yaml.safe_dump(file), headers=AS_YAML, params=options)
        assert response.status_code == 200, response.text
        changes = [each for each in response.json()["changes"] if each["action"] != "keep"]
        return [(each["action"], each["symbol"]) for each in changes]

    difference = [("add", added["symbol"]), ("change", config["symbol"])]
    assert await apply(dry_run=True) == difference
    unchanged = (await api.get(f"/configs/{config['id']}")).json()
    assert unchanged | {"market": None} == config | {
        "market": None
    }  # the collector may have read its markets meanwhile
    assert await apply() == difference
    assert await apply() == []
    after = (await api.get(f"/configs/{config['id']}")).json()
    assert (after["interval_minutes"], after["timeframes"], after["version"]) == (30, ["1m", "4h"], 2)
    removed = await api.post("/configs/bulk/delete", json={"select": {"symbol": added["symbol"]}})
    assert removed.json()["summary"]["done"] == 1
    await api.delete(f"/configs/{config['id']}")
