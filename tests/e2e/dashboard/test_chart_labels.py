"""The labels of a chart's axis of time are not cut."""

import re
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

from support.dashboard_pages import require_browser
from support.polling import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="session")]
require_browser()

RECORDING = """
window.drawn = [];
const drawText = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, ...rest) {
  const half = this.measureText(text).width / 2;
  const width = this.canvas.width / this.getTransform().a;
  window.drawn.push({ text, left: x - half, right: width - x - half, align: this.textAlign });
  return drawText.call(this, text, x, ...rest);
};
"""
"""Each text on a canvas, with its distances in CSS pixels to the left and the right edge."""
ROUNDING = 0.01
"""CSS pixels. A label is centred, so its distance to an edge is computed from fractions."""


async def test_no_time_is_cut_at_an_edge_of_the_chart(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    name = {key: config[key] for key in ("exchange", "symbol")}

    async def candles() -> list[dict[str, Any]] | None:
        query = {**name, "timeframe": "1m", "limit": 180}
        found: list[dict[str, Any]] = (await api.get("/candles", params=query)).raise_for_status().json()
        return found if len(found) == 180 else None

    newest = max(each["open_time"] for each in await eventually(candles, within=60))
    hour = datetime.fromisoformat(newest).replace(minute=0)
    begin = hour - timedelta(hours=2)
    window = f"from={begin:%Y-%m-%dT%H:%M:%SZ}&to={hour + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"
    await page.add_init_script(RECORDING)
    await page.goto(f"/series/{name['exchange']}/{name['symbol']}/1m?{window}")
    await expect(page.get_by_role("figure").locator("canvas").first).to_be_visible()
    at_edges = {f"{begin:%H:%M}", f"{hour:%H:%M}"}

    async def times() -> list[dict[str, Any]] | None:
        drawn: list[dict[str, Any]] = await page.evaluate("window.drawn")
        found = [each for each in drawn if each["align"] == "center" and re.fullmatch(r"\d\d:\d\d", each["text"])]
        return found if at_edges <= {each["text"] for each in found} else None

    cut = [each for each in await eventually(times, within=60) if min(each["left"], each["right"]) < -ROUNDING]
    assert cut == []
