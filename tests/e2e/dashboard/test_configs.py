"""Configs in a real browser: create, change, and what happens if two persons do it at once."""

from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

from local_stack.stack import Stack
from support.dashboard_pages import Watch, require_browser

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="session")]
require_browser()


async def test_a_new_config_is_created_its_first_run_appears_live_and_it_is_disabled(
    page: Page, api: httpx.AsyncClient
) -> None:
    for earlier in (await api.get("/configs", params={"symbol": "AVAX/USDT"})).json():
        await api.delete(f"/configs/{earlier['id']}")
    await page.get_by_role("link", name="Configs", exact=True).click()
    await page.get_by_role("button", name="New config").first.click()
    drawer = page.get_by_role("dialog")
    await drawer.get_by_role("combobox", name="Exchange").fill("bybit")
    await page.get_by_role("option", name="Bybit", exact=True).click()
    await drawer.get_by_label("Symbol").fill("AVAX/USDT")
    for timeframe in ("1m", "1h"):
        await drawer.get_by_text(timeframe, exact=True).click()
    await expect(drawer.get_by_text("requests per minute on average")).to_be_visible()
    await drawer.get_by_role("button", name="Create").click()
    await expect(drawer).to_be_hidden()
    row = page.get_by_role("row").filter(has_text="AVAX/USDT")
    await expect(row.get_by_role("img", name="1 success")).to_be_visible()

    await row.get_by_role("button", name="Actions for").click()
    await page.get_by_role("menuitem", name="Runs").click()
    await page.get_by_role("link", name="AVAX/USDT").first.click()
    await expect(page.get_by_role("heading", name="AVAX/USDT · bybit")).to_be_visible()
    await expect(page.get_by_role("row").filter(has_text="1h")).to_be_visible()

    await page.goto("/configs?q=avax")
    await row.get_by_role("button", name="Actions for").click()
    await page.get_by_role("menuitem", name="Disable").click()
    await page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    await expect(row.get_by_text("disabled")).to_be_visible()
    (stored,) = (await api.get("/configs", params={"symbol": "AVAX/USDT"})).json()
    assert stored["enabled"] is False
    await api.delete(f"/configs/{stored['id']}")


async def test_two_tabs_change_one_config_and_nothing_is_lost(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any], watch: Watch
) -> None:
    watch.expect(412)
    other = await page.context.new_page()
    watch.follow(other)
    for tab in (page, other):
        await tab.goto(f"/configs?edit={config['id']}")
        await expect(tab.get_by_label("Description", exact=True)).to_be_visible()
    await page.get_by_label("Description", exact=True).fill("mine")
    await other.get_by_label("Interval in minutes").fill("30")
    await other.get_by_role("dialog").get_by_role("button", name="Save").click()
    await expect(other.get_by_role("dialog")).to_be_hidden()

    drawer = page.get_by_role("dialog")
    await drawer.get_by_role("button", name="Save").click()
    await expect(drawer.get_by_text("Another person has changed this config")).to_be_visible()
    await expect(drawer.get_by_role("row").filter(has_text="Interval")).to_contain_text("30")
    await expect(drawer.get_by_label("Description", exact=True)).to_have_value("mine")
    await drawer.get_by_role("button", name="Save mine over it").click()
    await expect(drawer).to_be_hidden()
    assert (await api.get(f"/configs/{config['id']}")).json()["description"] == "mine"


async def test_a_session_that_ends_while_a_person_works_loses_nothing(
    page: Page, system: Stack, config: dict[str, Any], watch: Watch
) -> None:
    watch.expect(401)
    await page.goto(f"/configs?edit={config['id']}")
    await page.get_by_label("Description", exact=True).fill("half a sentence")
    await page.context.clear_cookies()
    await page.get_by_role("dialog").get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Your session has ended")).to_be_visible()
    await page.get_by_label("API token").fill(system.token)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("Your session has ended")).to_be_hidden()
    await expect(page.get_by_label("Description", exact=True)).to_have_value("half a sentence")


async def test_a_viewer_sees_everything_and_actions_say_why_they_are_not_allowed(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any], watch: Watch
) -> None:
    watch.expect(401)
    made = (await api.post("/tokens", json={"name": "a-viewer", "role": "viewer"})).json()
    await page.context.clear_cookies()
    await page.goto("/configs")
    await page.get_by_label("API token").fill(made["token"])
    await page.get_by_role("button", name="Sign in").click()
    create = page.get_by_role("button", name="New config").first
    await expect(create).to_have_attribute("aria-disabled", "true")
    await create.hover()
    await expect(page.get_by_text("This needs the role admin; you have the role viewer.").first).to_be_visible()
    row = page.get_by_role("row").filter(has_text=config["symbol"])
    await row.get_by_role("button", name="Actions for").click()
    await expect(page.get_by_role("menuitem", name="Run now")).to_be_disabled()
    await api.delete(f"/tokens/{made['id']}")
