"""Rows of an earlier release, at times that the contracts refuse now, break no read, write or periodic task."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from candle_writer.series import SeriesIds
from candle_writer.write import Outcome, write_candles
from contracts.topics import RUN_EVENTS
from log_writer.lost_runs import close_lost_runs
from log_writer.retention import delete_expired
from log_writer.statistics import settle
from support.fetches import a_candle, a_fetch
from support.writers import an_engine, query

pytestmark = pytest.mark.postgres

BTC = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m"}
A_RUN = """
INSERT INTO job_execution_logs (job_name, job_type, symbol, exchange, started_at, finished_at, deadline_at,
  duration_seconds, status, run_id, config_id, trigger, scheduled_for)
VALUES ('collect_data_1', 'data_collection', 'BTC/USDT', 'binance', $1::text::timestamptz, $2::text::timestamptz,
  $3::text::timestamptz, extract(epoch FROM $2::text::timestamptz - $1::text::timestamptz), $4, $5, 1, 'scheduled',
  '2020-01-01Z')
"""
CANDLE = "INSERT INTO candles SELECT 1, $1::text::timestamptz, 1, 1, 1, 1, 1, now()"


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with an_engine(database_url) as engine:
        yield engine


@pytest.mark.parametrize("ledger", [True, False], ids=["with a ledger", "from before the ledger"])
@pytest.mark.parametrize(
    "at", ["20000-01-01Z", "294000-01-01Z", "9999-12-31 23:59:59.999999Z", "infinity", "4000-01-01Z BC", "-infinity"]
)
async def test_a_candle_at_an_impossible_time_breaks_neither_reads_nor_writes(
    at: str, ledger: bool, engine: AsyncEngine, client: httpx.AsyncClient, database_url: str
) -> None:
    series = SeriesIds(engine)
    assert await write_candles(engine, series, [a_fetch(*map(a_candle, range(3)))]) == Outcome(new=3)
    await query(database_url, CANDLE, at)
    await query(
        database_url,
        "UPDATE series SET candle_count = 4, first_open = least(first_open, $1::text::timestamptz),"
        " last_open = greatest(last_open, $1::text::timestamptz)",
        at,
    )
    extend = "UPDATE coverage SET verified = verified + tstzmultirange(tstzrange($1::text::timestamptz, NULL, '[]'))"
    if ledger and at != "infinity":
        await query(database_url, extend.replace("NULL", "$1::text::timestamptz"), at)
    elif not ledger:
        await query(database_url, "DELETE FROM coverage")
    good = [datetime(2026, 11, 22, 12, minute, tzinfo=UTC).isoformat().replace("+00:00", "Z") for minute in range(3)]
    candles = await client.get("/candles", params=BTC)
    assert [each["open_time"] for each in candles.json()] == good
    assert (await client.get("/candles", params=BTC | {"start": "1990-01-01", "format": "csv"})).status_code == 200
    [listed] = (await client.get("/series")).json()
    assert listed["candles"] == 4
    assert "1970-01-01" <= listed["first_open_time"] <= listed["last_open_time"] <= "2200-01-01T00:00:00Z"
    found = (await client.get("/coverage", params=BTC | {"start": good[0], "end": "2026-11-22T12:03:00Z"})).json()
    assert found["closed_periods"] == 3
    assert (await client.get("/coverage", params=BTC)).status_code == 200
    assert await write_candles(engine, series, [a_fetch(*map(a_candle, range(2, 6)))]) == Outcome(new=3, unchanged=1)
    assert (await client.get("/coverage", params=BTC)).json()["verified_from"] == good[0]


async def test_lost_runs_are_closed_although_some_of_them_have_no_duration(
    engine: AsyncEngine, database_url: str
) -> None:
    starts = ["-infinity", "4000-01-01Z BC", "0001-01-01Z", "2020-01-01Z"]
    for start in starts:
        await query(database_url, A_RUN, start, None, "2020-01-01Z", "running", uuid4())

    async def all_partitions() -> frozenset[int]:
        return frozenset(range(RUN_EVENTS.partitions))

    assert await close_lost_runs(engine, all_partitions, timedelta(0)) == len(starts)
    assert await query(database_url, "SELECT count(*) FROM job_execution_logs WHERE status = 'running'") == [(0,)]


async def test_runs_that_cannot_be_closed_do_not_keep_others_open(engine: AsyncEngine, database_url: str) -> None:
    for number in range(5):
        await query(database_url, A_RUN, f"202{number}-01-01Z", None, f"202{number}-01-02Z", "running", uuid4())
    await query(
        database_url, "ALTER TABLE job_execution_logs ADD CHECK (finished_at IS NULL OR started_at <> '2021-01-01Z')"
    )

    async def all_partitions() -> frozenset[int]:
        return frozenset(range(RUN_EVENTS.partitions))

    assert await close_lost_runs(engine, all_partitions, timedelta(0)) == 4
    assert await query(database_url, "SELECT started_at FROM job_execution_logs WHERE status = 'running'") == [
        (datetime(2021, 1, 1, tzinfo=UTC),)
    ]


async def test_durations_that_are_too_long_for_a_sum_stop_neither_the_counts_nor_retention_nor_reads(
    engine: AsyncEngine, client: httpx.AsyncClient, database_url: str
) -> None:
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    for _ in range(40):
        await query(database_url, A_RUN, start.isoformat(), "9999-12-30Z", None, "success", uuid4())
        await query(database_url, A_RUN, "0001-01-02Z", "9999-12-30Z", None, "success", uuid4())
    await query(database_url, A_RUN, "2020-05-05Z", "2020-05-06Z", None, "success", uuid4())
    await query(
        database_url, A_RUN, datetime.now(UTC).isoformat(), datetime.now(UTC).isoformat(), None, "success", uuid4()
    )
    assert await settle(engine) > 0
    assert await settle(engine) == 0, "the hours that cannot be added stay"
    left = await query(database_url, "SELECT DISTINCT hour FROM run_changes ORDER BY 1")
    assert left == [(datetime(1, 1, 2, tzinfo=UTC),), (start,)]
    for path in (
        "/stats?hours=24",
        "/reports/exchanges",
        "/reports/exchanges?hours=24",
        "/reports/config-activity?config_id=1",
        "/reports/config-selection",
        "/reports/exchange-use?hours=720",
        "/reports/history?hours=24",
        "/execution-logs/export",
        "/reports/next-losses",
        "/status",
        "/execution-logs",
    ):
        answer = await client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.text}"
    assert (await client.get("/stats?hours=24")).json()["total_executions"] == 41
    deleted: list[int] = []
    await delete_expired(engine, timedelta(days=30), deleted.append)
    assert sum(deleted) == 41
    assert await query(database_url, "SELECT count(*) FROM job_execution_logs WHERE started_at < '2021-01-01Z'") == [
        (0,)
    ]
