"""Every page can be used by everyone: WCAG 2.2 AA by axe-core, in both themes, on a wide and on a narrow screen."""

from typing import Any, Literal

import httpx
import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from local_stack.stack import Stack
from support.black_box import finished
from support.dashboard_pages import (
    ROUTES,
    SIZE,
    Watch,
    browsing,
    require_browser,
    settled,
    sign_in,
    violations,
)
from support.polling import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="session")]
require_browser()

ZOOMED: ViewportSize = {"width": 640, "height": 450}
CUT_OFF = """
() => [...document.querySelectorAll("button, a, input, select, h1, h2, dt, dd, [role=cell], [role=columnheader]")]
  .filter(each => {
    const at = each.getBoundingClientRect();
    if (at.width <= 2 || at.height <= 2 || !each.checkVisibility({ visibilityProperty: true })) return false;
    // What lies in a region that scrolls can be reached.
    for (let box = each.parentElement; box !== null; box = box.parentElement) {
      const style = getComputedStyle(box);
      if (/auto|scroll/.test(style.overflowX) && box.scrollWidth > box.clientWidth) return false;
      if (style.clipPath !== "none" || style.clip !== "auto") return false;
    }
    return at.left < -1 || at.right > document.documentElement.clientWidth + 1;
  })
  .map(each => `${each.tagName} "${(each.textContent || each.ariaLabel || "").trim().slice(0, 40)}" is cut off`)
"""
"""Controls and texts that reach over the edge of the page."""
NARROW: ViewportSize = {"width": 360, "height": 800}


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_no_page_has_an_accessibility_violation_or_is_wider_than_the_screen(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any], watch: Watch, theme: str
) -> None:
    watch.expect(404)
    run = await finished(api, job_name=config["job_id"])
    await page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    found: list[str] = []
    for route in ROUTES:
        path = route.format(
            config_id=config["id"], run_id=run["id"], **{key: config[key] for key in ("exchange", "symbol")}
        )
        await page.set_viewport_size(SIZE)
        await page.goto(path)
        for size in (SIZE, NARROW):
            await page.set_viewport_size(size)
            await settled(page)
            if await remains_wider_than(page, size["width"]):
                found.append(f"{path} is wider than {size['width']} pixels")
            found += [f"{path} at {size['width']}: {each}" for each in await violations(page)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_the_opened_menu_of_a_row_has_no_accessibility_violation(
    page: Page, config: dict[str, Any], theme: Literal["light", "dark"]
) -> None:
    await page.emulate_media(color_scheme=theme)
    await page.goto(f"/configs?q={config['symbol']}")
    for size in (SIZE, NARROW):
        await page.set_viewport_size(size)
        await page.get_by_role("button", name=f"Actions for {config['symbol']}").click()
        await expect(page.get_by_role("menuitem", name="Open")).to_be_focused()
        assert await violations(page) == []
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("menu")).to_have_count(0)


async def test_no_page_is_cut_off_at_a_zoom_of_200_percent(
    browser: Browser, system: Stack, api: httpx.AsyncClient, config: dict[str, Any], watch: Watch
) -> None:
    """A window of 1280 pixels, which a zoom of 200 % makes 640 pixels wide."""
    watch.expect(401, 404)
    run = await finished(api, job_name=config["job_id"])
    found: list[str] = []
    async with browsing(browser, system.api_url, watch, viewport=ZOOMED, device_scale_factor=2) as page:
        await sign_in(page, system.token)
        for route in ROUTES:
            path = route.format(
                config_id=config["id"], run_id=run["id"], **{key: config[key] for key in ("exchange", "symbol")}
            )
            await page.goto(path)
            await settled(page)
            if await remains_wider_than(page, ZOOMED["width"]):
                found.append(f"{path} scrolls sideways")
            found += [f"{path}: {each}" for each in await page.evaluate(CUT_OFF)]
    assert not found, "\n".join(found)


async def remains_wider_than(page: Page, width: int) -> bool:
    """Whether the page is too wide also when the transition to another size has ended."""

    async def fits() -> bool:
        return bool(await page.evaluate("document.documentElement.scrollWidth") <= width)

    try:
        await eventually(fits, within=5)
    except AssertionError:
        return True
    return False
