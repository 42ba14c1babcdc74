"""Pages of long lists: the Link header, the totals, and that every list reads its page from an index."""

import random
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from admin_api.auth.tokens import TOKENS, TokenFilters
from admin_api.candles.series import SERIES, SeriesFilters
from admin_api.configs.queries import CONFIGS as CONFIGS_LIST
from admin_api.configs.queries import ConfigFilters
from admin_api.http.pagination import Listing, PageQuery, explain, force_index_scans, page_of, select_page
from admin_api.runs.queries import RUNS, RunFilters
from admin_api.runs.reports import FAILURES
from contracts.coverage import to_milliseconds
from store.tables import series
from support.api import BASE, created
from support.stored_ledgers import AbsentSpan, store_ledger, store_series

pytestmark = pytest.mark.postgres

AddRun = Callable[..., Awaitable[int]]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

MANY_RUNS = """
INSERT INTO job_execution_logs (job_name, job_type, symbol, exchange, started_at, status, run_id, config_id, trigger,
                                scheduled_for)
SELECT 'collect_data_' || n % 50, 'data_collection', 'S' || n % 20 || '/USDT', (ARRAY['binance', 'okx'])[1 + n % 2],
       '2026-11-01Z'::timestamptz + n * interval '1 second',
       CASE n / 50 % 20 WHEN 0 THEN 'failed' WHEN 1 THEN 'skipped' ELSE 'success' END,
       gen_random_uuid(), n % 50, 'scheduled', '2026-11-01Z'
FROM generate_series(1, :runs) AS n
"""


async def add_many(api: AdminApi, runs: int) -> None:
    async with api.engine.connect() as connection:
        await connection.execute(sa.text(MANY_RUNS), {"runs": runs})
        await connection.commit()
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(sa.text("VACUUM ANALYZE job_execution_logs"))


def links(response: httpx.Response) -> dict[str, str]:
    found = re.findall(r'<([^>]*)>; rel="(\w+)"', response.headers["Link"])
    return {relation: target for target, relation in found}


async def follow(client: httpx.AsyncClient, target: str) -> httpx.Response:
    """Requests the target of a Link header, which is a path without the host."""
    assert target.startswith(BASE)
    response = await client.get(f"http://api{target}")
    assert response.status_code == 200, response.text
    return response


