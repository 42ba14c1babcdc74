import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from admin_api.runs import reports
from admin_api.runs.hourly_counts import exchange_totals
from store.tables import scheduled_jobs
from support.api import BASE, created
from support.shared_data import shared_file

pytestmark = pytest.mark.postgres

AddRun = Callable[..., Awaitable[int]]
HOUR = 60
DAY = 24 * HOUR


@pytest.fixture
async def a_varied_log(add_run: AddRun) -> None:
    """Runs of all kinds, inside and outside the time window of each query."""
    for number in range(60):
        status = ["success", "success", "failed", "skipped", "running"][number % 5]
        await add_run(
            minutes_ago=number * 7 * HOUR + 1,
            status=status,
            symbol=f"S{number % 13}/USDT",
            exchange=["binance", "okx", "kraken"][number % 3],
            config_id=number % 13 + 1,
            **({} if status == "running" else {"duration_seconds": 1.0 + number / 7}),
            records_collected=1 + number**2,
        )
    await add_run(job_type="backfill", symbol="OTHER/USDT", exchange="bybit", records_collected=10**6)
    await add_run(status="running", exchange="bybit", symbol="LATE/USDT", minutes_ago=1)


async def results_of_the_guide(database_url: str) -> list[list[dict[str, Any]]]:
    """The results of the first three SQL queries of the guide, run without changes."""
    queries = re.findall(r"```sql\n(.*?)```", shared_file("guide.md").read_text(encoding="utf-8"), re.DOTALL)[:3]
    connection = await asyncpg.connect(database_url)
    try:
        return [[dict(row) for row in await connection.fetch(query)] for query in queries]
    finally:
        await connection.close()


async def success_rate_in_the_log(database_url: str, symbol: str) -> float:
    """Successful runs of this symbol in the last week, in percent of the runs that succeeded or failed."""
    connection = await asyncpg.connect(database_url)
    try:
        rate = await connection.fetchval(
            "SELECT coalesce(round(avg((status = 'success')::int) * 100, 2), 0) FROM job_execution_logs"
            " WHERE symbol = $1 AND status IN ('success', 'failed') AND job_type = 'data_collection'"
            " AND started_at >= now() - interval '7 days'",
            symbol,
        )
    finally:
        await connection.close()
    return float(rate)


def with_approximate_floats(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: pytest.approx(value) if isinstance(value, float) else value for name, value in row.items()}
        for row in rows
    ]


async def test_reports_equal_the_results_of_the_queries_of_the_guide(
    client: httpx.AsyncClient, database_url: str, a_varied_log: None
) -> None:
    top, failures, exchanges = await results_of_the_guide(database_url)
    reported = (await client.get("/reports/top-symbols")).json()
    assert [list(row) for row in reported] == [list(row) for row in top]
    assert len(reported) == 10
    rates = [row.pop("success_rate") for row in reported]
    assert reported == with_approximate_floats(
        [{name: value for name, value in row.items() if name != "success_rate"} for row in top]
    )
    assert rates == [await success_rate_in_the_log(database_url, row["symbol"]) for row in top]
    assert [row["id"] for row in (await client.get("/reports/recent-failures")).json()] == [
        row["id"] for row in failures
    ]
    assert failures
    by_name = sorted(exchanges, key=lambda row: row["exchange"])
    reported = (await client.get("/reports/exchanges")).json()
    assert [list(row) for row in reported] == [list(row) for row in by_name]
    assert reported == with_approximate_floats(by_name)
    assert [row["exchange"] for row in reported] == ["binance", "kraken", "okx"]


async def test_the_success_rate_of_a_symbol_equals_the_statistics(client: httpx.AsyncClient, add_run: AddRun) -> None:
    for status in ("success", "success", "failed", "skipped", "skipped", "running"):
        await add_run(status=status)
    [report] = (await client.get("/reports/top-symbols", params={"hours": 24})).json()
    stats = (await client.get("/stats")).json()
    assert (report["success_rate"], stats["success_rate"]) == (66.67, 66.67)
    assert report["executions"] == stats["total_executions"] == 6


