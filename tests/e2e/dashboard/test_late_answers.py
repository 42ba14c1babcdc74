"""A page shows the newest state also if an answer or the event stream is late."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
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

MADE_STREAM = """
  window.EventSource = class extends EventTarget {
    constructor() {
      super();
      window.stream = this;
      setTimeout(() => this.onopen());
    }
    close() {}
  };
  window.stateReads = [];
  const send = window.fetch;
  window.fetch = (request, ...others) => {
    if ((request.url ?? request).includes("/reports/config-activity")) window.stateReads.push(performance.now());
    return send(request, ...others);
  };
"""
"""An event stream whose events the test makes, and the times at which the page reads the runs of its configs."""
SEND_EVENT = """
  () => {
    window.stream.dispatchEvent(new MessageEvent("run", { data: '{"type": "RunFinished"}' }));
    return performance.now();
  }
"""


@dataclass
class Held:
    """The answers to some requests, which the page does not get before `may_arrive`."""

    was_read: asyncio.Event = field(default_factory=asyncio.Event)
    may_arrive: asyncio.Event = field(default_factory=asyncio.Event)


async def hold_the_first_answer(page: Page, url: str) -> Held:
    held = Held()

    async def hold(route: Route) -> None:
        answer = await route.fetch()
        held.was_read.set()
        await held.may_arrive.wait()
        await route.fulfill(response=answer)

    await page.route(url, hold)
    return held


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


async def test_the_state_is_read_again_after_the_last_of_several_events(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    """The events come 0, 80 and 83 s after the first. Each one needs reads 0.7, 6, 30 and 90 s after it."""
    await finished(api, job_name=config["job_id"])
    await page.add_init_script(MADE_STREAM)
    await page.clock.install()
    await page.goto("/")
    lane = page.get_by_role("group", name=f"{config['symbol']} {config['exchange']}")
    await expect(lane.get_by_role("link", name="Success")).to_have_count(1)
    await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    await page.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))
    await page.evaluate("stateReads.length = 0")
    first = await page.evaluate(SEND_EVENT)
    for milliseconds in (80_000, 3_000):
        await page.clock.run_for(milliseconds)
        await page.evaluate(SEND_EVENT)
    await page.clock.run_for(300_000)
    reads = [round((each - first) / 1000, 1) for each in await page.evaluate("stateReads")]
    assert reads == [0.7, 6, 30, 80.7, 83.7, 86, 89, 90, 110, 113, 173]


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
    may_open = asyncio.Event()

    async def hold_the_stream(route: Route) -> None:
        await may_open.wait()
        await route.continue_()

    await page.route("**/events", hold_the_stream)
    held = await hold_the_first_answer(page, "**/configs?*")
    await page.goto("/")
    await held.was_read.wait()
    body = {"symbol": "ADA/USDT", "exchange": "binance", "timeframes": ["1h"], "interval_minutes": 60}
    await free_symbol(api, body["symbol"])
    made = (await api.post("/configs", json=body)).raise_for_status().json()
    await finished(api, job_name=made["job_id"])
    may_open.set()
    await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    held.may_arrive.set()
    await expect(page.get_by_role("link", name="ADA/USDT binance", exact=True)).to_be_visible()
    await page.unroute_all(behavior="wait")
    await api.delete(f"/configs/{made['id']}")


async def test_a_config_that_was_created_while_a_page_of_configs_was_opening_is_shown(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    """The stream is open for long. The first answer of the page is older than an event, and arrives after it."""
    await page.add_init_script(MADE_STREAM)
    await page.clock.install()
    await page.goto("/")
    await expect(page.get_by_role("link", name=f"{config['symbol']} {config['exchange']}", exact=True)).to_be_visible()
    held = await hold_the_first_answer(page, "**/configs?*sort=symbol*")
    await page.get_by_role("link", name="Configs", exact=True).first.click()
    await held.was_read.wait()
    body = {"symbol": "ADA/USDT", "exchange": "binance", "timeframes": ["1h"], "interval_minutes": 60}
    await free_symbol(api, body["symbol"])
    made = (await api.post("/configs", json=body)).raise_for_status().json()
    await page.evaluate("window.stream.dispatchEvent(new MessageEvent('config', { data: '{}' }))")
    await page.clock.run_for(2000)
    held.may_arrive.set()
    await expect(page.get_by_role("row").filter(has_text="ADA/USDT")).to_be_visible()
    await page.unroute_all(behavior="wait")
    await api.delete(f"/configs/{made['id']}")


async def test_a_token_that_was_created_while_the_list_of_tokens_was_opening_is_shown(
    page: Page, api: httpx.AsyncClient
) -> None:
    """No event announces tokens. The answer with the list is older than the new token, and arrives after it."""
    held = await hold_the_first_answer(page, "**/tokens?*")
    await page.goto("/settings")
    await held.was_read.wait()
    await page.get_by_role("button", name="Create a token").click()
    await page.get_by_label("Name").fill("while the list is read")
    async with page.expect_response("**/tokens"):
        await page.get_by_role("dialog").get_by_role("button", name="Create a token").click()
    held.may_arrive.set()
    await page.get_by_role("button", name="I have stored it").click()
    await expect(page.get_by_role("row").filter(has_text="while the list is read")).to_be_visible()
    await page.unroute_all(behavior="wait")
    for token in (await api.get("/tokens")).json():
        if token["name"] == "while the list is read":
            await api.delete(f"/tokens/{token['id']}")


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
