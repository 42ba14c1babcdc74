"""GET /completeness: its numbers are those of GET /coverage, for every grouping and range."""

import random
from collections import defaultdict
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from admin_api.app import AdminApi
from admin_api.coverage.completeness import completeness_of, parameters_of, percent
from admin_api.coverage.completeness_days_sql import days_statement
from admin_api.coverage.completeness_schemas import Completeness, CompletenessQuery, GroupBy
from admin_api.coverage.completeness_sql import Shape, statement
from admin_api.coverage.report import coverage_of
from admin_api.coverage.schemas import CoverageQuery
from candle_writer.recount import recount_outdated
from candle_writer.series import SeriesIds
from candle_writer.write import write_candles
from contracts.coverage import ANSWERED_CLASSES, SETTLE_TIME, WHOLE_CLASSES, to_instant, to_milliseconds
from contracts.spans import subtract, union
from contracts.timeframes import DAY_MS, HOUR_MS, close_of, floor_open, shift
from support.api import created
from support.ledgers import EXCHANGE, SlotState, a_history, before_listing, expected_slots
from support.stored_ledgers import AbsentSpan, store_ledger, store_series
from support.writers import query as sql

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
MIDNIGHT = to_milliseconds(datetime(2026, 11, 22, tzinfo=UTC))
NUMBERS = ("closed_periods", "verified_periods", "answered_periods")


async def counted(api: AdminApi) -> None:
    """Candle-writer counts the stored ledgers."""
    await recount_outdated(api.engine, lambda _: None)


async def read(api: AdminApi, **parameters: Any) -> list[Completeness]:
    """All pages."""
    rows: list[Completeness] = []
    cursor = None
    while True:
        page, cursor = await completeness_of(api.engine, CompletenessQuery(**parameters, cursor=cursor), NOW)
        rows += page
        if cursor is None:
            return rows


def hours(*spans: tuple[float, float]) -> list[tuple[int, int]]:
    """Hours after midnight, in milliseconds since the epoch."""
    return [(MIDNIGHT + int(start * HOUR_MS), MIDNIGHT + int(end * HOUR_MS)) for start, end in spans]


# ---- random ledgers ----


CLASSES = ("unread", "unproven", "unknown", "rejected", "lost", "beyond_horizon", "no_trade", "outage", "delisted",
           "before_listing", "before_listing")  # fmt: skip
"""Also the names of the release before."""


FIRST_ABSENCE = text("""
SELECT starts_at, ends_at, absence_class, lower(verified) AS verified_from
FROM series JOIN absences ON absences.series_id = series.id LEFT JOIN coverage ON coverage.series_id = series.id
WHERE exchange = :exchange AND symbol = :symbol AND timeframe = :timeframe ORDER BY starts_at LIMIT 1
""")


async def store_random(api: AdminApi, rng: random.Random, number: int) -> None:
    timeframe = rng.choice(["5m", "1h", "1h", "4h", "1d", "2d", "1w", "2w", "1M", "3M", "1y"])
    names = {"exchange": rng.choice(["kraken", "binance", "okx"]), "symbol": f"S{number}/USDT", "timeframe": timeframe}
    zone = rng.choice([0, 0, 16 * HOUR_MS, -8 * HOUR_MS]) if timeframe not in {"5m", "1h"} else 0
    edges = [shift(timeframe, floor_open(timeframe, MIDNIGHT), -40) + zone]
    length = 15 * DAY_MS if (names["exchange"], timeframe) == ("kraken", "2w") else None
    while len(edges) < 30:
        edges.append(edges[-1] + length if length else close_of(timeframe, edges[-1]))
    jitter = [0, 0, 0, 0, -1, 1, 30_000]
    spans = [sorted(each + rng.choice(jitter) for each in rng.sample(edges, 2)) for _ in range(rng.randrange(6))]
    verified = union((start, end) for start, end in spans)
    absent: list[AbsentSpan] = []
    for _ in range(rng.randrange(5)):
        start, end = sorted(rng.sample(edges, 2))
        free = subtract([(start, end)], [*verified, *((each.start, each.end) for each in absent)])
        absent += [AbsentSpan(*each, rng.choice(CLASSES)) for each in free]
    candles = [edge for edge in edges if any(start <= edge < end for start, end in verified)]
    first, last = (candles[0], candles[-1]) if candles and rng.random() < 0.8 else (None, None)
    series_id = await store_series(api.engine, first, last, **names)
    await store_ledger(api.engine, series_id, verified, absent)


