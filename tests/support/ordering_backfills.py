"""Requests of `/backfills` that succeed, and the time that they are about."""

from datetime import UTC, datetime
from typing import Any

import httpx

from contracts.coverage import to_milliseconds
from support.stored_ledgers import MINUTE, iso

DAY = 1440 * MINUTE
NOW = to_milliseconds(datetime.now(UTC)) // DAY * DAY
"""The last midnight."""


def a_backfill(**overrides: Any) -> dict[str, Any]:
    return {"select": {"symbol": "*"}, "start": iso(NOW - 10 * DAY), "end": iso(NOW)} | overrides


async def ordered(client: httpx.AsyncClient, **overrides: Any) -> dict[str, Any]:
    answer = await client.post("/backfills", json=a_backfill(**overrides))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def details(client: httpx.AsyncClient, backfill_id: int) -> dict[str, Any]:
    answer = await client.get(f"/backfills/{backfill_id}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def estimated(client: httpx.AsyncClient, **overrides: Any) -> dict[str, Any]:
    answer = await client.post("/backfills", json=a_backfill(dry_run=True, **overrides))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert body["dry_run"] is True
    estimate: dict[str, Any] = body["estimate"]
    return estimate