async def test_hours_and_limit_narrow_the_reports(client: httpx.AsyncClient, add_run: AddRun) -> None:
    for hours, symbol, records in ((1, "A/USDT", 5), (30, "B/USDT", 9), (200, "C/USDT", 99)):
        await add_run(minutes_ago=hours * HOUR, symbol=symbol, records_collected=records)
        await add_run(minutes_ago=hours * HOUR, symbol=symbol, status="failed", exchange="okx")

    async def symbols(**params: int) -> list[str]:
        return [row["symbol"] for row in (await client.get("/reports/top-symbols", params=params)).json()]

    assert await symbols() == ["B/USDT", "A/USDT"]
    assert await symbols(hours=24) == ["A/USDT"]
    assert await symbols(hours=720, limit=1) == ["C/USDT"]
    failures = await client.get("/reports/recent-failures", params={"hours": 48})
    assert [row["symbol"] for row in failures.json()] == ["A/USDT", "B/USDT"]
    exchanges = (await client.get("/reports/exchanges", params={"hours": 24})).json()
    assert [(row["exchange"], row["total_records"]) for row in exchanges] == [("binance", 5), ("okx", 0)]


NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)


async def exchanges_report(api: AdminApi, hours: int | None) -> list[tuple[str, float, int]]:
    rows = await reports.exchanges(api.engine, reports.ExchangesQuery(hours=hours), NOW)
    return [(row.exchange, row.avg_duration, row.total_records) for row in rows]


async def exchanges_by_plain_sql(api: AdminApi, hours: int | None) -> list[tuple[str, Any, int]]:
    since = datetime(2000, 1, 1, tzinfo=UTC) if hours is None else NOW - timedelta(hours=hours)
    query = sa.text(
        "SELECT exchange, avg(duration_seconds), sum(records_collected) FROM job_execution_logs "
        "WHERE job_type = 'data_collection' AND duration_seconds IS NOT NULL AND started_at >= :since "
        "GROUP BY 1 ORDER BY 1"
    )
    async with api.engine.begin() as connection:
        rows = (await connection.execute(query, {"since": since})).all()
    return [(exchange, pytest.approx(average), records) for exchange, average, records in rows]


async def test_exchange_reports_are_exact_from_counts_changes_and_the_first_part_of_an_hour(
    api: AdminApi, add_run: AddRun
) -> None:
    for number in range(40):
        await add_run(
            started_at=NOW - timedelta(minutes=number * 17),
            status=["success", "failed", "running", "skipped"][number % 4],
            exchange=["binance", "okx", "kraken"][number % 3],
            duration_seconds=1 + number / 7,
            records_collected=number,
        )
        if number == 25:
            async with api.engine.begin() as connection:
                await connection.execute(sa.text("SELECT settle_run_changes()"))
    async with api.engine.begin() as connection:
        await connection.execute(sa.text("UPDATE job_execution_logs SET exchange = 'bybit' WHERE id % 5 = 0"))
        await connection.execute(sa.text("DELETE FROM job_execution_logs WHERE id % 7 = 0"))
    for hours in (None, 1, 3, 5, 720):
        assert await exchanges_report(api, hours) == await exchanges_by_plain_sql(api, hours), hours


async def test_exchange_reports_read_whole_hours_from_the_counts_and_not_from_the_log(
    api: AdminApi, add_run: AddRun
) -> None:
    """If the counts are deleted, the report contains only runs before the first whole hour."""
    await add_run(started_at=NOW - timedelta(hours=2, minutes=-1), exchange="in-the-first-part")
    await add_run(started_at=NOW - timedelta(hours=1), exchange="in-a-whole-hour")
    async with api.engine.begin() as connection:
        await connection.execute(sa.text("TRUNCATE run_exchange_hours, run_exchange_changes"))
    assert await exchanges_report(api, None) == []
    assert [exchange for exchange, *_ in await exchanges_report(api, 2)] == ["in-the-first-part"]
    assert "job_execution_logs" not in str(exchange_totals(None, "data_collection"))


async def test_failures_are_listed_in_pages_while_their_time_window_moves(
    client: httpx.AsyncClient, add_run: AddRun
) -> None:
    ids = [await add_run(minutes_ago=minute + 1, status="failed") for minute in range(5)]
    response = await client.get("/reports/recent-failures", params={"limit": 2, "hours": 3})
    assert response.headers["X-Total-Count"] == "5"
    seen = [row["id"] for row in response.json()]
    while (found := re.search(r'<([^>]*)>; rel="next"', response.headers["Link"])) is not None:
        assert found[1].startswith(f"{BASE}/reports/recent-failures?limit=2&hours=3&cursor=")
        response = await client.get(f"http://api{found[1]}")
        seen += [row["id"] for row in response.json()]
    assert seen == ids


