"""Long lists: they read and render only the rows that a person sees, and work as short ones do."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page, Request, Route, expect

from support.black_box import finished
from support.dashboard_pages import Watch, require_browser, violations
from support.polling import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="session")]
require_browser()

COUNT = 250
HOLES = 60


@pytest_asyncio.fixture(loop_scope="session")
async def many(api: httpx.AsyncClient) -> AsyncIterator[tuple[str, list[int]]]:
    """A word that finds disabled configs, and their ids in the order of the list."""
    word = f"many-{uuid.uuid4().hex[:10]}"
    configs = [
        {
            "symbol": f"M{word[-10:].upper()}{number:03}/USDT",
            "exchange": "binance",
            "timeframes": ["1m"],
            "enabled": False,
            "description": word,
        }
        for number in range(COUNT)
    ]
    made = (await api.post("/configs/bulk/create", json={"configs": configs})).raise_for_status().json()
    assert made["summary"]["done"] == COUNT
    ids = [item["config_id"] for item in made["items"]]
    yield word, ids
    await api.post("/configs/bulk/delete", json={"select": {"ids": ids}})


async def test_an_event_reads_only_the_figures_of_the_rows_on_the_screen(
    page: Page, api: httpx.AsyncClient, many: tuple[str, list[int]]
) -> None:
    word, ids = many
    read: list[set[int]] = []

    def on_request(request: Request) -> None:
        url = urlsplit(request.url)
        if url.path.endswith("/reports/config-activity"):
            read.append({int(each) for each in parse_qs(url.query)["config_id"]})

    async def was_read(config_id: int) -> bool:
        return any(config_id in each for each in read)

    page.on("request", on_request)
    await page.goto(f"/configs?q={word}")
    await expect(page.get_by_role("table").get_by_role("row").nth(3)).to_be_visible()
    await eventually(lambda: _end_of(page, COUNT + 1), within=60)
    await eventually(lambda: was_read(ids[-1]), within=60)

    read.clear()
    await api.post(f"/configs/{ids[-1]}/enable")
    await eventually(lambda: was_read(ids[-1]), within=60)
    assert not await was_read(ids[0])

    await page.keyboard.press("Home")
    await eventually(lambda: was_read(ids[0]), within=60)


async def test_the_form_of_a_backfill_reads_numbers_and_not_all_configs(
    page: Page, many: tuple[str, list[int]], watch: Watch
) -> None:
    watch.expect(404)  # the cost of a selection without configs
    pattern = f"M{many[0][-10:].upper()}*"
    lists: list[str] = []

    def on_request(request: Request) -> None:
        if urlsplit(request.url).path.endswith("/configs"):
            lists.append(request.url)

    await page.goto("/settings")
    page.on("request", on_request)
    await page.goto("/backfills?create=true")
    form = page.get_by_role("dialog")
    symbol = form.get_by_label("Symbol")
    await symbol.fill(pattern)
    await expect(form.get_by_text(f"Of {COUNT} configs.")).to_be_visible()
    await expect(form.get_by_role("group", name="Timeframes").get_by_role("checkbox")).to_have_count(1)
    await symbol.fill(pattern.replace("*", "000*"))
    await expect(form.get_by_text("Of 1 config.")).to_be_visible()
    await symbol.fill(pattern.replace("*", "-*"))
    await expect(form.get_by_text("No config matches.")).to_be_visible()
    assert lists == []


async def _end_of(page: Page, rows: int) -> bool:
    """Scroll to the last row. True if the list has so many rows, and the last one is shown."""
    await page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    return await page.get_by_role("row").last.get_attribute("aria-rowindex") == str(rows)


async def test_the_menu_of_a_row_opens_with_the_keyboard_and_gives_the_focus_back(
    page: Page, config: dict[str, Any]
) -> None:
    await page.goto(f"/configs?q={config['symbol']}+binance")
    button = page.get_by_role("button", name=f"Actions for {config['symbol']} binance")
    await button.focus()
    await page.keyboard.press("Enter")
    # Until the menu has the focus, it does not receive the key.
    await expect(page.get_by_role("menuitem").first).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("menuitem", name="Run now")).to_be_hidden()
    await expect(button).to_be_focused()


async def test_a_time_shows_its_tooltip(page: Page, api: httpx.AsyncClient, config: dict[str, Any]) -> None:
    run = await finished(api, job_name=config["job_id"])
    await page.goto(f"/runs/{run['id']}")
    await page.get_by_role("main").locator("time").first.hover()
    await expect(page.get_by_role("tooltip")).to_contain_text("ago")


async def test_many_holes_are_shown_in_parts_and_many_points_in_a_table_that_scrolls(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    await finished(api, job_name=config["job_id"])
    await page.route("**/coverage?*", with_many_holes)
    await page.goto(f"/series/binance/{config['symbol']}/1m")
    rows = page.get_by_role("region", name="Time without candles").get_by_role("row")
    more = page.get_by_role("button", name="Show more")
    for shown in (25, 50):
        await expect(rows).to_have_count(shown + 1)
        await more.click()
    await expect(rows).to_have_count(HOLES + 1)
    await expect(more).to_be_hidden()

    await page.get_by_text("Table", exact=True).click()
    table = page.get_by_role("region", name="Table", exact=True)
    count = await table.get_by_role("table").get_attribute("aria-rowcount")
    await table.evaluate("each => each.scrollTo(0, each.scrollHeight)")
    await expect(table.get_by_role("row").last).to_have_attribute("aria-rowindex", str(count))
    assert await violations(page) == []


async def with_many_holes(route: Route) -> None:
    """The response, with many open holes instead of those of the series."""
    response = await route.fetch()
    day = datetime(2026, 1, 1, tzinfo=UTC)
    holes = [
        {
            "start": (day + timedelta(hours=number)).isoformat(),
            "end": (day + timedelta(hours=number, minutes=5)).isoformat(),
            "periods": 5,
            "absence_class": "unknown",
            "level": 0,
        }
        for number in range(HOLES)
    ]
    await route.fulfill(response=response, json=await response.json() | {"open_holes": holes, "absences": []})
