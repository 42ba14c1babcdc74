"""Backfills from the dry run to whole, reports, the export, the audit log, and tokens."""

import csv
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

from support.dashboard_pages import require_browser

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="session")]
require_browser()

WHOLE_MS = 120_000


async def test_a_backfill_goes_from_its_dry_run_to_whole(page: Page, config: dict[str, Any]) -> None:
    await page.goto(f"/backfills?create=true&exchange=binance&symbol={config['symbol']}&timeframe=1h")
    form = page.get_by_role("dialog")
    await form.get_by_label("From (UTC)").fill("yesterday")
    await expect(form.get_by_text("Write a day")).to_be_visible()
    await form.get_by_label("From (UTC)").fill("2026-01-01")
    await form.get_by_label("Until (UTC)").fill("2026-01-05 12:00")
    cost = form.get_by_role("region", name="Expected cost")
    await expect(cost.get_by_text("Requests", exact=True)).to_be_visible()
    await form.get_by_role("button", name="Start").click()
    await expect(page.get_by_role("heading", name=f"{config['symbol']} · binance · 1h")).to_be_visible()
    await expect(page.get_by_text("Whole", exact=True).first).to_be_visible(timeout=WHOLE_MS)
    await expect(page.get_by_role("row").filter(has_text="100.00 %")).to_be_visible()
    await page.get_by_text("Chunks (").click()
    await expect(page.get_by_role("row").filter(has_text="Verified").first).to_be_visible()


async def test_a_backfill_is_paused_resumed_and_cancelled_after_a_question(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    body = {"select": {"ids": [config["id"]]}, "start": "2020-01-01T00:00:00Z", "timeframes": ["1m"]}
    made = (await api.post("/backfills", json=body)).raise_for_status().json()
    await page.goto(f"/backfills/{made['id']}")
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_role("button", name="Resume")).to_be_visible()
    (await api.post(f"/backfills/{made['id']}/resume")).raise_for_status()
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()  # by its event
    await page.get_by_role("button", name="Cancel the backfill").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel the backfill").click()
    await expect(page.get_by_text("Cancelled", exact=True).first).to_be_visible()
    assert (await api.get(f"/backfills/{made['id']}")).json()["state"] == "cancelled"


async def test_reports_show_charts_and_the_same_numbers_as_tables(page: Page, config: dict[str, Any]) -> None:
    await page.goto("/reports?range=24h")
    chart = page.get_by_role("region", name="Success rate")
    await expect(chart.locator("canvas")).to_be_visible()
    await chart.get_by_text("Table").click()
    await expect(chart.get_by_role("cell", name="%").first).to_be_visible()


async def test_the_list_of_runs_is_saved_as_csv(page: Page, config: dict[str, Any]) -> None:
    await page.goto(f"/runs?config_id={config['id']}")
    await expect(page.get_by_role("row").filter(has_text=config["symbol"]).first).to_be_visible()
    async with page.expect_download() as saved:
        await page.get_by_role("link", name="Export as CSV").click()
    with (await (await saved.value).path()).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert {row["config_id"] for row in rows} == {str(config["id"])}


async def test_the_audit_log_shows_a_change_as_fields_before_and_after(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    read = await api.get(f"/configs/{config['id']}")
    names = ("symbol", "exchange", "timeframes", "enabled")
    body = {name: config[name] for name in names} | {"interval_minutes": 45}
    headers = {"If-Match": read.headers["ETag"]}
    (await api.put(f"/configs/{config['id']}", json=body, headers=headers)).raise_for_status()
    await page.goto(f"/audit?object_type=config&object_id={config['id']}")
    await page.get_by_role("link", name="config.update").first.click()
    change = page.get_by_role("dialog").get_by_role("row").filter(has_text="interval_minutes")
    await expect(change.locator("del")).to_have_text("60")
    await expect(change.locator("ins")).to_have_text("45")


async def test_the_secret_of_a_token_is_shown_once(page: Page, api: httpx.AsyncClient) -> None:
    await page.goto("/settings")
    await page.get_by_role("button", name="Create a token").click()
    await page.get_by_label("Name").fill("of the dashboard")
    await page.get_by_role("dialog").get_by_role("button", name="Create a token").click()
    secret = await page.get_by_role("dialog").locator("code").inner_text()
    answer = await api.get("/me", headers={"Authorization": f"Bearer {secret}"})
    assert answer.json()["role"] == "viewer"
    await page.get_by_role("button", name="I have stored it").click()
    assert secret not in await page.content()
    await page.get_by_role("button", name="Revoke: of the dashboard").first.click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await expect(page.get_by_text("is revoked.")).to_be_visible()
    assert (await api.get("/me", headers={"Authorization": f"Bearer {secret}"})).status_code == 401