async def test_reports_without_runs_are_empty(client: httpx.AsyncClient) -> None:
    for report in ("top-symbols", "recent-failures", "exchanges"):
        assert (await client.get(f"/reports/{report}")).json() == []


@pytest.mark.parametrize(
    ("report", "params"),
    [
        ("top-symbols", {"hours": 0}),
        ("top-symbols", {"hours": 721}),
        ("top-symbols", {"limit": 101}),
        ("top-symbols", {"skip": 1}),
        ("recent-failures", {"hours": 721}),
        ("recent-failures", {"limit": 1001}),
        ("recent-failures", {"status": "success"}),
        ("exchanges", {"hours": 0}),
        ("exchanges", {"limit": 1}),
        ("history", {"hours": 721}),
        ("history", {"span": "week"}),
    ],
)
async def test_unknown_or_invalid_parameters_of_a_report_are_refused(
    client: httpx.AsyncClient, report: str, params: dict[str, Any]
) -> None:
    refused = await client.get(f"/reports/{report}", params=params)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"].removeprefix("#/") in params


async def test_the_activity_of_configs_has_the_latest_runs_of_each_the_oldest_first(
    api: AdminApi, client: httpx.AsyncClient, add_run: AddRun
) -> None:
    ids = [await add_run(config_id=7, minutes_ago=60 - number, status="success") for number in range(4)]
    running = await add_run(config_id=7, minutes_ago=0, status="running")
    await add_run(config_id=8, status="failed")
    next_run = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=3)
    job = {"exchange": "binance", "symbol": "BTC/USDT", "interval_minutes": 5, "config_version": 1}
    async with api.engine.begin() as connection:
        for config_id, active in ((7, True), (8, False)):
            row = {"config_id": config_id, "job_name": f"collect_data_{config_id}", "active": active}
            row |= job | {"next_fire_at": next_run, "updated_at": next_run}
            await connection.execute(sa.insert(scheduled_jobs).values(row))
    answer = await client.get("/reports/config-activity", params={"config_id": [9, 7, 8, 7], "runs": 3})
    unknown, seven, eight = answer.json()
    assert unknown == {"config_id": 9, "next_run_at": None, "runs": []}
    assert [run["id"] for run in seven["runs"]] == [*ids[2:], running]
    assert datetime.fromisoformat(seven["next_run_at"]) == next_run
    assert [(run["status"], run["error_class"]) for run in eight["runs"]] == [("failed", "timeout")]
    assert eight["next_run_at"] is None  # it is disabled


@pytest.mark.parametrize("query", ["", "?config_id=0", "?config_id=1&runs=51", "?" + "&".join(["config_id=1"] * 101)])
async def test_the_activity_of_too_many_or_no_configs_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/reports/config-activity{query}")).status_code == 422


