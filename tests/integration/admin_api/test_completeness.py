"""GET /completeness: the target of a series, and the requests with their groups, filters and errors."""

from collections.abc import Callable
from datetime import date
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from admin_api.app import AdminApi
from admin_api.coverage.completeness import parameters_of, percent
from admin_api.coverage.completeness_days_sql import days_statement
from admin_api.coverage.completeness_schemas import CompletenessQuery
from admin_api.coverage.completeness_sql import Shape, statement
from contracts.coverage import SETTLE_TIME, to_instant
from store.missing_time import is_final
from support.api import created
from support.completeness import NOW, NUMBERS, counted, hours, read
from support.stored_ledgers import BTC, AbsentSpan, iso, store_ledger, store_series
from support.writers import query as sql

pytestmark = pytest.mark.postgres


async def test_the_target_of_a_collected_series_ends_when_silence_is_settled(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    await created(client, timeframes=["1m"])
    series_id = await store_series(api.engine)
    await store_ledger(api.engine, series_id, hours((0, 11)))
    await counted(api)
    [found] = await read(api)
    assert (found.closed_periods, found.verified_periods) == (11 * 60 + 50, 11 * 60)
    assert found.end == NOW.replace(second=0) - SETTLE_TIME
    assert (found.whole_percent, found.answered_percent) == (92.95, 92.95)
    await store_ledger(api.engine, series_id, hours((0, 11.95)))
    await counted(api)
    [found] = await read(api)
    assert (found.closed_periods, found.whole, found.whole_percent) == (717, 1.0, 100.0)


async def test_a_series_that_no_config_collects_ends_with_its_last_final_instant(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    config = await created(client, timeframes=["1m"])
    series_id = await store_series(api.engine)
    await store_ledger(api.engine, series_id, hours((0, 1)), [AbsentSpan(*hours((1, 2))[0], "lost"),
                                                             AbsentSpan(*hours((2, 3))[0], "unread")])  # fmt: skip
    await counted(api)
    assert (await read(api))[0].closed_periods == 710
    assert (await client.put(f"/configs/{config['id']}", json={"enabled": False})).status_code == 200
    assert [getattr((await read(api))[0], name) for name in NUMBERS] == [120, 60, 120]


async def test_the_target_begins_with_the_start_date_of_the_config(
    api: AdminApi, client: httpx.AsyncClient, database_url: str
) -> None:
    await created(client, timeframes=["1m", "1h", "1M"])
    await created(client, symbol="NEW/USDT", timeframes=["1h"])
    series_id = await store_series(api.engine)
    await store_ledger(api.engine, series_id, hours((0, 11)))
    await counted(api)
    await sql(database_url, "UPDATE data_collection_configs SET start_date = '2026-11-20'")
    found = await read(api, group_by="series")
    assert [(row.symbol, row.timeframe, row.closed_periods, row.series_without_answers) for row in found] == [
        ("BTC/USDT", "1M", 0, 1),
        ("BTC/USDT", "1h", 59, 1),
        ("BTC/USDT", "1m", 59 * 60 + 50, 0),
        ("NEW/USDT", "1h", 59, 1),
    ]
    await sql(database_url, "UPDATE data_collection_configs SET start_date = 'listing'")
    assert [row.closed_periods for row in await read(api, group_by="series")] == [0, 0, 710, 0]
    await sql(database_url, "UPDATE data_collection_configs SET start_date = '2026-11-23'")
    assert [row.closed_periods for row in await read(api, group_by="series")] == [0, 0, 710, 0]


async def test_the_target_begins_with_a_proved_listing(
    api: AdminApi, client: httpx.AsyncClient, database_url: str
) -> None:
    """Also if the start date is earlier. The time before is answered, and no candle of it is missing."""
    await created(client, timeframes=["1m"])
    series_id = await store_series(api.engine)
    await store_ledger(api.engine, series_id, hours((2, 12)), [AbsentSpan(*hours((-100_000, 2))[0], "before_listing")])
    await counted(api)
    for start_date in ("listing", "2020-01-01", None):
        await sql(database_url, "UPDATE data_collection_configs SET start_date = $1", start_date)
        for limits in ({}, {"start": date(2019, 1, 1)}):
            [found] = await read(api, **limits)
            assert (found.closed_periods, found.whole, found.answered) == (600, 1.0, 1.0)
            assert found.start == to_instant(hours((2, 3))[0][0])
    [by_day] = await read(api, per_day=True, start=date(2026, 11, 20))
    assert [(each.day.day, each.closed_periods, each.whole) for each in by_day.days or ()] == [(22, 600, 1.0)]


async def test_a_provisional_absence_counts_also_while_its_check_is_due(
    api: AdminApi, client: httpx.AsyncClient, database_url: str
) -> None:
    """Its class stays until another answer replaces it. Only a backfill treats its time as missing."""
    series_id = await store_series(api.engine, hours((0, 1))[0][0], hours((2, 3))[0][0])
    [(start, end), (third, now)] = hours((1, 2), (3, 12))
    found = []
    for recheck_at in (None, now + 1, now - 1):
        absent = AbsentSpan(start, end, "no_trade", recheck_at)
        await store_ledger(api.engine, series_id, hours((0, 1), (2, 3)), [absent])
        await counted(api)
        [row] = await read(api)
        response = await client.get("/coverage", params=BTC | {"end": iso(third)})
        found.append((row.whole_periods, row.answered_periods, response.json()["whole"], response.json()["answered"]))
        condition = is_final(now="$1::timestamptz")
        [(answers,)] = await sql(database_url, f"SELECT {condition} FROM absences", to_instant(now))
        assert answers is (recheck_at is None or recheck_at > now)
    assert found == [(180, 180, 1.0, 1.0)] * 3


async def test_series_that_are_not_counted_yet_are_named_and_not_in_the_numbers(api: AdminApi) -> None:
    for symbol in ("A/USDT", "B/USDT"):
        await store_ledger(api.engine, await store_series(api.engine, symbol=symbol), hours((0, 1), (2, 3)))
        if symbol == "A/USDT":
            await counted(api)
    [found] = await read(api)
    assert (found.series, found.series_not_counted, found.closed_periods, found.verified_periods) == (2, 1, 180, 120)


async def test_counts_that_are_not_corrected_yet_give_no_impossible_numbers(api: AdminApi, database_url: str) -> None:
    series_id = await store_series(api.engine)
    await store_ledger(api.engine, series_id, hours((0, 1), (2, 3)), [AbsentSpan(*hours((1, 2))[0], "lost")])
    await counted(api)
    await store_ledger(api.engine, series_id, hours((0, 3)))
    [found] = await read(api)
    assert [getattr(found, name) for name in NUMBERS] == [180, 120, 180]
    await sql(database_url, "UPDATE series_days SET answered = 120")
    await sql(database_url, "UPDATE series_counts SET answered = 120, unverified = 0")
    [found] = await read(api)
    assert [getattr(found, name) for name in NUMBERS] == [180, 180, 180]
    await sql(database_url, "DELETE FROM coverage")
    assert [getattr((await read(api))[0], name) for name in NUMBERS] == [60, 0, 60]


@pytest.mark.parametrize("of_statement", [statement, days_statement])
async def test_a_request_about_one_series_reads_no_days_of_others(
    api: AdminApi, database_url: str, of_statement: Callable[[Shape], str]
) -> None:
    days = "generate_series(DATE '2026-01-01', DATE '2026-10-01', INTERVAL '1 day') AS day"
    series = "SELECT 'okx', 'S' || number || '/USDT', '1m' FROM generate_series(1, 100) AS number"
    await sql(database_url, f"INSERT INTO series (exchange, symbol, timeframe) {series}")
    verified = "'{[2026-01-01 00:00Z, 2026-11-01 00:00Z)}'"
    ledger = f"SELECT id, {verified}, now() FROM series"
    await sql(database_url, f"INSERT INTO coverage (series_id, verified, updated_at) {ledger}")
    await counted(api)
    await sql(database_url, f"INSERT INTO series_days SELECT id, day, 5, 0, 0 FROM series, {days}")
    await sql(database_url, "ANALYZE series, series_days")
    query = CompletenessQuery(symbol="S7/USDT", start=date(2026, 1, 1), end=date(2026, 11, 1))
    plan = f"EXPLAIN (ANALYZE, FORMAT JSON) {of_statement(Shape(filters=('symbol',), some_days=True))}"
    async with api.engine.connect() as connection:
        values = parameters_of(query, NOW) | {"limit": 1}
        [top] = (await connection.execute(text(plan), values)).scalar_one()
    assert 0 < days_read(top["Plan"]) <= 2 * 274


def days_read(node: dict[str, Any]) -> int:
    """The rows of `series_days` that a plan reads."""
    of_node = node["Actual Rows"] * node["Actual Loops"] if node.get("Relation Name") == "series_days" else 0
    return int(of_node) + sum(map(days_read, node.get("Plans", ())))


@pytest.fixture
async def three_series(api: AdminApi, client: httpx.AsyncClient) -> list[int]:
    """Two configs, and a series without one. The ids of the configs."""
    ids = [(await created(client, symbol=symbol, timeframes=["1h"]))["id"] for symbol in ("A/USDT", "B/USDT")]
    for number, symbol in enumerate(("A/USDT", "B/USDT", "C/USDT")):
        series_id = await store_series(api.engine, symbol=symbol, timeframe="1h")
        await store_ledger(api.engine, series_id, hours((-24 * number, 2), (3, 11)))
    await counted(api)
    return ids


async def test_groups_filters_and_pages(client: httpx.AsyncClient, three_series: list[int]) -> None:
    async def rows(**params: Any) -> list[dict[str, Any]]:
        response = await client.get("/completeness", params=params)
        assert response.status_code == 200, response.text
        found: list[dict[str, Any]] = response.json()
        return found

    assert [row["series"] for row in await rows()] == [3]
    assert [(row["config_id"], row["exchange"]) for row in await rows(group_by="config")] == [
        (config_id, None) for config_id in three_series
    ]
    assert [row["symbol"] for row in await rows(group_by="series", symbol="C/USDT")] == ["C/USDT"]
    assert [row["series"] for row in await rows(config_id=three_series[0])] == [1]
    found = await rows(group_by="config", config_id=[4711, three_series[1]])
    assert [row["config_id"] for row in found] == [three_series[1]]
    assert [row["series"] for row in await rows(config_id=three_series)] == [2]
    [yesterday] = await rows(start="2026-11-21", end="2026-11-22")
    assert [yesterday[name] for name in NUMBERS] == [48, 48, 48]
    assert (yesterday["start"], yesterday["end"]) == ("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z")
    response = await client.get("/completeness", params={"group_by": "series", "limit": 2})
    assert len(response.json()) == 2
    target = response.headers["Link"].split("<")[2].split(">")[0]
    rest = await client.get(f"http://api{target}")
    assert [row["symbol"] for row in rest.json()] == ["C/USDT"]
    assert 'rel="next"' not in rest.headers["Link"]


@pytest.mark.usefixtures("three_series")
@pytest.mark.parametrize(
    ("params", "status", "problem"),
    [
        ({"start": "2026-11-22", "end": "2026-11-22"}, 422, "must be before end"),
        ({"start": "1700000000"}, 422, "write a day as YYYY-MM-DD"),
        ({"start": "2026-11-22T00:00:00Z"}, 422, "write a day as YYYY-MM-DD"),
        ({"start": "2026-02-30"}, 422, "#/start"),
        ({"group_by": "day"}, 422, "#/group_by"),
        ({"cursor": "abc"}, 422, "#/cursor"),
        ({"symbol": "BTC/USD"}, 404, "GET /series"),
        ({"config_id": "4711"}, 404, "GET /configs"),
        ({"symbols": "A/USDT"}, 422, "symbols"),
    ],
)
async def test_errors_say_what_to_do(
    client: httpx.AsyncClient, params: dict[str, str], status: int, problem: str
) -> None:
    response = await client.get("/completeness", params=params)
    assert (response.status_code, problem in response.text) == (status, True), response.text


@pytest.mark.usefixtures("three_series")
@pytest.mark.parametrize("group_by", ["exchange", "config", "series"])
@pytest.mark.parametrize("params", [{"symbol": "BTC/USD"}, {"config_id": "4711"}])
async def test_filters_that_match_no_series_find_no_groups(
    client: httpx.AsyncClient, params: dict[str, str], group_by: str
) -> None:
    """A list of groups of deleted configs is empty, as any other list. A total of nothing is an error."""
    response = await client.get("/completeness", params={**params, "group_by": group_by})
    assert (response.status_code, response.json()) == (200, []), response.text


async def test_an_empty_store_has_no_numbers(client: httpx.AsyncClient) -> None:
    [found] = (await client.get("/completeness")).json()
    assert (found["series"], found["closed_periods"], found["whole"], found["whole_percent"]) == (0, 0, None, None)
    assert (await client.get("/completeness", params={"group_by": "series"})).json() == []


def test_percentages_are_never_rounded_up() -> None:
    assert percent(99_996, 100_000) == 99.99
    assert percent(2**53 - 1, 2**53) == 99.99
    assert percent(5, 5) == 100
    assert percent(1, 10**9) == 0
    assert percent(0, 0) is None