async def walk(client: httpx.AsyncClient, path: str, **params: Any) -> list[int]:
    """The ids of the whole list, page after page."""
    response = await client.get(path, params=params)
    ids = [row["id"] for row in response.json()]
    while (target := links(response).get("next")) is not None:
        response = await follow(client, target)
        assert response.json(), "the last page has no link to an empty one"
        ids += [row["id"] for row in response.json()]
    return ids


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 100])
@pytest.mark.parametrize("sort", ["-started_at", "started_at"])
async def test_links_lead_through_all_rows_once_even_if_many_started_at_the_same_time(
    client: httpx.AsyncClient, add_run: AddRun, sort: str, limit: int
) -> None:
    oldest_first = [
        await add_run(started_at=NOON + timedelta(microseconds=n // 4), status="failed", exchange=f"x{n // 6}")
        for n in range(7)
    ]
    await add_run(started_at=NOON)
    expected = oldest_first if sort == "started_at" else oldest_first[::-1]
    assert await walk(client, "/execution-logs", sort=sort, limit=limit, status="failed") == expected
    assert sorted(await walk(client, "/execution-logs", limit=limit, exchange="x0")) == oldest_first[:6]


async def test_links_keep_the_filters_and_include_the_first_page(client: httpx.AsyncClient, add_run: AddRun) -> None:
    for minute in range(5):
        await add_run(minutes_ago=minute, symbol="A&B=C/ü", status="failed")
    filters = {"symbol": "A&B=C/ü", "status": "failed", "limit": 2, "start_date": "2020-01-01T00:00:00+00:00"}
    response = await client.get("/execution-logs", params={**filters, "skip": 1})
    second = await follow(client, links(response)["next"])
    for page in (response, second):
        assert [len(page.json()), page.headers["X-Total-Count"], page.headers["X-Total-Count-Exact"]] == [
            2,
            "5",
            "true",
        ]
        first = httpx.URL(links(page)["first"])
        assert dict(first.params) == {name: str(value) for name, value in filters.items()}
    assert links(second).keys() == {"first"}
    assert len({row["id"] for row in [*response.json(), *second.json()]}) == 4


async def test_the_page_size_may_change_between_pages(client: httpx.AsyncClient, add_run: AddRun) -> None:
    ids = [await add_run(minutes_ago=minute) for minute in range(6)]
    first = await client.get("/execution-logs", params={"limit": 1})
    cursor = httpx.URL(links(first)["next"]).params["cursor"]
    rest = await client.get("/execution-logs", params={"limit": 10, "cursor": cursor})
    assert [row["id"] for row in rest.json()] == ids[1:]


@pytest.mark.parametrize("seed", range(6))
async def test_rows_added_or_deleted_between_pages_neither_repeat_nor_hide_other_rows(
    client: httpx.AsyncClient, add_run: AddRun, api: AdminApi, seed: int
) -> None:
    rng = random.Random(seed)

    def random_time() -> datetime:
        return NOON + timedelta(seconds=rng.randrange(20))

    permanent = {await add_run(started_at=random_time()) for _ in range(25)}
    deleted_later = [await add_run(started_at=random_time()) for _ in range(8)]
    added: set[int] = set()
    seen: list[int] = []
    response = await client.get("/execution-logs", params={"limit": rng.randint(1, 6), "sort": rng.choice(["started_at", "-started_at"])})  # fmt: skip  # noqa: E501
    while True:
        seen += [row["id"] for row in response.json()]
        if (target := links(response).get("next")) is None:
            break
        added |= {await add_run(started_at=random_time()) for _ in range(rng.randrange(3))}
        if deleted_later:
            async with api.engine.begin() as connection:
                await connection.execute(
                    sa.text("DELETE FROM job_execution_logs WHERE id = :id"), {"id": deleted_later.pop()}
                )
        response = await follow(client, target)
    assert len(seen) == len(set(seen)), "a row was listed twice"
    assert permanent <= set(seen), "a row is missing"
    assert set(seen) - permanent - set(range(1, 34)) <= added


@pytest.mark.parametrize(
    ("params", "pointer", "message"),
    [
        ({"cursor": "x"}, "#/cursor", "use the cursor in the Link header"),
        ({"cursor": ""}, "#/cursor", "use the cursor in the Link header"),
        ({"cursor": "x" * 4501}, "#/cursor", "4500"),
        ({"cursor": "OTHER_LIST"}, "#/cursor", "other filters or another sorting"),
        ({"cursor": "THIS_LIST", "sort": "started_at"}, "#/cursor", "other filters or another sorting"),
        ({"cursor": "THIS_LIST", "status": "failed"}, "#/cursor", "other filters or another sorting"),
        ({"cursor": "THIS_LIST", "skip": "1"}, "#/skip", "omit it"),
        ({"skip": "100001"}, "#/skip", "`cursor`"),
        ({"skip": str(10**30)}, "#/skip", "`cursor`"),
        ({"sort": "duration"}, "#/sort", "'-started_at' or 'started_at'"),
        ({"sort": ""}, "#/sort", "'-started_at' or 'started_at'"),
    ],
)
async def test_an_invalid_position_in_a_list_is_422_and_says_what_to_do(
    client: httpx.AsyncClient, add_run: AddRun, params: dict[str, str], pointer: str, message: str
) -> None:
    for _ in range(2):
        await add_run()
    cursors = {}
    for name, query in (("THIS_LIST", {"limit": 1}), ("OTHER_LIST", {"limit": 1, "exchange": "binance"})):
        response = await client.get("/execution-logs", params=query)
        cursors[name] = httpx.URL(links(response)["next"]).params["cursor"]
    query_params = {name: cursors.get(value, value) for name, value in params.items()}
    refused = await client.get("/execution-logs", params=query_params)
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    [error] = refused.json()["errors"]
    assert (error["pointer"], error["where"]) == (pointer, "query")
    assert message in error["detail"]


CONFIGS = [("okx", "B/USDT"), ("okx", "A/USDT"), ("binance", "A/USDT"), ("kraken", "C/USDT"), ("binance", "Ä/USDT")]


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("name", ["id", "symbol", "exchange", "created_at", "updated_at"])
async def test_configs_are_listed_in_every_supported_order(client: httpx.AsyncClient, name: str, limit: int) -> None:
    created_configs = [await created(client, exchange=exchange, symbol=symbol) for exchange, symbol in CONFIGS]
    changed = await client.put(f"/configs/{created_configs[1]['id']}", json={"interval_minutes": 30})
    created_configs[1] = changed.json()
    ascending = [config["id"] for config in sorted(created_configs, key=lambda config: (config[name], config["id"]))]
    assert await walk(client, "/configs", sort=name, limit=limit) == ascending
    assert await walk(client, "/configs", sort=f"-{name}", limit=limit) == ascending[::-1]
    assert await walk(client, "/configs", sort=name, limit=limit, symbol="A/USDT") == [
        number for number in ascending if number in {created_configs[1]["id"], created_configs[2]["id"]}
    ]


async def test_an_unknown_sort_of_configs_is_refused_and_the_possible_ones_are_named(client: httpx.AsyncClient) -> None:
    refused = await client.get("/configs", params={"sort": "description"})
    assert refused.status_code == 422
    assert "'-updated_at'" in refused.json()["detail"]


async def test_every_sorting_of_configs_and_series_reads_from_an_index(api: AdminApi) -> None:
    lists: list[tuple[Listing, type[ConfigFilters | SeriesFilters]]] = [(CONFIGS_LIST, ConfigFilters), (SERIES, SeriesFilters)]  # fmt: skip  # noqa: E501
    async with api.engine.connect() as connection:
        await force_index_scans(connection)
        for listing, model in lists:
            for sort in (*listing.orders, *(f"-{name}" for name in listing.orders)):
                query = model.model_validate({"sort": sort})
                plan = nodes(await explain(connection, select_page(listing, query, query.conditions())))
                assert {node["Node Type"] for node in plan} <= {"Limit", "Index Scan"}, (sort, plan)


async def test_only_lists_of_the_run_log_change_planner_settings(api: AdminApi) -> None:
    lists: list[tuple[Listing, PageQuery, str]] = [
        (CONFIGS_LIST, ConfigFilters(), "on"),
        (SERIES, SeriesFilters(), "on"),
        (TOKENS, TokenFilters(), "on"),
        (RUNS, RunFilters(), "off"),
        (FAILURES, RunFilters(), "off"),
    ]
    for listing, query, expected in lists:
        async with api.engine.connect() as connection:
            await page_of(connection, listing, query, [])
            assert await connection.scalar(sa.text("SHOW enable_seqscan")) == expected, listing.name


async def test_series_are_listed_with_their_time_range_and_in_pages(api: AdminApi, client: httpx.AsyncClient) -> None:
    names = [(f"x{n % 3}", f"S{n % 4}/USDT", timeframe) for n in range(7) for timeframe in ("1m", "1h")]
    stored = [
        {"exchange": exchange, "symbol": symbol, "timeframe": timeframe, "candle_count": n,
         "first_open": NOON, "last_open": NOON + timedelta(minutes=n)}
        for n, (exchange, symbol, timeframe) in enumerate(sorted(names))
    ]  # fmt: skip
    async with api.engine.begin() as connection:
        await connection.execute(sa.insert(series), stored)
    everything = await client.get("/series")
    assert everything.headers["X-Total-Count"] == "13"
    assert everything.json()[0] == {
        **{name: stored[1][name] for name in ("exchange", "symbol", "timeframe")},
        "candles": 1,
        "first_open_time": "2026-11-22T12:00:00Z",
        "last_open_time": "2026-11-22T12:01:00Z",
        "verified_from": None,
        "verified_until": None,
        "open_holes": 0,
    }
    by_exchange = [(row["exchange"], row["symbol"], row["timeframe"]) for row in everything.json()]
    assert by_exchange == [tuple(row[name] for name in ("exchange", "symbol", "timeframe")) for row in stored[1:]]
    for params in ({}, {"exchange": "x1"}, {"symbol": "S2/USDT"}, {"timeframe": "1h"}, {"sort": "-exchange"}):
        whole = (await client.get("/series", params=params)).json()
        response = await client.get("/series", params={**params, "limit": 2})
        pages = response.json()
        while (target := links(response).get("next")) is not None:
            response = await follow(client, target)
            pages += response.json()
        assert pages == whole
        assert len(whole) in {2, 4, 6, 13}, params
    by_symbol = [(row["symbol"], row["exchange"]) for row in (await client.get("/series?sort=symbol")).json()]
    assert by_symbol == sorted(by_symbol)


async def test_series_are_listed_with_their_verified_time_and_the_number_of_open_holes(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    noon, minute = to_milliseconds(NOON), 60_000
    whole = await store_series(api.engine, noon, noon, symbol="A/USDT")
    await store_ledger(api.engine, whole, [(noon, noon + minute)])
    holes = await store_series(api.engine, noon, noon, symbol="B/USDT")
    spans = [(noon + 10 * n * minute, noon + (10 * n + 5) * minute) for n in range(5)]
    await store_ledger(api.engine, holes, spans, [AbsentSpan(noon + 5 * minute, noon + 10 * minute)])
    without_candles = await store_series(api.engine, symbol="C/USDT")
    await store_ledger(api.engine, without_candles, [], [AbsentSpan(noon, noon + minute)])
    listed = {row["symbol"]: row for row in (await client.get("/series")).json()}
    assert listed.keys() == {"A/USDT", "B/USDT"}, "a series without candles has no open times"
    shown = {symbol: [row[name] for name in ("verified_from", "verified_until", "open_holes")] for symbol, row in listed.items()}  # fmt: skip  # noqa: E501
    assert shown == {
        "A/USDT": ["2026-11-22T12:00:00Z", "2026-11-22T12:01:00Z", 0],
        "B/USDT": ["2026-11-22T12:00:00Z", "2026-11-22T12:45:00Z", 3],  # and one in the newest ten minutes
    }
    assert "id" not in listed["A/USDT"]


async def test_totals_are_counted_up_to_ten_thousand_and_estimated_beyond(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    async def total(**params: Any) -> tuple[int, str]:
        response = await client.get("/execution-logs", params={"limit": 5, **params})
        return int(response.headers["X-Total-Count"]), response.headers["X-Total-Count-Exact"]

    await add_many(api, 20_000)
    estimated, exact = await total()
    assert exact == "false"
    assert estimated == pytest.approx(20_000, rel=0.05)
    assert await total(exchange="okx") == (10_000, "true")
    assert await total(status="failed") == (1000, "true")
    assert await total(skip=19_999) == (20_000, "true")
    assert await total(skip=100_000) == (estimated, "false")
    assert await total(exchange="nowhere") == (0, "true")
    beyond = await client.get("/execution-logs", params={"limit": 5, "start_date": "2026-11-01T00:00:02Z"})
    at_the_end = await follow(client, links(beyond)["next"])
    assert int(at_the_end.headers["X-Total-Count"]) > 10_000


FILTERS = {
    "job_name": "collect_data_7",
    "job_type": "data_collection",
    "symbol": "S7/USDT",
    "exchange": "okx",
    "status": "failed",
    "error_class": "timeout",
    "timeframe": "1h",
    "config_id": 7,
    "run_id": "00000000-0000-0000-0000-000000000007",
    "start_date": "2026-11-01T01:00:00Z",
    "end_date": "2026-11-01T02:00:00Z",
}
SORTED = {"run_id", "timeframe"}
"""The rows of these are few, or the planner reads the index of the time instead."""
JOBS = ["collect_data_7"]
"""Of the configs that collect the timeframe of `FILTERS`."""
PAIRS = [dict(pair) for pair in combinations(FILTERS.items(), 2)]
COMPARED_IN_ROWS = {"job_type", "run_id", "config_id", "job_name", "error_class", "timeframe"}
"""Filters that are checked row by row next to another filter. They leave few rows: a config has one exchange and one
symbol, run ids are unique, and few runs fail. The indexes of the status and of the jobs limit the last two.
"""


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]


async def test_every_filter_and_every_pair_of_filters_reads_an_index_in_its_order(api: AdminApi) -> None:
    await add_many(api, 20_000)
    async with api.engine.connect() as connection:
        await force_index_scans(connection)
        for filter_values in [{}, *({name: value} for name, value in FILTERS.items()), *PAIRS]:
            for sort in ("started_at", "-started_at"):
                filters = RunFilters.model_validate({**filter_values, "sort": sort})
                plan = nodes(await explain(connection, select_page(RUNS, filters, filters.conditions(JOBS))))
                kinds = {node["Node Type"] for node in plan}
                sorts = {"Sort"} if filter_values.keys() & SORTED else set()
                assert kinds <= {"Limit", "Index Scan"} | sorts, (
                    filter_values,
                    plan,
                )
                if not filter_values.keys() & COMPARED_IN_ROWS:
                    assert not [node["Filter"] for node in plan if "Filter" in node], filter_values
