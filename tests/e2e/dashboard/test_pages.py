"""Behaviour that all pages share: sign-in, language, addresses, and changes that appear live."""

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from local_stack.stack import Stack
from support.black_box import finished
from support.dashboard_pages import Watch, browsing, require_browser, sign_in, sign_in_path
from support.faults.proxy import proxying

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="session")]
require_browser()

BANNED = "coinbase"
BAN_SECONDS = 20


async def test_a_sign_in_link_leaves_no_code_in_the_address_and_works_once(
    page: Page, system: Stack, watch: Watch
) -> None:
    watch.expect(401)
    link = sign_in_path(system.token)
    await page.context.clear_cookies()
    await page.goto("about:blank")
    await page.goto(link)
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    assert page.url == f"{system.api_url}/"
    await page.context.clear_cookies()
    await page.goto("about:blank")
    await page.goto(link)
    await expect(page.get_by_text("was used before")).to_be_visible()
    assert "ckl_" not in page.url
    stored = await page.evaluate("JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")
    assert "ckl_" not in stored


async def test_a_cut_event_stream_is_shown_polled_and_resumed_without_losing_an_event(
    browser: Browser, system: Stack, api: httpx.AsyncClient, config: dict[str, Any], watch: Watch
) -> None:
    watch.expect(0, 401)
    address = urlsplit(system.api_url)
    async with (
        proxying(str(address.hostname), int(address.port or 0)) as proxy,
        browsing(browser, f"http://127.0.0.1:{proxy.listens_on}", watch) as page,
    ):
        await sign_in(page, system.token)
        await page.goto(f"/runs?config_id={config['id']}")
        state = page.get_by_role("status")
        await expect(state.filter(has_text="Live")).to_be_visible()
        await expect(page.get_by_role("row").filter(has_text=config["symbol"]).first).to_be_visible()
        proxy.set_mode("reset")
        await expect(state.filter(has_text="Connecting")).to_be_visible()
        await expect(state.filter(has_text="Polling")).to_be_visible()
        await api.post(f"/configs/{config['id']}/trigger")
        proxy.set_mode("pass")
        await expect(state.filter(has_text="Live")).to_be_visible()
        await page.get_by_role("button", name="new run").click()
        await expect(page.get_by_role("row").filter(has_text="Manual").first).to_be_visible()


async def test_the_page_polls_while_the_event_stream_alone_is_not_available(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any], watch: Watch
) -> None:
    watch.expect(0)
    await page.context.route("**/events", lambda route: route.abort())
    await page.goto(f"/runs?config_id={config['id']}")
    await expect(page.get_by_role("status").filter(has_text="Polling")).to_be_visible()
    await expect(page.get_by_role("row").filter(has_text=config["symbol"]).first).to_be_visible()
    await api.post(f"/configs/{config['id']}/trigger")
    await page.get_by_role("button", name="new run").click()
    await expect(page.get_by_role("row").filter(has_text="Manual").first).to_be_visible()


async def test_a_banned_exchange_is_shown_with_the_reason_and_the_end_of_the_ban(
    page: Page, system: Stack, api: httpx.AsyncClient
) -> None:
    await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    ban = {"kind": "ban", "exchange": BANNED, "candles": True, "count": 1, "retry_after": BAN_SECONDS}
    async with httpx.AsyncClient(base_url=str(system.simulator_url), timeout=60) as simulator:
        mood = (await simulator.post("/control/moods", json=ban)).raise_for_status().json()
        body = {"symbol": "BTC/USD", "exchange": BANNED, "timeframes": ["5m"], "interval_minutes": 60}
        made = (await api.post("/configs", json=body)).raise_for_status().json()
        exchange = page.get_by_role("listitem").filter(has_text=BANNED)
        await expect(exchange.get_by_text("No requests until")).to_be_visible()
        await expect(exchange.get_by_text("banned")).to_be_visible()
        await simulator.delete(f"/control/moods/{mood['id']}")
        await expect(exchange.get_by_text("Healthy")).to_be_visible(timeout=2 * BAN_SECONDS * 1000 + 30_000)
    await api.delete(f"/configs/{made['id']}")


