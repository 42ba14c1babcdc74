"""The guide's curl commands and examples, for tests of a running API."""

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from support.black_box import finished
from support.polling import eventually

HOST, TOKEN = "https://your-app.herokuapp.com", "YOUR_TOKEN"
CREATED, TRIGGERED = "configs", "configs/1/trigger"
"""The names of two commands: the end of their path."""


def blocks(guide: str, language: str) -> list[str]:
    """The text of all code blocks in this language."""
    return re.findall(rf"```{language}\n(.*?)```", guide, flags=re.DOTALL)


async def run_curl(line: str, api_url: str, token: str, home: Path) -> tuple[int, Any]:
    """Runs a command of the guide; only host and token are replaced. Returns status and JSON."""
    (home / ".curlrc").write_text('silent\nshow-error\nmax-time = 20\nwrite-out = "\\n%{http_code}"\n')
    command = line.replace(HOST, api_url).replace(TOKEN, token)
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


async def run_all_curls(
    guide: str, api_url: str, token: str, home: Path, before_config_1: Callable[[], Awaitable[None]]
) -> dict[str, tuple[int, Any]]:
    """Status and JSON of each command, by the end of its path. Before each use of config 1, `before_config_1` runs."""
    responses: dict[str, tuple[int, Any]] = {}
    for line in [block for block in blocks(guide, "bash") if block.startswith("curl")]:
        if "/configs/1" in line:
            await before_config_1()
        name = line.partition("data-collection/")[2].split()[0].strip('"')
        responses[name] = await run_curl(line, api_url, token, home)
    return responses


async def check_curls(responses: dict[str, tuple[int, Any]], api: httpx.AsyncClient) -> None:
    """The commands did what the guide says, and their runs have ended."""
    assert list(responses) == [
        CREATED,
        "configs/1",
        TRIGGERED,
        "execution-logs?limit=100",
        "stats?hours=24",
        "status",
    ]
    status, created = responses[CREATED]
    assert status == 201
    assert (created["symbol"], created["interval_minutes"], created["enabled"]) == ("SOL/USDT", 10, True)
    assert created["timeframes"] == ["1m", "5m", "1h", "1d"]
    assert created["job_id"] == f"collect_data_{created['id']}"
    status, updated = responses["configs/1"]
    assert (status, updated["id"], updated["interval_minutes"]) == (200, 1, 5)
    status, accepted = responses[TRIGGERED]
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
