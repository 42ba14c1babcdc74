"""Browser pages of the dashboard for tests: a browser, a signed-in page, and the faults that fail a test."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, ViewportSize, async_playwright, expect

from admin_api.auth.sign_in_links import link_path, new_code
from local_stack.dashboard import build_if_changed
from local_stack.system_packages import browser as installed_browser

FOLDER: Final = Path(__file__).parents[2] / "dashboard"
WAIT_MS: Final = 90_000
SIZE: Final[ViewportSize] = {"width": 1440, "height": 900}
AXE_TAGS: Final = ("wcag2a", "wcag2aa", "wcag21aa", "wcag22aa")

ROUTES: Final = (
    "/",
    "/configs",
    "/configs?edit=new",
    "/configs?edit={config_id}",
    "/runs",
    "/runs?status=failed&symbol=NONE",
    "/runs/{run_id}",
    "/runs/999999999",
    "/configs/{config_id}",
    "/series",
    "/series/{exchange}/{symbol}/1m",
    "/backfills",
    "/backfills?create=true",
    "/reports",
    "/audit",
    "/settings",
    "/nothing",
)
"""Every kind of page. The tests of accessibility and of narrow screens visit them all: add each new route."""

SCREENS: Final = {
    "overview": "/",
    "configs": "/configs",
    "config-new": "/configs?edit=new",
    "runs": "/runs",
    "run": "/runs/{run_id}",
    "config": "/configs/{config_id}",
    "series": "/series",
    "chart": "/series/{exchange}/{symbol}/1m",
    "backfills": "/backfills",
    "reports": "/reports",
    "audit": "/audit",
    "settings": "/settings",
}
"""The screens that `make screenshots` takes, by the name of the picture: add each new screen."""


def require_browser() -> None:
    """Skips the module without a browser. With CANDLEKEEP_REQUIRE_BROWSER=1, as in CI, the tests fail instead."""
    if installed_browser() is None and os.environ.get("CANDLEKEEP_REQUIRE_BROWSER") != "1":
        pytest.skip("needs Chromium; Debian: apt-get install chromium", allow_module_level=True)


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """A browser, and the built dashboard."""
    command = installed_browser()
    if command is None:
        pytest.fail("needs Chromium; Debian: apt-get install chromium", pytrace=False)
    await build_if_changed(print, FOLDER)
    expect.set_options(timeout=WAIT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=command, args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=2 * WAIT_MS
        )
        yield browser
        await browser.close()


@dataclass
class Watch:
    """The errors of a page: exceptions, messages in the console, and violations of its Content-Security-Policy.

    A browser writes each response of 400 or higher to the console. A test that provokes one expects its status.
    """

    expected: set[int] = field(default_factory=set)
    found: list[str] = field(default_factory=list)

    def expect(self, *statuses: int) -> None:
        """Also expects lost connections with the status 0."""
        self.expected.update(statuses)

    def follow(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.found.append(str(error)))
        page.on("console", self._on_message)

    def _on_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.found.append(f"{message.text} {message.location.get('url', '')}")

    @property
    def faults(self) -> list[str]:
        marks = ["net::ERR_" if status == 0 else f"status of {status}" for status in self.expected]
        return [each for each in self.found if not any(mark in each for mark in marks)]


def sign_in_path(token: str) -> str:
    return link_path(new_code(token, datetime.now(UTC)))


async def sign_in(page: Page, token: str, *, title: str = "Overview") -> None:
    """Open a new sign-in link and wait for the overview."""
    await page.goto(sign_in_path(token))
    await expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()


@asynccontextmanager
async def browsing(browser: Browser, api_url: str, watch: Watch, **options: Any) -> AsyncIterator[Page]:
    """A page in a browser profile of its own. Before the sign-in, the API refuses `GET /me` with 401."""
    settings = {"base_url": api_url, "locale": "en-US", "reduced_motion": "reduce", "viewport": SIZE} | options
    context = await browser.new_context(**settings)
    context.set_default_timeout(WAIT_MS)
    page = await context.new_page()
    watch.follow(page)
    yield page
    await context.close()


async def settled(page: Page) -> None:
    """Wait until the page shows its content and no placeholders."""
    # A function that Playwright would call again and again in the page is refused by the policy of the page.
    await expect(page.locator("#content")).to_contain_text(re.compile(".{10}", re.DOTALL))
    await expect(page.locator(".mantine-Skeleton-root")).to_have_count(0)


async def violations(page: Page) -> list[str]:
    """The rules of WCAG 2.2 AA that the page breaks, each with its first element."""
    async with asyncio.timeout(WAIT_MS / 1000):  # Playwright itself waits forever for a script
        await page.evaluate((FOLDER / "node_modules/axe-core/axe.min.js").read_text())
        result = await page.evaluate("tags => axe.run(document, {runOnly: tags})", list(AXE_TAGS))
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in result["violations"]]
