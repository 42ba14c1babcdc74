"""Bulk operations on configs: each item succeeds or fails separately, or all or none. The response reports each."""

import asyncio
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from store.tables import audit_log, config_timeframes, configs, outbox
from support.api import a_config, created

pytestmark = pytest.mark.postgres

TABLES = (configs, config_timeframes, outbox, audit_log)


async def rows(api: AdminApi) -> list[int]:
    """The number of rows per table: configs, claims, outbox and audit log."""
    async with api.engine.connect() as connection:
        counts = [await connection.scalar(sa.select(sa.func.count()).select_from(table)) for table in TABLES]
    return [count or 0 for count in counts]


async def bulk(client: httpx.AsyncClient, action: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"/configs/bulk/{action}", json=body)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    assert result["action"] == action
    counted = {name: count for name, count in result["summary"].items() if count and name != "total"}
    outcomes = [item["outcome"] for item in result["items"]]
    assert counted == {name: outcomes.count(name) for name in set(outcomes)}
    assert result["summary"]["total"] == len(outcomes)
    return result


def outcomes(result: dict[str, Any]) -> list[str]:
    return [item["outcome"] for item in result["items"]]


MIXED = [
    a_config(symbol="A/USDT"),
    a_config(symbol="B/USDT", exchange="binanse"),
    a_config(symbol="HELD/USDT", timeframes=["5m", "1m"]),
    a_config(symbol="A/USDT", timeframes=["1h", "1d"]),
    a_config(symbol="A/USDT", timeframes=["5m"]),
    a_config(symbol="C/USDT", timeframes=["1m", "7m"]),
]


