"""Reads the state of a process of a running system: metrics, health, log entries and runs."""

import json
from typing import Any

import asyncpg
import httpx

from support.faults.system import RunningSystem


async def metrics_of(system: RunningSystem, process: str) -> str:
    return (await _get(system, process, "/metrics")).text


async def readiness_problems(system: RunningSystem, process: str) -> dict[str, str]:
    """Its problems by check. An empty dict means that it is ready."""
    problems: dict[str, str] = (await _get(system, process, "/health/ready")).json()["problems"]
    return problems


async def is_live(system: RunningSystem, process: str) -> bool:
    return (await _get(system, process, "/health/live")).is_success


def log_entries(system: RunningSystem, process: str, action: str) -> list[dict[str, Any]]:
    """The entries of its log with this action."""
    lines = (system.stack.folder.logs / f"{process}.log").read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if f'"action": "{action}"' in line]


async def run_status(system: RunningSystem, run_id: str | None) -> str | None:
    """The run's status in the run log. None if the run has no row."""
    connection = await asyncpg.connect(system.database_url)
    try:
        query = "SELECT status FROM job_execution_logs WHERE run_id = $1"
        status: str | None = await connection.fetchval(query, run_id)
    finally:
        await connection.close()
    return status


async def _get(system: RunningSystem, process: str, path: str) -> httpx.Response:
    """Raises AssertionError if the process does not respond."""
    async with httpx.AsyncClient(base_url=system.stack.services[process].url, timeout=5, verify=False) as client:
        try:
            return await client.get(path, follow_redirects=True)
        except httpx.HTTPError as error:
            raise AssertionError(f"{process} does not respond: {error!r}") from error