async def test_filters_are_in_the_address_and_survive_a_reload(page: Page) -> None:
    await page.goto("/runs")
    await page.get_by_label("Status").select_option("failed")
    await page.get_by_label("Symbol").fill("none/such")
    await page.wait_for_url("**/runs?*symbol=NONE*")
    await page.reload()
    await expect(page.get_by_label("Status")).to_have_value("failed")
    await expect(page.get_by_text("No run matches these filters")).to_be_visible()


async def test_an_unknown_page_leads_back_to_the_overview(page: Page) -> None:
    await page.goto("/no/such/page")
    await expect(page.get_by_text("There is no such page")).to_be_visible()
    await page.get_by_role("link", name="Go to the overview").click()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()


async def test_the_language_follows_the_browser_and_can_be_changed(
    browser: Browser, system: Stack, watch: Watch
) -> None:
    watch.expect(401)
    async with browsing(browser, system.api_url, watch, locale="it-IT") as page:
        await sign_in(page, system.token, title="Panoramica")
        assert await page.evaluate("document.documentElement.lang") == "it"
        await page.get_by_role("button", name="Impostazioni").click()
        await page.get_by_text("English", exact=True).click()
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()


async def test_the_overview_shows_the_services_the_losses_and_the_timeline(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    states = (await api.get("/services")).json()
    can_describe = states[0]["state"] != "unknown"  # the in-memory Kafka cannot
    for service in ("scheduler", "collector", "log-writer", "candle-writer", "backfiller"):
        card = page.get_by_role("listitem").filter(has_text=service)
        await expect(card.get_by_text("Working" if can_describe else "Unknown")).to_be_visible()
    await expect(page.get_by_text("about to be lost")).to_be_visible()
    lane = page.get_by_role("group", name=f"{config['symbol']} {config['exchange']}: 1 success")
    await expect(lane).to_be_visible()


async def test_a_bar_of_the_timeline_opens_its_run_by_mouse_and_by_keyboard(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    first = await finished(api, job_name=config["job_id"])
    triggered = (await api.post(f"/configs/{config['id']}/trigger")).raise_for_status().json()
    second = await finished(api, run_id=triggered["run_id"])
    lane = page.get_by_role("group", name=f"{config['symbol']} {config['exchange']}: 2 success")
    bars = lane.get_by_role("link", name="Success")
    await expect(bars).to_have_count(2)
    # One stop of the Tab key, the latest run; an arrow key moves to the one before.
    await page.get_by_role("link", name=f"{config['symbol']} {config['exchange']}", exact=True).focus()
    await page.keyboard.press("Tab")
    await expect(bars.last).to_be_focused()
    await page.keyboard.press("ArrowLeft")
    await expect(bars.first).to_be_focused()
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/runs/{first['id']}")
    await page.go_back()
    await expect(bars).to_have_count(2)
    await page.mouse.move(0, 0)
    await bars.last.click(position={"x": 8, "y": 11})
    await page.wait_for_url(f"**/runs/{second['id']}")


async def test_the_overview_shows_the_rate_use_and_the_success_of_an_exchange(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    await finished(api, job_name=config["job_id"])
    await page.reload()
    uses = {each["exchange"]: each for each in (await api.get("/reports/exchange-use")).json()}
    assert uses["binance"]["rate_share"] > 0
    card = page.get_by_role("listitem").filter(has_text="binance").filter(has_text="Rate limit used")
    await expect(card).to_be_visible()
    await expect(card.locator("dl")).to_contain_text("Success rate")


async def test_runs_are_filtered_by_timeframe_and_error_class(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    await finished(api, job_name=config["job_id"])
    await page.goto(f"/runs?config_id={config['id']}")
    row = page.get_by_role("row").filter(has_text=config["symbol"])
    await page.get_by_label("Timeframe").select_option("1h")
    await page.wait_for_url("**/runs?*timeframe=1h*")
    await expect(row.first).to_be_visible()
    await page.get_by_label("Timeframe").select_option("3d")
    await expect(page.get_by_text("No run matches these filters")).to_be_visible()
    await page.get_by_label("Timeframe").select_option("1m")
    await page.get_by_label("Error class").select_option("timeout")
    await page.wait_for_url("**/runs?*error_class=timeout*")
    await page.reload()
    await expect(page.get_by_label("Error class")).to_have_value("timeout")
    await expect(page.get_by_text("No run matches these filters")).to_be_visible()
    await page.get_by_label("Error class").select_option("")
    await expect(row.first).to_be_visible()
