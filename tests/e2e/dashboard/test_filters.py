"""The filters of lists: a click on "Clear" also counts for a text that is not applied yet."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Locator, Page, expect

from support.dashboard_pages import require_browser

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="session")]
require_browser()


SEARCH_CONFIGS = "Search symbol, exchange or description"


async def type_and_stop_the_clock(page: Page, address: str, label: str) -> Locator:
    """Types ABC in the field. The page does not apply it yet, because its clock is paused."""
    await page.clock.install()
    await page.goto(address)
    typed = page.get_by_label(label, exact=True)
    await expect(typed).to_be_visible()
    await page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))
    await typed.fill("ABC")
    return typed


@pytest.mark.parametrize(
    ("address", "label"),
    [
        ("/runs?status=failed", "Symbol"),
        ("/series?exchange=binance", "Symbol"),
        ("/audit?object_type=config", "Actor"),
        ("/configs?q=LINK&exchange=binance&shown=enabled", SEARCH_CONFIGS),
    ],
)
async def test_cleared_filters_stay_clear_when_a_person_has_just_typed(page: Page, address: str, label: str) -> None:
    typed = await type_and_stop_the_clock(page, address, label)
    await page.get_by_role("button", name="Clear").first.click()
    await page.clock.run_for(2000)
    await expect(typed).to_have_value("")
    assert "?" not in page.url


@pytest.mark.parametrize(("address", "label"), [("/runs", "Symbol"), ("/series", "Symbol"), ("/audit", "Actor")])
async def test_a_typed_text_is_applied_with_a_filter_that_was_chosen_after_it(
    page: Page, address: str, label: str
) -> None:
    typed = await type_and_stop_the_clock(page, address, label)
    select = page.get_by_role("main").locator("select").last
    await select.select_option(index=1)
    await page.clock.run_for(2000)
    await expect(typed).to_have_value("ABC")
    assert "ABC" in page.url
    assert page.url.split("?")[1].count("&") == 1


async def test_a_typed_search_of_configs_is_applied_with_a_state_that_was_chosen_after_it(page: Page) -> None:
    await page.clock.install()
    await page.goto("/configs")
    typed = page.get_by_label(SEARCH_CONFIGS)
    await expect(typed).to_be_visible()
    await page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))
    await typed.fill("ABC")
    await page.get_by_role("main").get_by_text("Disabled", exact=True).click()
    await page.clock.run_for(2000)
    await expect(typed).to_have_value("ABC")
    assert "q=ABC" in page.url
    assert "shown=disabled" in page.url


async def test_cleared_filters_of_configs_keep_the_order_of_the_list(page: Page) -> None:
    await page.goto("/configs?q=LINK&sort=exchange")
    await expect(page.get_by_label(SEARCH_CONFIGS)).to_have_value("LINK")
    await page.get_by_role("button", name="Clear").click()
    await page.wait_for_url("**/configs?sort=exchange")
    await expect(page.get_by_label(SEARCH_CONFIGS)).to_have_value("")
