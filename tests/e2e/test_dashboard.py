"""The dashboard in a real browser, against the whole system."""

import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, async_playwright, expect

from admin_api.auth.sign_in_links import link_path, new_code
from local_stack.dashboard import build_if_changed
from local_stack.stack import Stack

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]

DASHBOARD = Path(__file__).parents[2] / "dashboard"
CHROMIUM = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)
AXE_RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]
WAIT_MS = 30_000
SYMBOL = "LINK/USDT"

if CHROMIUM is None:
    pytest.skip("needs Chromium; Debian: apt-get install chromium", allow_module_level=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests here."""
    expect.set_options(timeout=WAIT_MS)
    await build_if_changed(print, DASHBOARD)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, system: Stack) -> AsyncIterator[Page]:
    """A page of a person who has opened a sign-in link. A refused style or script, or an error, fails the test."""
    context = await browser.new_context(base_url=system.api_url, locale="en-US", reduced_motion="reduce")
    context.set_default_timeout(WAIT_MS)
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
    await page.goto(link_path(new_code(system.token, datetime.now(UTC))))
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    yield page
    await context.close()
    assert faults == []


@pytest_asyncio.fixture(loop_scope="session")
async def config(api: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
    body = {"symbol": SYMBOL, "exchange": "binance", "timeframes": ["1m", "1h"], "interval_minutes": 60}
    created = (await api.post("/configs", json=body)).raise_for_status().json()
    yield created
    await api.delete(f"/configs/{created['id']}")


async def test_a_sign_in_link_leaves_no_code_in_the_address_and_works_once(page: Page, system: Stack) -> None:
    assert page.url == f"{system.api_url}/"
    link = link_path(new_code(system.token, datetime.now(UTC)))
    await page.context.clear_cookies()
    await page.goto(link)
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    await page.context.clear_cookies()
    await page.goto("about:blank")
    await page.goto(link)
    await expect(page.get_by_text("was used before")).to_be_visible()
    assert "ckl_" not in page.url
    stored = await page.evaluate("JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")
    assert "ckl_" not in stored


async def test_a_new_config_is_created_its_first_run_appears_live_and_it_is_disabled(
    page: Page, api: httpx.AsyncClient
) -> None:
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


async def test_a_change_by_another_person_is_explained_and_nothing_is_lost(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    await page.goto(f"/configs?edit={config['id']}")
    drawer = page.get_by_role("dialog")
    await drawer.get_by_label("Description").fill("mine")
    changed = await api.put(
        f"/configs/{config['id']}", json={"interval_minutes": 30}, headers={"If-Match": f'"{config["version"]}"'}
    )
    assert changed.status_code == 200, changed.text
    await drawer.get_by_role("button", name="Save").click()
    await expect(drawer.get_by_text("Another person has changed this config")).to_be_visible()
    await expect(drawer.get_by_role("row").filter(has_text="Interval")).to_contain_text("30")
    await expect(drawer.get_by_label("Description")).to_have_value("mine")
    await drawer.get_by_role("button", name="Save mine over it").click()
    await expect(drawer).to_be_hidden()
    assert (await api.get(f"/configs/{config['id']}")).json()["description"] == "mine"


async def test_a_session_that_ends_while_a_person_works_loses_nothing(
    page: Page, system: Stack, config: dict[str, Any]
) -> None:
    await page.goto(f"/configs?edit={config['id']}")
    await page.get_by_label("Description").fill("half a sentence")
    await page.context.clear_cookies()
    await page.get_by_role("dialog").get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Your session has ended")).to_be_visible()
    await page.get_by_label("API token").fill(system.token)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("Your session has ended")).to_be_hidden()
    await expect(page.get_by_label("Description")).to_have_value("half a sentence")


async def test_a_viewer_sees_everything_and_actions_say_why_they_are_not_allowed(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    token = (await api.post("/tokens", json={"name": "a-viewer", "role": "viewer"})).json()["token"]
    await page.context.clear_cookies()
    await page.goto("/configs")
    await page.get_by_label("API token").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    create = page.get_by_role("button", name="New config")
    await expect(create).to_have_attribute("aria-disabled", "true")
    await create.hover()
    await expect(page.get_by_text("This needs the role admin; you have the role viewer.")).to_be_visible()
    await page.get_by_role("row").filter(has_text=SYMBOL).get_by_role("button", name="Actions for").click()
    await expect(page.get_by_role("menuitem", name="Run now")).to_be_disabled()


async def test_the_page_polls_while_the_event_stream_is_cut_and_is_live_again_afterwards(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    async def cut(route: Route) -> None:
        await route.abort()

    await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    await page.context.route("**/events", cut)
    await page.goto(f"/runs?config_id={config['id']}")
    await expect(page.get_by_role("status").filter(has_text="Polling")).to_be_visible()
    await expect(page.get_by_role("row").filter(has_text=SYMBOL).first).to_be_visible()
    await api.post(f"/configs/{config['id']}/trigger")
    await page.get_by_role("button", name="new run").click()
    await expect(page.get_by_role("row").filter(has_text="Manual").first).to_be_visible()
    await page.context.unroute("**/events", cut)
    await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()


async def test_filters_are_in_the_address_and_survive_a_reload(page: Page) -> None:
    await page.goto("/runs")
    await page.get_by_label("Status").select_option("failed")
    await page.get_by_label("Symbol").fill("none/such")
    await page.wait_for_url("**/runs?*symbol=NONE*")
    await page.reload()
    await expect(page.get_by_label("Status")).to_have_value("failed")
    await expect(page.get_by_text("No run matches these filters")).to_be_visible()


async def test_the_language_follows_the_browser_and_can_be_changed(page: Page, browser: Browser, system: Stack) -> None:
    context = await browser.new_context(base_url=system.api_url, locale="it-IT")
    italian = await context.new_page()
    await italian.goto(link_path(new_code(system.token, datetime.now(UTC))))
    await expect(italian.get_by_role("heading", name="Panoramica")).to_be_visible(timeout=WAIT_MS)
    assert await italian.evaluate("document.documentElement.lang") == "it"
    await italian.get_by_role("button", name="Impostazioni").click()
    await italian.get_by_text("English", exact=True).click()
    await expect(italian.get_by_role("heading", name="Overview")).to_be_visible()
    await context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_no_route_has_an_accessibility_violation_or_is_wider_than_the_screen(
    page: Page, config: dict[str, Any], theme: str
) -> None:
    await page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    axe = (DASHBOARD / "node_modules/axe-core/axe.min.js").read_text()
    found: list[str] = []
    for path in ("/", "/configs", f"/configs?edit={config['id']}", "/runs", "/runs/999999999", "/nothing"):
        for width in (1440, 360):
            await page.set_viewport_size({"width": width, "height": 900})
            await page.goto(path)
            await page.wait_for_function("document.querySelector('#content')?.textContent.length > 10")
            await expect(page.locator(".mantine-Skeleton-root")).to_have_count(0)
            if await page.evaluate("document.documentElement.scrollWidth") > width:
                found.append(f"{path} is wider than {width} pixels")
            await page.evaluate(axe)
            result = await page.evaluate("rules => axe.run(document, {runOnly: rules})", AXE_RULES)
            found += [f"{path} at {width}: {each['id']}: {each['nodes'][0]['html']}" for each in result["violations"]]
    assert found == []
