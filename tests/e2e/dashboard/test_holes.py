"""A hole in a series: shown in the chart, explained, and filled by a person."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from local_stack.stack import Stack
from support.black_box import finished, free_symbol
from support.dashboard_pages import require_browser, violations
from support.polling import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="session")]
require_browser()

SYMBOL = "DOT/USDT"
HOLE_MINUTES = 6
UNTIL_MINUTES_AGO = 5
"""Younger than `HOLE_MIN_AGE_MINUTES`, so that nothing but the person fills it during the test."""

TINTED = """
([left, right]) => {
  const box = document.querySelector('[role="figure"]').getBoundingClientRect();
  let tinted = 0;
  for (const canvas of document.querySelectorAll('[role="figure"] canvas')) {
    const at = canvas.getBoundingClientRect();
    if (at.width < box.width / 2 || at.height < box.height / 2) continue;  // an axis
    const scale = canvas.width / at.width;
    const width = Math.max(1, Math.round((right - left) * scale));
    const copy = new OffscreenCanvas(width, 6).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, -Math.round(left * scale), -4);
    const pixels = copy.getImageData(0, 0, width, 6).data;
    const colours = pixels.filter((_, index) => index % 4 === 3 && pixels[index] > 0).length;
    tinted = Math.max(tinted, colours / (pixels.length / 4));
  }
  return tinted;
}
"""
"""The part of the pixels that are drawn between two positions, at the top of the chart, above all candles."""


@pytest_asyncio.fixture(loop_scope="session")
async def hole(system: Stack, api: httpx.AsyncClient) -> AsyncIterator[tuple[datetime, datetime]]:
    """The exchange did not send the candles of some minutes when they were read. It sends them now."""
    await free_symbol(api, SYMBOL)
    end = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=UNTIL_MINUTES_AGO)
    span = (end - timedelta(minutes=HOLE_MINUTES), end)
    page = {"hidden": [[each.isoformat() for each in span]]}
    mood = {"kind": "page", "exchange": "binance", "symbol": SYMBOL, "page": page}
    body = {"symbol": SYMBOL, "exchange": "binance", "timeframes": ["1m"], "interval_minutes": 60}
    async with httpx.AsyncClient(base_url=str(system.simulator_url), timeout=60) as simulator:
        made = (await simulator.post("/control/moods", json=mood)).raise_for_status().json()
        config = (await api.post("/configs", json=body)).raise_for_status().json()
        try:
            assert (await finished(api, job_name=config["job_id"]))["status"] == "success"
        finally:
            await simulator.delete(f"/control/moods/{made['id']}")
    yield span
    await api.delete(f"/configs/{config['id']}")


async def test_a_hole_is_shown_explained_and_filled(
    page: Page, api: httpx.AsyncClient, hole: tuple[datetime, datetime]
) -> None:
    start, end = (f"{each:%Y-%m-%d %H:%M}" for each in hole)
    await page.goto(f"/series/binance/{SYMBOL}/1m")
    holes = page.get_by_role("region", name="Time without candles")
    row = holes.get_by_role("row").filter(has_text=start)
    await expect(row).to_contain_text(end)
    await expect(row).to_contain_text("unknown")
    await expect(row.get_by_role("cell", name=f"{HOLE_MINUTES}", exact=True)).to_be_visible()

    await expect_silence_of_the_exchange(page, row, hole)
    await row.get_by_role("button", name=start).click()  # the chart shows it in the middle
    chart = page.get_by_role("figure")
    await expect(chart).to_be_visible()
    middle, beside = await positions(chart)
    await expect_tint(page, middle, over=0.9)
    await expect_tint(page, beside, under=0.5)
    legend = page.get_by_role("region", name="Chart")
    await chart.hover(position={"x": (middle[0] + middle[1]) / 2, "y": 120})
    evidence = (await row.get_by_role("cell").nth(4).inner_text()).splitlines()[0].split(" · ")[0]
    for part in ("unknown", start, end, evidence):
        await expect(legend).to_contain_text(part)
    assert await violations(page) == []

    await row.get_by_role("button", name="Fill this hole").click()
    await expect(page.get_by_text("The hole closes when its candles are stored.")).to_be_visible()
    await expect(page.get_by_text("Nothing is missing between the first and the last candle.")).to_be_visible()
    await expect_tint(page, middle, under=0.5)
    await chart.hover(position={"x": (middle[0] + middle[1]) / 2 + 1, "y": 130})
    await expect(legend.get_by_text("Close")).to_be_visible()
    query = {"exchange": "binance", "symbol": SYMBOL, "timeframe": "1m"}
    coverage = (await api.get("/coverage", params=query)).raise_for_status().json()
    assert coverage["open_holes"] == []


async def expect_silence_of_the_exchange(page: Page, row: Locator, hole: tuple[datetime, datetime]) -> None:
    """Other symbols have candles, so the exchange was not silent. Then an answer with an incident is simulated."""
    start, end = ([f"{each:%Y-%m-%d %H:%M}", f"{each:%Y-%m-%dT%H:%M:%SZ}"] for each in hole)
    question = row.get_by_text("Were all symbols of the exchange silent?")
    await question.click()
    await expect(row).to_contain_text("No: another symbol has candles in this time")

    other = {"exchange": "okx", "symbols": 2, "candles": 1, "first_open_time": start[1], "last_open_time": start[1]}
    incident = {"exchange": "binance", "timeframe": "1m", "start": start[1], "end": end[1], "symbols": 3}
    incident |= {"examples": [], "absence_class": "unknown", "pieces": []}
    incident |= {"other_exchanges": [other], "other_exchanges_truncated": True}
    await page.route("**/incidents?*", lambda route: route.fulfill(json=[incident]))
    await page.reload()
    await question.click()
    for part in (
        f"No symbol has a candle from {start[0]} to {end[0]}. Up to 3 symbols were silent at once.",
        f"okx: traded 2 of them, 1 candle from {start[0]} to {start[0]}",
        "This proves no class",
        "Not all candles were compared",
    ):
        await expect(row).to_contain_text(part)
    assert await violations(page) == []


Positions = tuple[float, float]


async def positions(chart: Locator) -> tuple[Positions, Positions]:
    """A part of the hole, and a part with candles: the chart shows the hole, and five times its length on each side."""
    width = max(await chart.locator("canvas").evaluate_all("all => all.map(each => each.clientWidth)"))
    return (0.49 * width, 0.51 * width), (0.1 * width, 0.3 * width)


async def expect_tint(page: Page, where: Positions, *, over: float = -1, under: float = 2) -> None:
    async def is_so() -> bool:
        tinted = await page.evaluate(TINTED, list(where))
        assert over < tinted < under, f"{tinted:.2f} of the pixels are drawn"
        return True

    await eventually(is_so, within=60)
