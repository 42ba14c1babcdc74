"""Every page can be used by everyone: WCAG 2.2 AA by axe-core, in both themes, on a wide and on a narrow screen."""

from typing import Any

import httpx
import pytest
from playwright.async_api import Page, ViewportSize

from support.black_box import finished
from support.dashboard_pages import ROUTES, SIZE, Watch, require_browser, settled, violations
from support.polling import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="session")]
require_browser()

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


async def remains_wider_than(page: Page, width: int) -> bool:
    """Whether the page is too wide also when the transition to another size has ended."""

    async def fits() -> bool:
        return bool(await page.evaluate("document.documentElement.scrollWidth") <= width)

    try:
        await eventually(fits, within=5)
    except AssertionError:
        return True
    return False
