"""Screenshots of each screen of a running demo for the documents: `make demo` in one terminal, `make screenshots` in
another. Each screen is taken light and dark, wide and narrow, into docs/images/.
"""

import argparse
import asyncio
import base64
import sys
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from local_stack.dashboard import build_if_changed
from local_stack.system_packages import browser as installed_browser
from support.dashboard_pages import FOLDER, SCREENS, WAIT_MS, settled, sign_in
from support.indexed_png import indexed_png

API: Final = "/api/v1/admin/data-collection"
IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
SIZES: Final[dict[str, ViewportSize]] = {
    "wide": {"width": 1440, "height": 900},
    "narrow": {"width": 390, "height": 844},
}
THEMES: Final = ("light", "dark")
PAUSE_MS: Final = 700
"""Until the event stream is open and the charts are drawn."""
_TO_COLOURS: Final = """
async png => {
  const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  canvas.drawImage(bitmap, 0, 0);
  const pixels = new Uint32Array(canvas.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer);
  const counts = new Map();
  for (const each of pixels) counts.set(each, (counts.get(each) ?? 0) + 1);
  const palette = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 256).map(([colour]) => colour);
  const parts = colour => [colour & 255, (colour >> 8) & 255, (colour >> 16) & 255];
  const known = palette.map(parts);
  const distance = (a, b) => (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2;
  const nearest = new Map();
  for (const colour of counts.keys()) {
    const own = parts(colour);
    let best = 0;
    known.forEach((each, index) => { if (distance(each, own) < distance(known[best], own)) best = index; });
    nearest.set(colour, best);
  }
  let text = "";
  for (const each of pixels) text += String.fromCharCode(nearest.get(each));
  return { width: bitmap.width, height: bitmap.height, palette: known.flat(), indices: btoa(text) };
}
"""
"""The 256 most frequent colours of a picture, and the nearest of them for each pixel."""


async def take(url: str, token: str) -> None:
    """Write all pictures. Raises `httpx.HTTPError` if the demo does not answer."""
    async with httpx.AsyncClient(base_url=url + API, headers={"Authorization": f"Bearer {token}"}, timeout=60) as api:
        run, config = await _first(api, "/execution-logs", status="success"), await _first(api, "/configs")
    names = {"run_id": run["id"], "config_id": config["id"]} | {key: config[key] for key in ("exchange", "symbol")}
    IMAGES.mkdir(exist_ok=True)
    await build_if_changed(print, FOLDER)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=installed_browser(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        converter = await browser.new_page()
        for theme in THEMES:
            await _take_theme(browser, converter, url, token, theme, names)
        await browser.close()


async def _first(api: httpx.AsyncClient, path: str, **query: str) -> dict[str, Any]:
    rows = (await api.get(path, params={"limit": "1", **query})).raise_for_status().json()
    if not rows:
        sys.exit(f"screenshots: the demo has nothing at {path} yet; wait until its first runs have ended")
    row: dict[str, Any] = rows[0]
    return row


async def _take_theme(
    browser: Browser, converter: Page, url: str, token: str, theme: str, names: dict[str, Any]
) -> None:
    context = await browser.new_context(
        base_url=url, locale="en-US", reduced_motion="reduce", color_scheme="dark" if theme == "dark" else "light"
    )
    context.set_default_timeout(WAIT_MS)
    page = await context.new_page()
    await sign_in(page, token)
    for name, path in SCREENS.items():
        for size, viewport in SIZES.items():
            await page.set_viewport_size(viewport)
            await page.goto(path.format(**names))
            await settled(page)
            await page.wait_for_timeout(PAUSE_MS)
            file = IMAGES / f"{name}-{size}-{theme}.png"
            file.write_bytes(await _compressed(converter, await page.screenshot(animations="disabled")))
            print(f"screenshots: {file.name}, {file.stat().st_size // 1024} KiB", flush=True)
    await context.close()


async def _compressed(converter: Page, png: bytes) -> bytes:
    found = await converter.evaluate(_TO_COLOURS, base64.b64encode(png).decode())
    return indexed_png(found["width"], found["height"], bytes(found["palette"]), base64.b64decode(found["indices"]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="screenshots", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="the port of the demo's API")
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="the folder of the demo")
    chosen = parser.parse_args()
    url = f"http://127.0.0.1:{chosen.port}"
    try:
        asyncio.run(take(url, (chosen.folder / "token").read_text().strip()))
    except (OSError, httpx.HTTPError) as error:
        sys.exit(f"screenshots: no demo answers at {url} ({error}). Start one: make demo PORT={chosen.port}")


if __name__ == "__main__":
    main()
