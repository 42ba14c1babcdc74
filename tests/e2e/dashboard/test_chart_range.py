"""The range of a chart: only a person moves it, and the latest choice counts."""

from typing import Any

import httpx
import pytest
from playwright.async_api import Locator, Page, expect

from support.black_box import finished
from support.dashboard_pages import require_browser

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="session")]
require_browser()

SETTLED_MS = 1000
"""Longer than the page waits for the end of a movement."""


async def opened(page: Page, api: httpx.AsyncClient, config: dict[str, Any]) -> Locator:
    """The drawn chart of the config's minutes. Timers of the page fire in `page.clock.run_for` only."""
    await finished(api, job_name=config["job_id"])
    await page.clock.install()
    await page.goto(f"/series/{config['exchange']}/{config['symbol']}/1m")
    chart = page.get_by_role("figure")
    await expect(chart.locator("canvas").first).to_be_visible()
    await page.clock.pause_at(await page.evaluate("Date.now()") / 1000 + 5)
    await page.clock.run_for(SETTLED_MS)
    assert "from=" not in page.url, "opening the page is no choice of a range"
    return chart


async def test_a_chart_of_another_size_shows_the_same_range(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    chart = await opened(page, api, config)
    width = await chart.evaluate("box => box.clientWidth")
    for window_width in (900, 1600):
        await page.set_viewport_size({"width": window_width, "height": 900})
        await expect(chart).not_to_have_js_property("clientWidth", width)
        width = await chart.evaluate("box => box.clientWidth")
        await page.clock.run_for(SETTLED_MS)
        assert "from=" not in page.url


async def test_a_choice_replaces_a_movement_that_has_just_ended(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    chart = await opened(page, api, config)
    box = await chart.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] / 2 + 200, box["y"] + box["height"] / 2, steps=5)
    await page.clock.run_for(50)
    await page.mouse.up()
    await page.get_by_role("button", name="1 day", exact=True).click()
    chosen = page.url
    assert "from=" in chosen
    await page.clock.run_for(SETTLED_MS)
    assert page.url == chosen
