"""GET /rejected-candles, and the count of these rows in GET /coverage."""

import httpx
import pytest

from admin_api.app import AdminApi
from admin_api.coverage.ledger import rejected_between
from admin_api.coverage.rejected import REJECTED, RejectedFilters
from admin_api.http.pagination import explain, force_index_scans, select_page
from support.api import created
from support.stored_ledgers import BTC, RUN_ID, at, iso, store_rejected, store_series

pytestmark = pytest.mark.postgres


@pytest.fixture
async def series_id(api: AdminApi) -> int:
    return await store_series(api.engine, at(0), at(29))


async def test_rejected_rows_are_counted_and_listed_in_pages(
    api: AdminApi, client: httpx.AsyncClient, series_id: int
) -> None:
    rows = [(at(n // 2), f'[{n}, "\\"ü\U0001f600\x01{"x" * 480}"]'[:500]) for n in range(7)]
    await store_rejected(api.engine, series_id, rows)
    found = (await client.get("/coverage", params=BTC | {"start": iso(at(1)), "end": iso(at(3))})).json()
    assert found["rejected_candles"]["count"] == 4
    listed = await client.get(f"http://api{found['rejected_candles']['link']}")
    assert [row["row"] for row in listed.json()] == [text for _, text in rows[2:6]]
    assert listed.json()[0] == {
        "open_time": iso(at(1)),
        "row": rows[2][1],
        "reason": "the high is below the low",
        "first_seen": "2026-11-22T12:00:00Z",
        "last_seen": "2026-11-22T12:00:00Z",
        "times": 2,
        "run_id": str(RUN_ID),
    }
    for sort in ("open_time", "-open_time"):
        response = await client.get("/rejected-candles", params=BTC | {"limit": 2, "sort": sort})
        assert response.headers["X-Total-Count"] == "7"
        seen = response.json()
        while (following := response.links.get("next")) is not None:
            response = await client.get(f"http://api{following['url']}")
            seen += response.json()
        assert [row["row"] for row in seen] == [text for _, text in (rows if sort == "open_time" else rows[::-1])]


async def test_the_list_of_rejected_rows_reads_its_page_from_the_primary_key(api: AdminApi, series_id: int) -> None:
    async with api.engine.connect() as connection:
        await force_index_scans(connection)
        for sort in ("open_time", "-open_time"):
            filters = RejectedFilters.model_validate(BTC | {"sort": sort})
            page = select_page(REJECTED, filters, rejected_between(series_id, None, None))
            plan = await explain(connection, page)
            assert (plan["Node Type"], [each["Index Name"] for each in plan["Plans"]]) == (
                "Limit",
                ["pk_rejected_candles"],
            )


async def test_rejected_rows_of_an_unknown_series_are_404_and_bad_ranges_422(client: httpx.AsyncClient) -> None:
    assert (await client.get("/rejected-candles", params=BTC)).status_code == 404
    await created(client)
    empty = await client.get("/rejected-candles", params=BTC)
    assert (empty.status_code, empty.json(), empty.headers["X-Total-Count"]) == (200, [], "0")
    refused = await client.get("/rejected-candles", params=BTC | {"start": iso(at(1)), "end": iso(at(0))})
    assert refused.status_code == 422
