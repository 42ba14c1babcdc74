"""Many configs at once, and the dashboard without a mouse."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page, Route, expect

from support.black_box import finished, new_config
from support.dashboard_pages import Watch, require_browser, settled, violations

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="session")]
require_browser()

GROUP = "bulk-group"


@pytest_asyncio.fixture(loop_scope="session")
async def group(api: httpx.AsyncClient) -> AsyncIterator[list[dict[str, Any]]]:
    """Three disabled configs that a search for `GROUP` finds."""
    configs = [await new_config(api, description=GROUP) for _ in range(3)]
    yield configs
    for each in configs:
        await api.delete(f"/configs/{each['id']}")


async def test_a_bulk_trigger_shows_the_result_of_each_config_also_of_the_one_that_failed(
    page: Page, api: httpx.AsyncClient, group: list[dict[str, Any]]
) -> None:
    deleted = group[1]

    async def after_a_deletion(route: Route) -> None:
        await api.delete(f"/configs/{deleted['id']}")
        await route.continue_()

    await page.route("**/configs/bulk/trigger", after_a_deletion)
    await page.goto(f"/configs?q={GROUP}")
    await page.get_by_role("checkbox", name="Select all configs").check()
    actions = page.get_by_role("region", name="Actions for the selected configs")
    await expect(actions.get_by_text("3 selected")).to_be_visible()
    assert await violations(page) == []
    await actions.get_by_role("button", name="Run now").click()
    result = page.get_by_role("dialog")
    await expect(result.get_by_text("2 done, 0 unchanged, 1 failed")).to_be_visible()
    first = result.get_by_role("listitem").first
    await expect(first).to_contain_text(deleted["symbol"])
    await expect(first).to_contain_text("Failed")
    await expect(first).to_contain_text(f"{deleted['id']}")
    await page.keyboard.press("Escape")
    await expect(actions).to_be_hidden()


async def test_selected_configs_are_enabled_disabled_and_deleted_together(
    page: Page, api: httpx.AsyncClient, group: list[dict[str, Any]], watch: Watch
) -> None:
    watch.expect(404)  # the page may ask for the completeness of the configs at the moment of their deletion
    await page.goto(f"/configs?q={GROUP}")
    actions = page.get_by_role("region", name="Actions for the selected configs")
    for button, enabled in (("Enable", True), ("Disable", False)):
        await page.get_by_role("checkbox", name=f"Select {group[0]['symbol']}").check()
        await page.get_by_role("checkbox", name=f"Select {group[2]['symbol']}").check()
        await actions.get_by_role("button", name=button, exact=True).click()
        if not enabled:
            await page.get_by_role("dialog").get_by_role("button", name="Disable").click()
        await expect(page.get_by_text("done for 2 configs")).to_be_visible()
        await expect(actions).to_be_hidden()
        states = [(await api.get(f"/configs/{each['id']}")).json()["enabled"] for each in group]
        assert states == [enabled, False, enabled]
        await page.reload()
    await page.get_by_role("checkbox", name="Select all configs").check()
    await actions.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.get_by_text("done for 3 configs")).to_be_visible()
    await expect(page.get_by_role("button", name=group[0]["symbol"], exact=True)).to_be_hidden()
    assert (await api.get(f"/configs/{group[0]['id']}")).status_code == 404


async def test_a_person_without_a_mouse_finds_triggers_and_opens_a_config_and_its_run(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    symbol, keyboard = config["symbol"], page.keyboard
    await finished(api, job_name=config["job_id"])
    await keyboard.press("Control+k")
    await page.get_by_role("dialog").get_by_role("combobox").fill("configs")
    await keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Configs")).to_be_visible()
    await settled(page)

    await keyboard.press("/")
    await expect(page.get_by_role("textbox", name="Search symbol")).to_be_focused()
    await keyboard.type("link")
    await page.wait_for_url("**/configs?q=link")
    await keyboard.press("Tab")
    await page.evaluate("document.activeElement.blur()")
    await keyboard.press("j")
    row = page.get_by_role("button", name=symbol, exact=True)
    await expect(row).to_be_focused()
    await keyboard.press("x")
    await expect(page.get_by_text("1 selected")).to_be_visible()
    await keyboard.press("x")
    await keyboard.press("t")
    await expect(page.get_by_text(f"A run of {symbol} · binance is queued.")).to_be_visible()
    await keyboard.press("Enter")
    await expect(page.get_by_role("dialog").get_by_label("Description", exact=True)).to_be_visible()
    await keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(row).to_be_focused()

    await page.goto(f"/runs?config_id={config['id']}")
    await settled(page)
    await keyboard.press("j")
    await keyboard.press("Enter")
    await expect(page.get_by_role("heading", name=f"{symbol} · binance")).to_be_visible()


async def test_a_key_moves_to_the_first_row_of_each_list(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    await finished(api, job_name=config["job_id"])
    body = {"select": {"ids": [config["id"]]}, "start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    (await api.post("/backfills", json=body | {"timeframes": ["1h"]})).raise_for_status()
    for path in ("/configs", "/series", "/runs", "/backfills", "/audit"):
        await page.goto(path)
        await settled(page)
        rows = page.locator("[data-row-link]")
        await expect(rows.first).to_be_visible()
        await page.keyboard.press("j")
        await expect(rows.first, path).to_be_focused()


async def test_the_palette_and_the_help_are_accessible_and_single_keys_can_be_switched_off(page: Page) -> None:
    await page.goto("/configs")
    await settled(page)
    await page.keyboard.press("Control+k")
    await expect(page.get_by_role("dialog").get_by_role("combobox")).to_be_focused()
    await expect(page.get_by_role("dialog").get_by_role("option").first).to_be_visible()
    assert await violations(page) == []
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    help_dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    await expect(help_dialog).to_be_visible()
    assert await violations(page) == []
    await help_dialog.get_by_role("switch").uncheck(force=True)
    await page.keyboard.press("Escape")
    await expect(help_dialog).to_be_hidden()
    await page.keyboard.press("/")
    await expect(page.get_by_role("textbox", name="Search symbol")).not_to_be_focused()
