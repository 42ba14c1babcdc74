"""The walk through the dashboard of a large system: the steps of a person on each page."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import parse_qs, urlsplit

from benchmarks.browser_tracing import Trace, tracing
from benchmarks.large_system import LONG_SERIES
from playwright.async_api import Browser, Locator, Page, expect

TYPING_DELAY_MS: Final = 80
PAUSE_MS: Final = 600
"""After each step, for the work that follows an answer."""
WHEEL_ROWS: Final = 1_500
DAY_SECONDS: Final = 86_400
_MOST_TURNS: Final = 400
"""Of the wheel, until a list ends or a chart has the wanted range."""


@dataclass
class Measured:
    """One step of the walk."""

    name: str
    trace: Trace
    first_content_ms: float | None = None
    """The first contentful paint after the page was requested. None: the step opens no page."""
    requests: int = 0


@dataclass
class Walk:
    """Does the steps in one page and collects their traces."""

    browser: Browser
    page: Page
    runs_end: Callable[[], AbstractAsyncContextManager[None]]
    """Several runs per second end inside this context."""
    quick: bool
    steps: list[Measured] = field(default_factory=list)

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[Measured]:
        def count(_: object) -> None:
            measured.requests += 1

        async with tracing(self.browser, self.page) as trace:
            measured = Measured(name, trace)
            self.page.on("request", count)
            yield measured
            await self.settle()
        self.page.remove_listener("request", count)
        self.steps.append(measured)
        longest = trace.longest.milliseconds
        print(f"  {name}: {longest:.0f} ms, in processor time {trace.longest_processor_ms:.0f} ms", flush=True)

    async def open(self, name: str, path: str) -> None:
        """Open a page as with a link from outside: everything is loaded and read again."""
        await self.page.goto("about:blank")
        async with self.step(name) as measured:
            await self.page.goto(path)
            await expect(self.page.locator("#content")).to_contain_text(re.compile(".{10}", re.DOTALL))
        measured.first_content_ms = await self.page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
        )

    async def wait(self, name: str, seconds: float) -> None:
        """Nothing is done: the page reads again, and its clocks run."""
        async with self.step(name):
            await self.page.wait_for_timeout(1000 * (seconds / 10 if self.quick else seconds))

    async def settle(self) -> None:
        await expect(self.page.locator(".mantine-Skeleton-root")).to_have_count(0)
        await expect(self.page.get_by_text("Sorting by figures needs all configs")).to_have_count(0)
        await self.page.wait_for_timeout(PAUSE_MS)


async def do_all_steps(walk: Walk) -> list[Measured]:
    """In order. The page is signed in and its language is English."""
    for part in (_overview, _configs, _config, _runs, _series, _chart, _backfills, _reports):
        await part(walk)
    return walk.steps


async def _overview(walk: Walk) -> None:
    await walk.open("overview, opened", "/")
    await walk.wait("overview, for 30 s", 30)


async def _configs(walk: Walk) -> None:
    page = walk.page
    await walk.open("configs, opened", "/configs")
    async with walk.step("configs, scrolled to the end"):
        await _scroll(page, lambda: _is_last_row(page))
    await walk.wait("configs, all loaded, for 40 s", 40)
    async with walk.runs_end():
        await walk.wait("configs, all loaded, 20 s of runs", 20)
    async with walk.step("configs, back to the top"):
        await page.keyboard.press("Control+Home")
    await _select_rows(walk)
    async with walk.step("configs, searched"):
        await _type_and_clear(walk, page.get_by_placeholder(re.compile("Search")), "c12 okx")
    for name, title in (("by symbol", "Symbol"), ("by success", "Success"), ("by p95", "p95")):
        async with walk.step(f"configs, sorted {name}, twice"):
            for _ in range(2):
                await page.get_by_role("columnheader", name=title).get_by_role("button").click()
                await walk.settle()
    async with walk.step("configs, sorted by p95, scrolled"):
        await _scroll(page, _times(20))
    async with walk.step("configs, filtered"):
        await page.keyboard.press("Control+Home")
        await page.get_by_role("combobox", name="Exchange").select_option("kraken")
        await page.get_by_text("Disabled", exact=True).click()
        await page.get_by_text("Enabled", exact=True).click()
    async with walk.step("configs, edited in a drawer"):
        await page.locator("[data-row-link]").first.click()
        await expect(page.get_by_role("dialog")).to_be_visible()


async def _select_rows(walk: Walk) -> None:
    async with walk.step("configs, all selected and released"):
        box = walk.page.get_by_role("columnheader").get_by_role("checkbox")
        await box.check(force=True)
        await box.uncheck(force=True)


async def _config(walk: Walk) -> None:
    await walk.open("config, opened", "/configs/7")


async def _runs(walk: Walk) -> None:
    page, pages = walk.page, 2 if walk.quick else 20
    await walk.open("runs, opened", "/runs")
    async with walk.step(f"runs, {pages} pages scrolled"):
        await _scroll(page, lambda: _has_row(page, 100 * pages))
    async with walk.step("runs, back to the top"):
        await page.keyboard.press("Control+Home")
    async with walk.step("runs, filtered"):
        await page.get_by_label("Status").select_option("failed")
        await walk.settle()
        await page.get_by_label("Exchange").select_option("okx")
        await walk.settle()
        await _type_and_clear(walk, page.get_by_label("Symbol"), "C12/USDT")


async def _series(walk: Walk) -> None:
    await walk.open("series, opened", "/series")
    async with walk.step("series, scrolled to the end"):
        await _scroll(walk.page, lambda: _is_last_row(walk.page))
    await walk.wait("series, all loaded, for 40 s", 40)


async def _chart(walk: Walk) -> None:
    page = walk.page
    await walk.open("chart, opened", f"/series/{'/'.join(LONG_SERIES)}")
    box = page.get_by_role("figure")
    for name in ("1 day", "1 week", "1 month", "1 year", "All"):
        async with walk.step(f"chart, {name}"):
            await page.get_by_role("button", name=name, exact=True).click()
    async with walk.step("chart, zoomed from all to minutes"):
        await _zoom(page, box, -120, lambda seconds: seconds < DAY_SECONDS / 12)
    async with walk.step("chart, dragged at minutes"):
        await _drag(page, box)
    years = 20 if walk.quick else 1_000
    async with walk.step("chart, zoomed from minutes to all"):
        await _zoom(page, box, 120, lambda seconds: seconds > years * DAY_SECONDS)
    async with walk.step("chart, dragged at years"):
        await _drag(page, box)
    async with walk.step("chart, as a table"):
        await page.get_by_text("Table", exact=True).click()


async def _backfills(walk: Walk) -> None:
    page = walk.page
    await walk.open("backfills, opened", "/backfills")
    await walk.open("backfill, form opened", "/backfills?create=true")
    async with walk.step("backfill, symbols typed"):
        await page.get_by_label("Symbol").fill("")
        await page.get_by_label("Symbol").press_sequentially("C12*/USDT", delay=TYPING_DELAY_MS)


async def _reports(walk: Walk) -> None:
    await walk.open("reports, opened", "/reports")


async def _type_and_clear(walk: Walk, field: Locator, text: str) -> None:
    await field.press_sequentially(text, delay=TYPING_DELAY_MS)
    await walk.page.wait_for_timeout(PAUSE_MS)
    for _ in text:
        await field.press("Backspace", delay=TYPING_DELAY_MS)


async def _scroll(page: Page, at_end: Callable[[], Awaitable[bool]]) -> None:
    """Turn the wheel. Raises `AssertionError` if the end is not reached."""
    await page.mouse.move(700, 500)
    for _ in range(_MOST_TURNS):
        if await at_end():
            return
        for _ in range(4):
            await page.mouse.wheel(0, WHEEL_ROWS)
            await page.wait_for_timeout(40)
        await page.wait_for_timeout(150)
    raise AssertionError(f"the list has no end after {_MOST_TURNS} turns of the wheel at {page.url}")


def _times(count: int) -> Callable[[], Awaitable[bool]]:
    left = iter(range(count))

    async def is_done() -> bool:
        return next(left, None) is None

    return is_done


async def _has_row(page: Page, number: int) -> bool:
    shown = await page.get_by_role("row").last.get_attribute("aria-rowindex")
    return int(shown or 0) >= number


async def _is_last_row(page: Page) -> bool:
    """Whether all pages are loaded, and the last row is on the screen."""
    rows = int(await page.get_by_role("table").first.get_attribute("aria-rowcount") or -1)
    return rows > 0 and await _has_row(page, rows)


async def _zoom(page: Page, box: Locator, turn: int, is_reached: Callable[[float], bool]) -> None:
    """Turn the wheel above the chart until the visible range has the wanted length."""
    await box.hover()
    for _ in range(_MOST_TURNS):
        if is_reached(_visible_seconds(page)):
            return
        for _ in range(5):
            await page.mouse.wheel(0, turn)
            await page.wait_for_timeout(30)
        await page.wait_for_timeout(300)
    raise AssertionError(f"the chart does not reach the range: {page.url}")


def _visible_seconds(page: Page) -> float:
    query = parse_qs(urlsplit(page.url).query)
    start, end = (datetime.fromisoformat(query[name][0]) for name in ("from", "to"))
    return (end - start).total_seconds()


async def _drag(page: Page, box: Locator) -> None:
    """Drag the chart to the past and back, by a screen each."""
    at = await box.bounding_box()
    assert at is not None
    middle = at["y"] + at["height"] / 2
    for first, last in ((0.2, 0.85), (0.2, 0.85), (0.85, 0.2)):
        await page.mouse.move(at["x"] + first * at["width"], middle)
        await page.mouse.down()
        await page.mouse.move(at["x"] + last * at["width"], middle, steps=40)
        await page.mouse.up()
        await page.wait_for_timeout(500)
