"""A page shows the newest state also if an answer or the event stream is late."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, Response, Route, expect

from support.black_box import finished, free_symbol
from support.dashboard_pages import require_browser

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="session")]
require_browser()

LATE_SECONDS = 12
"""For so long after its events, a run is not in the answers: log-writer is busy."""


async def test_a_run_that_is_stored_long_after_its_event_is_shown(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    lane = page.get_by_role("group", name=f"{config['symbol']} {config['exchange']}")
    await finished(api, job_name=config["job_id"])
    await expect(lane.get_by_role("link", name="Success")).to_have_count(1)
    stored_at = time.monotonic() + LATE_SECONDS

    async def without_manual_runs(route: Route) -> None:
        answer = await route.fetch()
        rows = await answer.json()
        if time.monotonic() < stored_at:
            for row in rows:
                row["runs"] = [run for run in row["runs"] if run["trigger"] != "manual"]
        await route.fulfill(response=answer, json=rows)

    await page.route("**/reports/config-activity*", without_manual_runs)
    await api.post(f"/configs/{config['id']}/trigger")
    await expect(lane.get_by_role("link", name="Success")).to_have_count(2)
    assert time.monotonic() >= stored_at
    await page.unroute_all(behavior="wait")


async def test_a_run_that_ended_before_the_event_stream_opened_is_shown(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    await finished(api, job_name=config["job_id"])
    may_open = asyncio.Event()

    async def hold(route: Route) -> None:
        await may_open.wait()
        await route.continue_()

    await page.route("**/events", hold)
    await page.goto("/")
    lane = page.get_by_role("group", name=f"{config['symbol']} {config['exchange']}")
    await expect(lane.get_by_role("link", name="Success")).to_have_count(1)
    triggered = (await api.post(f"/configs/{config['id']}/trigger")).raise_for_status().json()
    await finished(api, run_id=triggered["run_id"])
    may_open.set()
    await expect(lane.get_by_role("link", name="Success")).to_have_count(2)
    await page.unroute_all(behavior="wait")


async def test_a_config_that_was_created_while_the_page_read_its_configs_is_shown(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    """The answer is older than the event stream and arrives after it has opened."""
    was_read, may_open, may_arrive = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold_the_stream(route: Route) -> None:
        await may_open.wait()
        await route.continue_()

    async def hold_the_first_answer(route: Route) -> None:
        answer = await route.fetch()
        was_read.set()
        await may_arrive.wait()
        await route.fulfill(response=answer)

    await page.route("**/events", hold_the_stream)
    await page.route("**/configs?*", hold_the_first_answer)
    await page.goto("/")
    await was_read.wait()
    body = {"symbol": "ADA/USDT", "exchange": "binance", "timeframes": ["1h"], "interval_minutes": 60}
    await free_symbol(api, body["symbol"])
    made = (await api.post("/configs", json=body)).raise_for_status().json()
    await finished(api, job_name=made["job_id"])
    may_open.set()
    await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    may_arrive.set()
    await expect(page.get_by_role("link", name="ADA/USDT binance", exact=True)).to_be_visible()
    await page.unroute_all(behavior="wait")
    await api.delete(f"/configs/{made['id']}")


async def test_the_series_of_a_backfill_are_never_older_than_its_progress(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    body = {"select": {"ids": [config["id"]]}, "start": "2026-02-01T00:00:00Z", "timeframes": ["1h"]}
    made = (await api.post("/backfills", json=body | {"end": "2026-02-03T00:00:00Z"})).raise_for_status().json()
    whole_is_shown = asyncio.Event()

    async def note(response: Response) -> None:
        if response.url.endswith(f"/data-collection/backfills/{made['id']}") and response.ok:
            details = await response.json()
            if details["progress"]["is_whole"]:
                whole_is_shown.set()

    async def series_before_the_end(route: Route) -> None:
        answer = await route.fetch()
        rows = await answer.json()
        if not whole_is_shown.is_set():
            rows = [row | {"percent": 0.0, "missing_candles": row["candles"]} for row in rows]
        await route.fulfill(response=answer, json=rows)

    page.on("response", note)
    await page.route("**/backfills/*/series?*", series_before_the_end)
    await page.goto(f"/backfills/{made['id']}")
    await expect(page.get_by_text("Whole", exact=True).first).to_be_visible()
    await expect(page.get_by_role("row").filter(has_text="100.00 %")).to_be_visible()
    await page.unroute_all(behavior="wait")