async def history(client: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    answer = await client.get("/reports/history", params=params)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    return rows


async def test_the_history_has_each_hour_and_day_from_counts_and_changes(
    api: AdminApi, client: httpx.AsyncClient, add_run: AddRun
) -> None:
    """Half of the runs are settled, half are changes. The percentiles equal the log's within 1 %."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    for number in range(40):
        status = "failed" if number % 4 == 0 else "success"
        await add_run(started_at=hour, status=status, duration_seconds=1.0 + number, records_collected=number)
        if number == 19:
            async with api.engine.begin() as connection:
                await connection.execute(sa.text("SELECT settle_run_changes()"))
    await add_run(started_at=hour + timedelta(hours=1), status="skipped", duration_seconds=0.0)
    await add_run(started_at=hour, job_type="backfill")
    rows = await history(client, hours=3)
    assert len(rows) == 4
    empty, full, skipped, current = rows
    assert [datetime.fromisoformat(each["begins"]) - hour for each in rows] == [
        timedelta(hours=number) for number in (-1, 0, 1, 2)
    ]
    assert (full["executions"], full["successful"], full["failed"], full["success_rate"]) == (40, 30, 10, 75.0)
    assert (full["avg_duration"], full["total_records"]) == (20.5, sum(range(40)))
    assert (full["p50_duration"], full["p95_duration"]) == (pytest.approx(20, rel=0.01), pytest.approx(38, rel=0.01))
    assert full["errors_by_class"] == {"timeout": 10}
    assert (empty["executions"], empty["avg_duration"], empty["p95_duration"], current["executions"]) == (
        0,
        None,
        None,
        0,
    )
    assert (skipped["executions"], skipped["skipped"], skipped["success_rate"]) == (1, 1, 0.0)
    days = await history(client, hours=3, span="day")
    assert sum(each["executions"] for each in days) == 41
    [of_the_day] = [each for each in days if each["successful"]]
    assert of_the_day["p95_duration"] == pytest.approx(38, rel=0.01)
    assert datetime.fromisoformat(of_the_day["begins"]) == hour.replace(hour=0)
    async with api.engine.begin() as connection:
        await connection.execute(sa.text("TRUNCATE run_hours, run_durations, run_changes"))
    assert {each["executions"] for each in await history(client)} == {0}, "the log is not read"


async def test_the_use_of_exchanges_has_their_success_and_the_share_of_the_rate_limit(
    client: httpx.AsyncClient, add_run: AddRun
) -> None:
    body = {"timeframes": ["1m", "1h"], "interval_minutes": 10}
    for symbol in ("BTC/USDT", "ETH/USDT", "BTC/USDT:USDT"):
        await created(client, symbol=symbol, exchange="binance", **body)
    await created(client, symbol="BTC/USD", exchange="kraken", enabled=False, **body)
    preflight = await client.post("/configs/preflight", json={"symbol": "SOL/USDT", "exchange": "binance", **body})
    budget = preflight.json()["budget"]
    for minutes, status in [(10, "success"), (70, "success"), (70, "failed"), (75, "skipped"), (5, "running")]:
        await add_run(minutes_ago=minutes, status=status)
    await add_run(minutes_ago=3 * HOUR, status="failed")
    await add_run(exchange="okx", status="failed")
    binance, okx = (await client.get("/reports/exchange-use", params={"hours": 2})).json()
    assert (binance["exchange"], binance["successful"], binance["failed"]) == ("binance", 2, 1)
    assert binance["success_rate"] == 66.67
    assert binance["weight_per_minute"] == budget["other_configs"] > 0
    assert binance["limit_per_minute"] == budget["limit"]
    assert binance["rate_share"] == pytest.approx(budget["other_configs"] / budget["limit"], rel=1e-3)
    assert (okx["success_rate"], okx["weight_per_minute"], okx["rate_share"]) == (0, 0, 0)
    fresh = (await client.get("/reports/exchange-use", params={"hours": 1})).json()
    assert [(each["exchange"], each["success_rate"]) for each in fresh] == [("binance", 100), ("okx", 0)]


async def test_a_selection_has_the_number_of_its_configs_their_exchanges_and_timeframes(
    client: httpx.AsyncClient,
) -> None:
    nothing = {"configs": 0, "exchanges": [], "timeframes": []}
    assert (await client.get("/reports/config-selection")).json() == nothing
    await created(client, symbol="BTC/USDT", exchange="binance", timeframes=["1h", "1m"])
    await created(client, symbol="ETH/USDT", exchange="kraken", timeframes=["1d", "1h"])
    await created(client, symbol="BTC/USD", exchange="kraken", timeframes=["5m"], enabled=False)

    async def selected(**query: str) -> tuple[int, list[str], list[str]]:
        answer = (await client.get("/reports/config-selection", params=query)).raise_for_status().json()
        return answer["configs"], answer["exchanges"], answer["timeframes"]

    assert await selected() == (3, ["binance", "kraken"], ["1m", "5m", "1h", "1d"])
    assert await selected(symbol="*/USDT") == (2, ["binance", "kraken"], ["1m", "1h", "1d"])
    assert await selected(symbol="BTC/*", exchange="kraken") == (1, ["kraken"], ["5m"])
    assert await selected(enabled="true", exchange="kraken") == (1, ["kraken"], ["1h", "1d"])
    for pattern in ("btc/*", "BTC_USDT", "BTC%", "B", "", "BTC/USDT/"):
        assert await selected(symbol=pattern) == (0, [], []), pattern
    assert (await client.get("/reports/config-selection", params={"simbol": "*"})).status_code == 422