@pytest.mark.parametrize("seed", range(4))
async def test_the_numbers_of_random_ledgers_are_those_of_coverage(api: AdminApi, seed: int) -> None:
    rng = random.Random(seed)
    for number in range(80):
        await store_random(api, rng, number)
    await counted(api)
    first = date(2026, 11, 22) - timedelta(days=rng.choice([5, 90, 400, 3000]))
    for limits in ({}, {"start": first}, {"end": first}, {"start": first, "end": first + timedelta(days=90)}):
        rows = await read(api, group_by="series", limit=rng.choice([7, 1000]), **limits)
        assert len(rows) == 80
        for row in rows:
            await check_against_coverage(api, row, **limits)
        await check_groups(api, rows, **limits)


async def check_against_coverage(api: AdminApi, row: Completeness, **limits: date) -> None:
    names = {name: getattr(row, name) for name in ("exchange", "symbol", "timeframe")}
    instants = {name: datetime(each.year, each.month, each.day, tzinfo=UTC) for name, each in limits.items()}
    all_time, _ = await coverage_of(api.engine, CoverageQuery(**names, **instants), NOW, "/rejected")
    listed_at = await listing_of(api, names)
    if row.closed_periods:
        begins = [all_time.start, await known_from(api, names), await known_from(api, names, start=listed_at)]
        assert row.start == max(each for each in begins if each is not None), names
        of_range = CoverageQuery(**names, start=row.start, end=row.end)
        same, _ = await coverage_of(api.engine, of_range, NOW, "/rejected")
        assert [getattr(row, name) for name in NUMBERS] == [getattr(same, name) for name in NUMBERS], (row, same)
        assert (row.whole, row.answered) == (same.whole, same.answered)
    assert all_time.verified_periods == row.verified_periods
    if listed_at is None:
        assert all_time.answered_periods == row.answered_periods


async def known_from(api: AdminApi, names: dict[str, Any], **limits: datetime | None) -> datetime | None:
    return (await coverage_of(api.engine, CoverageQuery(**names, **limits), NOW, "/rejected"))[0].start


async def listing_of(api: AdminApi, names: dict[str, Any]) -> datetime | None:
    """The end of the first absence, if it is before a proved listing."""
    async with api.engine.connect() as connection:
        row = (await connection.execute(FIRST_ABSENCE, names)).one_or_none()
    if row is None or row.absence_class != "before_listing":
        return None
    is_refuted = row.verified_from is not None and row.verified_from < row.starts_at
    return None if is_refuted else row.ends_at


async def check_groups(api: AdminApi, rows: list[Completeness], **limits: date) -> None:
    sums: dict[str | None, list[int]] = defaultdict(lambda: [0] * 6)
    names = ("closed_periods", "verified_periods", "whole_periods", "answered_periods", "series", "series_not_counted")
    for row in rows:
        for group in (row.exchange, None):
            sums[group] = [one + getattr(row, name) for one, name in zip(sums[group], names, strict=True)]
    for group_by, groups in ((GroupBy.EXCHANGE, sorted({str(row.exchange) for row in rows})), (GroupBy.TOTAL, [None])):
        found = await read(api, group_by=group_by, limit=2, **limits)
        assert [row.exchange for row in found] == groups
        assert [[getattr(row, name) for name in names] for row in found] == [sums[group] for group in groups]


def is_of(slot: SlotState, classes: Collection[str]) -> bool:
    return slot.absence is not None and slot.absence[0] in classes


async def test_the_numbers_are_those_of_the_slots_that_candle_writer_has_stored(api: AdminApi) -> None:
    rng = random.Random(20261127)
    histories = [a_history(rng, number) for number in range(40)]
    events = [event for each in histories for event in each.events]
    rng.shuffle(events)
    for start in range(0, len(events), 30):
        await write_candles(api.engine, SeriesIds(api.engine), events[start : start + 30])
    for history in histories:
        slots = expected_slots(history, history.events)
        not_listed = before_listing(slots)
        slots = [each._replace(absence=None) if number in not_listed else each for number, each in enumerate(slots)]
        [found] = await read(api, exchange=EXCHANGE, symbol=history.symbol)
        verified = sum(slot.verified for slot in slots)
        assert found.verified_periods == verified
        assert found.whole_periods == verified + sum(is_of(slot, WHOLE_CLASSES) for slot in slots)
        assert found.answered_periods == verified + sum(is_of(slot, ANSWERED_CLASSES) for slot in slots)
        known = [number for number, slot in enumerate(slots) if slot.verified or slot.absence]
        first = not_listed.stop if not_listed else known[0]
        final = [number for number in known if slots[number].verified or is_of(slots[number], ANSWERED_CLASSES)]
        assert found.closed_periods == (final[-1] + 1 - first if final else 0)
        assert found.start == (to_instant(history.opens[first]) if found.closed_periods else None)


# ---- the target of a series ----


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


# ---- requests ----


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
