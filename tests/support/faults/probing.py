"""What a process of a running system says about itself."""

import json
from typing import Any

import asyncpg
import httpx

from support.faults.system import Operated


async def metrics_of(system: Operated, process: str) -> str:
    return (await _ask(system, process, "/metrics")).text


async def not_ready_because(system: Operated, process: str) -> dict[str, str]:
    """Its problems by check. Empty: it is ready."""
    problems: dict[str, str] = (await _ask(system, process, "/health/ready")).json()["problems"]
    return problems


async def is_live(system: Operated, process: str) -> bool:
    return (await _ask(system, process, "/health/live")).is_success


def said(system: Operated, process: str, action: str) -> list[dict[str, Any]]:
    """The lines of its log under this action."""
    lines = (system.stack.folder.logs / f"{process}.log").read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if f'"action": "{action}"' in line]


async def run_status(system: Operated, run_id: str | None) -> str | None:
    """As the run log says; None if the run has no row."""
    connection = await asyncpg.connect(system.database_url)
    try:
        query = "SELECT status FROM job_execution_logs WHERE run_id = $1"
        status: str | None = await connection.fetchval(query, run_id)
    finally:
        await connection.close()
    return status


async def _ask(system: Operated, process: str, path: str) -> httpx.Response:
    """An AssertionError while it does not answer."""
    async with httpx.AsyncClient(base_url=system.stack.services[process].url, timeout=5) as client:
        try:
            return await client.get(path, follow_redirects=True)
        except httpx.HTTPError as error:
            raise AssertionError(f"{process} does not answer: {error!r}") from error
