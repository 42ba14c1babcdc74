"""The SQL of docs/coverage.md runs as it is printed, and agrees with GET /coverage."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi
from contracts.coverage import to_milliseconds
from support.stored_ledgers import AbsentSpan, store_ledger, store_series
from support.writers import query

pytestmark = pytest.mark.postgres

PAGE = Path(__file__).parents[3] / "docs/coverage.md"
EXAMPLES = dict(re.findall(r"sql\n-- ([a-z-]+): [^\n]*\n(.+?);\n", PAGE.read_text(encoding="utf-8"), re.DOTALL))
RUNBOOK = (PAGE.parent / "runbook.md").read_text(encoding="utf-8").partition("## An open hole")[2]
XRP = {"exchange": "kraken", "symbol": "XRP/USDT", "timeframe": "1m"}
MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)
START, END = "2026-11-22T00:00:00Z", "2026-11-23T04:00:00Z"


def at(hours: float) -> int:
    return to_milliseconds(MIDNIGHT + timedelta(hours=hours))


@pytest.fixture
async def ledger_of_the_page(api: AdminApi) -> None:
    """The ledger of the page's example, with an absence before and after it. There are two other series."""
    series_id = await store_series(api.engine, at(2), at(25), **XRP)
    verified = [(at(2), at(6)), (at(12), at(20)), (at(21), at(26))]
    absent = [
        AbsentSpan(at(1), at(1.5), "unknown"),
        AbsentSpan(at(6), at(10), "beyond_horizon"),
        AbsentSpan(at(11), at(12), "rejected"),
        AbsentSpan(at(26), at(27), "unread"),
    ]
    await store_ledger(api.engine, series_id, verified, absent)
    await store_series(api.engine, symbol="NEW/USDT")
    other = await store_series(api.engine, at(0), at(5), symbol="A/USDT")
    await store_ledger(api.engine, other, [(at(0), at(6))])


async def holes_of_the_api(client: httpx.AsyncClient) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    response = await client.get("/coverage", params=XRP | {"start": START, "end": END})
    found: dict[str, Any] = response.json()
    return found, [(each["start"], each["end"], each["absence_class"]) for each in found["open_holes"]]


def iso(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


@pytest.mark.usefixtures("ledger_of_the_page")
async def test_what_is_missing_is_the_target_minus_the_verified_spans(
    client: httpx.AsyncClient, database_url: str
) -> None:
    found, holes = await holes_of_the_api(client)
    rows = await query(database_url, EXAMPLES["what-is-missing"])
    gaps = sorted({(iso(row[0]), iso(row[1])) for row in rows})
    outside = [found["before_first_verified"], found["not_yet_verified"]]
    assert gaps == [
        (outside[0]["start"], outside[0]["end"]),
        (holes[0][0], holes[2][1]),
        ("2026-11-22T20:00:00Z", "2026-11-22T21:00:00Z"),
        (outside[1]["start"], outside[1]["end"]),
    ]
    assert [row[2] for row in rows] == ["unknown", "beyond_horizon", "rejected", None, "unread"]
    assert rows[1][3] == "evidence for beyond_horizon"


@pytest.mark.usefixtures("ledger_of_the_page")
async def test_open_holes_by_exchange_and_class(client: httpx.AsyncClient, database_url: str) -> None:
    _, holes = await holes_of_the_api(client)
    assert [kind for *_, kind in holes] == ["beyond_horizon", "unknown", "rejected", "unknown"]
    assert await query(database_url, EXAMPLES["holes-by-class"]) == [
        ("kraken", "beyond_horizon", 1, timedelta(hours=4)),
        ("kraken", "rejected", 1, timedelta(hours=1)),
        ("kraken", "unknown", 2, timedelta(hours=2)),
    ]


@pytest.mark.usefixtures("ledger_of_the_page")
async def test_the_query_of_the_runbook_shows_the_holes_with_the_newest_first(database_url: str) -> None:
    [sql] = re.findall(r"sql\n(SELECT .+?;)\n", RUNBOOK.partition("\n## ")[0], re.DOTALL)
    rows = await query(database_url, sql)
    assert [(row[0], iso(row[3]), row[4]) for row in rows] == [
        ("XRP/USDT", "2026-11-22T21:00:00Z", None),
        ("XRP/USDT", "2026-11-22T12:00:00Z", "beyond_horizon"),
        ("XRP/USDT", "2026-11-22T12:00:00Z", "rejected"),
    ]


async def test_the_series_with_the_most_missing_time_comes_first(api: AdminApi, database_url: str) -> None:
    now = to_milliseconds(datetime.now(UTC))
    hour = 3_600_000
    for symbol, hours in (("A/USDT", 24), ("B/USDT", 48), ("C/USDT", 200)):
        series_id = await store_series(api.engine, symbol=symbol)
        await store_ledger(api.engine, series_id, [(now - hours * hour, now)])
    await store_series(api.engine, symbol="NEW/USDT")
    rows = await query(database_url, EXAMPLES["most-missing"])
    assert [row[1] for row in rows] == ["NEW/USDT", "A/USDT", "B/USDT", "C/USDT"]
    assert rows[0][3] == timedelta(days=7)
    assert timedelta(days=6) <= rows[1][3] < timedelta(days=6, minutes=5)


def test_the_page_has_the_three_examples() -> None:
    assert EXAMPLES.keys() == {"what-is-missing", "most-missing", "holes-by-class"}
