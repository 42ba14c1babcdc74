"""A browser and a signed-in page, against the whole system."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest_asyncio
from playwright.async_api import Browser, Page

from local_stack.stack import Stack
from support.black_box import free_symbol
from support.dashboard_pages import Watch, browsing, running_browser, sign_in

SYMBOL = "LINK/USDT"


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests of a pytest worker."""
    async with running_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def watch() -> AsyncIterator[Watch]:
    """Any error in a page fails its test, unless the test has expected it."""
    watch = Watch()
    yield watch
    assert watch.faults == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, system: Stack, watch: Watch) -> AsyncIterator[Page]:
    """The page of an admin who has opened a sign-in link."""
    async with browsing(browser, system.api_url, watch) as page:
        await sign_in(page, system.token)
        watch.found.clear()  # the page asked who is signed in before it used the link
        yield page


@pytest_asyncio.fixture(loop_scope="session")
async def config(api: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
    """A new config of `SYMBOL`, whose first run starts at once."""
    await free_symbol(api, SYMBOL)
    body = {"symbol": SYMBOL, "exchange": "binance", "timeframes": ["1m", "1h"], "interval_minutes": 60}
    created = (await api.post("/configs", json=body)).raise_for_status().json()
    yield created
    await api.delete(f"/configs/{created['id']}")
