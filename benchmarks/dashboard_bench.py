"""Measures the dashboard of a large system in a real Chromium, with the browser's own tracing.

    python -m benchmarks.dashboard_bench [--quick]

admin-api serves the built dashboard and 5,000 configs, a million runs and a series of two million candles. Each step
has the longest task of the page's main thread, because the page answers to nothing meanwhile. A step that opens a page
also has the time until the first content. The calibration shows how much the load of the machine extends a task.
"""

import argparse
import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.browser_tracing import LONG_MS, Trace, tracing
from benchmarks.dashboard_steps import Measured, Walk, do_all_steps
from benchmarks.large_system import LARGE, QUICK, a_large_system
from benchmarks.report import Row, table
from benchmarks.writers_baseline import some_runs
from playwright.async_api import Browser, Page, async_playwright, expect

from admin_api.auth.sign_in_links import link_path, new_code
from contracts.topics import RUN_EVENTS
from local_stack.dashboard import build_if_changed
from local_stack.kafka_provider import ExistingKafka, MemoryKafka
from local_stack.plan import ADMIN_API
from local_stack.stack import StackOptions, running_stack
from local_stack.system_packages import browser as installed_browser
from runtime.kafka.clients import build_broker
from runtime.kafka.publisher import EventPublisher
from runtime.settings import KafkaSettings

FIRST_CONTENT_MS: Final = 1_000.0
WAIT_MS: Final = 120_000
RUNS_PER_SECOND: Final = 8
"""Of 5,000 configs on a ten-minute interval."""
LOOPS: Final = 20
_LOOP: Final = """
async () => {
  for (let round = 0; round < LOOPS; round += 1) {
    await new Promise(next => setTimeout(next));
    let sum = 0;
    for (let n = 1; n < 5e6; n += 1) sum += Math.sqrt(n);
    window.sum = sum;
  }
}
""".replace("LOOPS", str(LOOPS))


def main(*, quick: bool = False) -> list[Row]:
    """Takes about ten minutes; with `quick` (a small system) about three."""
    return asyncio.run(_measure(quick=quick))


async def _measure(*, quick: bool) -> list[Row]:
    command = installed_browser()
    if command is None:
        raise RuntimeError("this benchmark needs Chromium; Debian: apt-get install chromium")
    if "DASHBOARD_FOLDER" not in os.environ:
        await build_if_changed(print)
    size = QUICK if quick else LARGE
    async with (
        a_large_system(size) as database_url,
        _running_api(database_url) as (url, token, kafka),
        async_playwright() as playwright,
    ):
        expect.set_options(timeout=WAIT_MS)
        browser = await playwright.chromium.launch(
            executable_path=command, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        context = await browser.new_context(base_url=url, locale="en-US", viewport={"width": 1440, "height": 900})
        context.set_default_timeout(WAIT_MS)
        page = await context.new_page()
        before = await _calibration(browser, page)
        await page.goto(link_path(new_code(token, datetime.now(UTC))))
        await expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
        steps = await do_all_steps(Walk(browser, page, partial(_runs_end, kafka), quick))
        await page.goto("about:blank")
        after = await _calibration(browser, page)
        await browser.close()
    print(f"measured with {size.text}", flush=True)
    return [_loop_row("before", before), *(row for step in steps for row in _rows(step)), _loop_row("after", after)]


@contextlib.asynccontextmanager
async def _running_api(database_url: str) -> AsyncIterator[tuple[str, str, str]]:
    """admin-api with a Kafka that is empty. Yields the URL, the token, and Kafka's address."""
    with _folder() as folder:
        (folder / "run").mkdir()
        kafka = await MemoryKafka.start(logs=folder, run=folder / "run", reason="this benchmark sends no events")
        token = secrets.token_urlsafe(32)
        options = StackOptions(
            folder=folder / "stack",
            roles=(ADMIN_API,),
            live=True,  # no simulator: admin-api sends no requests to exchanges
            kafka=ExistingKafka(kafka.bootstrap, is_real=False, control=kafka.control),
            database_url=database_url,
            token=token,
            overrides={ADMIN_API.name: {"REQUESTS_PER_MINUTE": "1000000"}},
        )
        try:
            async with running_stack(options) as stack:
                yield stack.api_url, token, kafka.bootstrap
        finally:
            await kafka.stop()


@contextlib.asynccontextmanager
async def _runs_end(kafka: str) -> AsyncIterator[None]:
    """Publish the ends of runs, as the collectors of a busy system do. They are not in the run log."""
    settings = KafkaSettings(kafka_bootstrap_servers=kafka)
    broker = build_broker(settings, "bench")
    await broker.start()

    async def publish() -> None:
        publisher = EventPublisher(broker, settings, "bench")
        while True:
            _, ends = some_runs(RUNS_PER_SECOND, datetime.now(UTC))
            await publisher.publish_many(RUN_EVENTS, ends)
            await asyncio.sleep(1)

    publishing = asyncio.create_task(publish())
    try:
        yield
        if publishing.done():
            publishing.result()
    finally:
        publishing.cancel()
        await broker.stop()


async def _calibration(browser: Browser, page: Page) -> Trace:
    """A fixed loop in an empty page, several times."""
    async with tracing(browser, page) as trace:
        await page.evaluate(_LOOP)
    return trace


def _loop_row(when: str, trace: Trace) -> Row:
    """The load of the machine extends the loop, but not its processor time."""
    loops = sorted(trace.tasks, key=lambda task: task.processor_ms)[-LOOPS:]
    longest, usual = max(task.milliseconds for task in loops), median(task.processor_ms for task in loops)
    note = f"baseline: the loop's median processor time; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    return Row.compare(f"an empty page with a fixed loop, {when}", longest, usual, "ms", note)


def _rows(step: Measured) -> Iterator[Row]:
    trace, longest = step.trace, step.trace.longest
    note = (
        f"{trace.long_tasks} of {len(trace.tasks):,} tasks over {LONG_MS:.0f} ms; "
        f"in processor time {trace.long_processor_tasks}, the longest {trace.longest_processor_ms:.0f} ms; "
        f"the longest is {longest.main_parts}; {step.requests:,} requests"
    )
    yield Row.compare(step.name, longest.milliseconds, None, "ms", note, ours_below=LONG_MS)
    if step.first_content_ms is not None:
        yield Row.compare("- until the first content", step.first_content_ms, None, "ms", ours_below=FIRST_CONTENT_MS)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="candlekeep-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard_bench")
    parser.add_argument("--quick", action="store_true", help="a small system")
    print(table(main(quick=parser.parse_args().quick)))
