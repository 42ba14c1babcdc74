"""The running system does what the guide shows: its curl commands, SQL, JSON and parameters."""

import json
import re
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from local_stack.stack import Stack
from support.black_box import finished, free_symbol, new_config
from support.guide import blocks, check_curls, run_all_curls
from support.shared_data import shared_file

pytestmark = [
    pytest.mark.system,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="session"),
]

CONFIG_FIELDS = [
    "id",
    "symbol",
    "exchange",
    "timeframes",
    "interval_minutes",
    "enabled",
    "job_id",
    "created_at",
    "description",
]


@pytest.fixture(scope="module")
def guide() -> str:
    return shared_file("guide.md").read_text(encoding="utf-8")


def parsed(block: str) -> Any:
    try:
        return json.loads(block)
    except json.JSONDecodeError:
        return None  # a block with comments


async def ensure_config_1(system: Stack, api: httpx.AsyncClient) -> None:
    """The examples of the guide use config 1. If another test has deleted it, it is created again."""
    if (await api.get("/configs/1")).status_code == 200:
        return
    database = await asyncpg.connect(system.database_url)
    try:
        await database.execute("ALTER TABLE data_collection_configs ALTER COLUMN id RESTART WITH 1")
        config = await new_config(api, enabled=False)
        highest = await database.fetchval("SELECT max(id) FROM data_collection_configs")
        await database.execute(f"ALTER TABLE data_collection_configs ALTER COLUMN id RESTART WITH {highest + 1}")
    finally:
        await database.close()
    assert config["id"] == 1


async def test_every_curl_command_of_the_guide_works_in_the_given_order(
    guide: str, system: Stack, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    await free_symbol(api, "SOL/USDT")
    responses = await run_all_curls(guide, system.api_url, system.token, tmp_path, lambda: ensure_config_1(system, api))
    await check_curls(responses, api)


async def test_the_sql_of_the_guide_runs_unchanged(guide: str, system: Stack) -> None:
    queries = blocks(guide, "sql")
    assert len(queries) == 4
    database = await asyncpg.connect(system.database_url)
    try:
        for query in queries:
            await database.fetch(query)
        assert (
            await database.fetchval(
                "SELECT count(*) FROM job_execution_logs WHERE started_at < NOW() - INTERVAL '30 days'"
            )
            == 0
        )
    finally:
        await database.close()


async def test_responses_have_the_fields_of_the_guide_in_its_order(guide: str, api: httpx.AsyncClient) -> None:
    # The JSON blocks of the guide: the list of configs, two requests, the list of logs, the statistics.
    configs, _, _, logs, stats = [sample for block in blocks(guide, "json") if (sample := parsed(block))][:5]
    await free_symbol(api, "ADA/USDT")
    config = await new_config(api, symbol="ADA/USDT", enabled=True)
    listed = (await api.get("/configs", params={"limit": 1})).json()
    assert list(listed[0])[: len(configs[0])] == list(configs[0])
    run = await finished(api, job_name=config["job_id"])
    assert list(run)[: len(logs[0])] == list(logs[0])
    assert run["metadata"].keys() >= logs[0]["metadata"].keys()
    assert list((await api.get("/stats")).json())[: len(stats)] == list(stats)
    status = (await api.get("/status")).json()
    overview = guide[guide.index('"total_configs"') - 2 :].partition("```")[0]
    fields = re.findall(r'^  "(\w+)":', overview, flags=re.MULTILINE)
    assert list(status) == fields
