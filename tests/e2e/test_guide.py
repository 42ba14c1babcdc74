"""The running system does what the guide shows: its curl commands, SQL, JSON and parameters."""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from local_stack.stack import Stack
from support.black_box import finished, free_symbol, new_config
from support.polling import eventually
from support.shared_data import shared_file

pytestmark = [
    pytest.mark.system,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="session"),
]

HOST, TOKEN = "https://your-app.herokuapp.com", "YOUR_TOKEN"
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


def blocks(guide: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", guide, flags=re.DOTALL)


def parsed(block: str) -> Any:
    try:
        return json.loads(block)
    except json.JSONDecodeError:
        return None  # a block with comments


async def run_curl(line: str, system: Stack, home: Path) -> tuple[int, Any]:
    """Runs a command of the guide; only host and token are replaced. Returns status and JSON."""
    (home / ".curlrc").write_text('silent\nshow-error\nmax-time = 20\nwrite-out = "\\n%{http_code}"\n')
    command = line.replace(HOST, system.api_url).replace(TOKEN, system.token)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command),
        env={**os.environ, "HOME": str(home), "CURL_HOME": str(home)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    body, _, status = out.decode().rpartition("\n")
    return int(status), json.loads(body) if body else None


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
    lines = [block for block in blocks(guide, "bash") if block.startswith("curl")]
    responses: dict[str, tuple[int, Any]] = {}
    for line in lines:
        if "/configs/1" in line:
            await ensure_config_1(system, api)
        name = line.partition("data-collection/")[2].split()[0].strip('"')
        responses[name] = await run_curl(line, system, tmp_path)
    assert list(responses) == [
        "configs",
        "configs/1",
        "configs/1/trigger",
        "execution-logs?limit=100",
        "stats?hours=24",
        "status",
    ]

    status, created = responses["configs"]
    assert status == 201
    assert (created["symbol"], created["interval_minutes"], created["enabled"]) == ("SOL/USDT", 10, True)
    assert created["timeframes"] == ["1m", "5m", "1h", "1d"]
    assert created["job_id"] == f"collect_data_{created['id']}"
    status, updated = responses["configs/1"]
    assert (status, updated["id"], updated["interval_minutes"]) == (200, 1, 5)
    status, accepted = responses["configs/1/trigger"]
    assert (status, accepted["config_id"], accepted["status"]) == (202, 1, "accepted")
    for name, kind in (("execution-logs?limit=100", list), ("stats?hours=24", dict), ("status", dict)):
        assert responses[name][0] == 200
        assert isinstance(responses[name][1], kind)

    triggered = await finished(api, run_id=accepted["run_id"])
    assert (triggered["job_name"], triggered["trigger"]) == ("collect_data_1", "manual")

    async def first_run_succeeded() -> bool:
        filters = {"job_name": created["job_id"], "status": "success"}
        runs = (await api.get("/execution-logs", params=filters)).json()
        return any(run["trigger"] == "initial" for run in runs)

    await eventually(first_run_succeeded, within=60)


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
