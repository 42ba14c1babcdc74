"""The run log as CSV."""

import csv
import io
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from admin_api.runs import export

pytestmark = pytest.mark.postgres

AddRun = Callable[..., Awaitable[int]]


async def exported(client: httpx.AsyncClient, **params: str | int) -> list[dict[str, str]]:
    answer = await client.get("/execution-logs/export", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="candlekeep-runs.csv"'
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


async def test_the_export_has_all_runs_of_the_filtered_list_in_its_order(
    client: httpx.AsyncClient, add_run: AddRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one page of the query, with equal times of the start at the border of two pages."""
    monkeypatch.setattr(export, "_PAGE", 3)
    now = datetime.now(UTC)
    for number in range(11):
        await add_run(
            started_at=now - timedelta(minutes=number // 4), status="failed" if number % 5 == 0 else "success"
        )
    listed = (await client.get("/execution-logs")).json()
    rows = await exported(client)
    assert [row["id"] for row in rows] == [str(each["id"]) for each in listed]
    assert list(rows[0]) == list(export.COLUMNS)
    for name in ("run_id", "status", "started_at", "symbol", "error_message"):
        assert [row[name] for row in rows] == [each[name] or "" for each in listed], name
    assert [float(row["duration_seconds"]) for row in rows] == [each["duration_seconds"] for each in listed]
    failed = await exported(client, status="failed")
    assert [row["error_class"] for row in failed] == ["timeout"] * 3
    assert [row["id"] for row in await exported(client, limit=7)] == [row["id"] for row in rows[:7]]
    assert await exported(client, exchange="kraken") == []


async def test_no_cell_of_the_export_is_a_formula(client: httpx.AsyncClient, add_run: AddRun) -> None:
    await add_run(status="failed", error_message='=HYPERLINK("http://evil.example","a")', symbol="@SUM/USDT")
    [row] = await exported(client)
    assert (row["error_message"][:12], row["symbol"]) == ("'=HYPERLINK(", "'@SUM/USDT")


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 100_001},
        {"limit": 0},
        {"skip": 1},
        {"cursor": "x"},
        {"start_date": "2026-01-02T00:00:00Z", "end_date": "2026-01-01T00:00:00Z"},
    ],
)
async def test_invalid_parameters_of_the_export_are_refused_before_it_begins(
    client: httpx.AsyncClient, params: dict[str, str | int]
) -> None:
    refused = await client.get("/execution-logs/export", params=params)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"].removeprefix("#/") in params