async def test_bulk_create_creates_the_valid_configs_and_reports_the_others(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    holder = await created(client, symbol="HELD/USDT", timeframes=["1m"])
    dry = await bulk(client, "create", configs=MIXED, dry_run=True)
    assert await rows(api) == [1, 1, 1, 1]
    result = await bulk(client, "create", configs=MIXED)
    assert outcomes(result) == ["done", "failed", "failed", "failed", "done", "failed"]
    assert outcomes(dry) == [each.replace("done", "would_be_done") for each in outcomes(result)]
    assert [item["index"] for item in result["items"]] == list(range(6))
    assert await rows(api) == [3, 4, 3, 3]
    for item in result["items"]:
        if item["outcome"] == "done":
            config = (await client.get(f"/configs/{item['config_id']}")).json()
            assert (config["version"], config["symbol"]) == (item["version"], MIXED[item["index"]]["symbol"])
    problems = {item["index"]: item["problem"] for item in result["items"] if item["outcome"] == "failed"}
    assert "did you mean binance" in problems[1]["errors"][0]["detail"]
    assert (problems[2]["status"], problems[2]["config_id"]) == (409, holder["id"])
    assert "#/configs/0" in problems[3]["detail"]
    assert problems[5]["errors"][0]["pointer"] == "#/timeframes/1"


async def test_a_failed_item_does_not_block_the_timeframes_of_later_items(client: httpx.AsyncClient) -> None:
    await created(client, timeframes=["1m"])
    wanted = [a_config(timeframes=["1m", "1h"]), a_config(timeframes=["1h"])]
    assert outcomes(await bulk(client, "create", configs=wanted)) == ["failed", "done"]


async def test_an_atomic_request_with_a_failed_item_is_409_and_changes_nothing(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    await created(client, symbol="HELD/USDT", timeframes=["1m"])
    refused = await client.post("/configs/bulk/create", json={"configs": MIXED, "atomic": True})
    assert refused.status_code == 409
    assert refused.json()["type"].endswith(":nothing-done")
    assert [item["index"] for item in refused.json()["items"]] == [1, 2, 3, 5]
    missing = await client.post("/configs/bulk/delete", json={"select": {"ids": [1, 4711]}, "atomic": True})
    assert (missing.status_code, [item["config_id"] for item in missing.json()["items"]]) == (409, [4711])
    assert await rows(api) == [1, 1, 1, 1]
    fine = [MIXED[0], MIXED[4]]
    assert outcomes(await bulk(client, "create", configs=fine, atomic=True)) == ["done", "done"]


async def test_bulk_create_accepts_1000_configs_and_refuses_more(api: AdminApi, client: httpx.AsyncClient) -> None:
    many = [a_config(symbol=f"C{n}/USDT", timeframes=["1m", "5m", "1h", "1d"]) for n in range(1001)]
    refused = await client.post("/configs/bulk/create", json={"configs": many})
    assert refused.status_code == 422
    assert "1000" in refused.json()["detail"]
    result = await bulk(client, "create", configs=many[:1000])
    assert result["summary"]["done"] == 1000
    assert await rows(api) == [1000, 4000, 1000, 1000]
    await created(client, symbol="ONE/MORE", enabled=False)
    refused = await client.post("/configs/bulk/disable", json={"select": {"symbol": "*"}})
    assert refused.status_code == 409
    assert "selects 1001 configs" in refused.json()["detail"]
    disabled = await bulk(client, "disable", select={"symbol": "C*"})
    assert disabled["summary"]["done"] == 1000
    deleted = await bulk(client, "delete", select={"symbol": "C*"})
    assert deleted["summary"]["done"] == 1000
    assert (await rows(api))[:2] == [1, 2]


async def test_filters_select_configs_and_a_star_matches_any_characters(client: httpx.AsyncClient) -> None:
    made = {}
    for symbol, exchange, enabled in (
        ("BTC/USDT", "binance", True),
        ("BTC/USDT", "kraken", False),
        ("ETH/USDT", "binance", False),
        ("A_C/EUR", "binance", True),
        ("ABC/EUR", "binance", True),
        ("A%C/EUR", "binance", True),
    ):
        made[await config_id(client, symbol=symbol, exchange=exchange, enabled=enabled)] = (symbol, exchange)

    async def selected(**select: Any) -> list[tuple[str, str]]:
        result = await bulk(client, "trigger", select=select, dry_run=True)
        ids = [item["config_id"] for item in result["items"]]
        assert ids == sorted(ids)
        return [made[each] for each in ids]

    assert await selected(symbol="*") == list(made.values())
    assert await selected(symbol="BTC/USDT", exchange="kraken") == [("BTC/USDT", "kraken")]
    assert await selected(symbol="*/USDT", enabled=False) == [("BTC/USDT", "kraken"), ("ETH/USDT", "binance")]
    assert await selected(symbol="A_C*") == [("A_C/EUR", "binance")]
    assert await selected(symbol="A%C/*") == [("A%C/EUR", "binance")]
    assert await selected(exchange="nowhere") == []


async def config_id(client: httpx.AsyncClient, **overrides: Any) -> int:
    found: int = (await created(client, **overrides))["id"]
    return found


@pytest.mark.parametrize(
    "select",
    [
        {},
        {"ids": []},
        {"ids": [1, 1]},
        {"ids": [0]},
        {"ids": [2**63]},
        {"ids": ["1"]},
        {"ids": list(range(1, 1002))},
        {"ids": [1], "enabled": True},
        {"symbol": "\x00"},
        {"symbol": None},
        {"simbol": "*"},
    ],
)
async def test_an_empty_or_invalid_selection_is_422(client: httpx.AsyncClient, select: dict[str, Any]) -> None:
    await created(client)
    for action in ("enable", "disable", "trigger", "delete"):
        answer = await client.post(f"/configs/bulk/{action}", json={"select": select})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"].startswith("#/select")
    assert len((await client.get("/configs")).json()) == 1


async def test_bulk_disable_reports_changed_unchanged_and_missing_configs(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    on, off = await created(client), await created(client, symbol="ETH/USDT", enabled=False)
    ids = [4711, off["id"], on["id"]]
    dry = await bulk(client, "disable", select={"ids": ids}, dry_run=True)
    assert outcomes(dry) == ["failed", "unchanged", "would_be_done"]
    before = await rows(api)
    result = await bulk(client, "disable", select={"ids": ids})
    assert [(item["outcome"], item["config_id"], item["version"]) for item in result["items"]] == [
        ("failed", 4711, None),
        ("unchanged", off["id"], 1),
        ("done", on["id"], 2),
    ]
    assert result["items"][0]["problem"]["status"] == 404
    assert await rows(api) == [before[0], before[1], before[2] + 1, before[3] + 1]
    async with api.engine.connect() as connection:
        actions = (await connection.execute(sa.select(audit_log.c.action).order_by(audit_log.c.id.desc()))).scalars()
        assert actions.first() == "config.disable"
    enabled = await bulk(client, "enable", select={"enabled": False})
    assert outcomes(enabled) == ["done", "done"]


async def test_bulk_trigger_returns_a_run_id_for_each_config(api: AdminApi, client: httpx.AsyncClient) -> None:
    ids = [await config_id(client, symbol=f"{name}/USDT", enabled=False) for name in "ABC"]
    result = await bulk(client, "trigger", select={"ids": ids})
    run_ids = [item["run_id"] for item in result["items"]]
    assert len(set(run_ids)) == 3
    async with api.engine.connect() as connection:
        ticks = sa.select(outbox.c.value).where(outbox.c.topic == "ticks").order_by(outbox.c.id)
        announced = (await connection.execute(ticks)).scalars().all()
    assert [run_id.encode() in tick for run_id, tick in zip(run_ids, announced, strict=True)] == [True] * 3


async def test_bulk_delete_releases_the_timeframes_and_publishes_each_deletion(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    ids = [await config_id(client, symbol=f"{name}/USDT") for name in "ABC"]
    assert outcomes(await bulk(client, "delete", select={"ids": ids}, dry_run=True)) == ["would_be_done"] * 3
    before = await rows(api)
    assert outcomes(await bulk(client, "delete", select={"ids": [*ids, 4711]})) == ["done"] * 3 + ["failed"]
    assert await rows(api) == [0, 0, before[2] + 6, before[3] + 3]
    await created(client, symbol="A/USDT")


async def test_a_repeated_bulk_request_with_a_key_is_done_once(api: AdminApi, client: httpx.AsyncClient) -> None:
    body, key = {"configs": MIXED}, {"Idempotency-Key": "bulk-1"}
    first, again = [await client.post("/configs/bulk/create", json=body, headers=key) for _ in range(2)]
    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await rows(api))[0] == 3


async def test_concurrent_bulk_creates_of_the_same_configs_report_the_winner(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    wanted = [[a_config(symbol=f"C{n}/USDT") for n in order] for order in (range(20), range(19, -1, -1), range(10, 30))]
    results = await asyncio.gather(*(bulk(client, "create", configs=each) for each in wanted))
    done = [item for result in results for item in result["items"] if item["outcome"] == "done"]
    assert len(done) == 30
    assert (await rows(api))[0] == 30
    for result in results:
        for item in result["items"]:
            if item["outcome"] == "failed":
                assert item["problem"]["config_id"] in {each["config_id"] for each in done}


@pytest.mark.parametrize(("method", "path"), [("PUT", "/configs/bulk/create"), ("GET", "/configs/bulk/enable")])
async def test_bulk_paths_are_not_config_ids(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
