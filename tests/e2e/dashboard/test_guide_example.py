"""The guide's React example works unchanged if a signed-in browser loads it from the address of the API."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

from support.black_box import finished
from support.dashboard_pages import FOLDER, require_browser
from support.polling import eventually
from support.shared_data import shared_file

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="session")]
require_browser()

MOUNT = """
import { createRoot } from "react-dom/client";
createRoot(document.getElementById("root")).render(<DataCollectionDashboard />);
"""
PAGE = '<!doctype html><title>example</title><div id="root"></div><script type="module" src="/example.js"></script>'


@pytest.fixture
def folder() -> Iterator[Path]:
    """Below `node_modules`, so that the bundler finds React there."""
    folder = FOLDER / "node_modules" / ".guide-example"
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder)


async def bundled(folder: Path) -> str:
    """The example as one script. Nothing but a line that renders it is added."""
    guide = shared_file("guide.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```jsx\n(.*?)```", guide, flags=re.DOTALL)
    (folder / "example.jsx").write_text(example + MOUNT)
    command = ("npx", "rolldown", "example.jsx", "--format", "esm", "--platform", "browser", "-o", "example.js")
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return (folder / "example.js").read_text()


async def test_the_example_shows_the_figures_and_starts_a_run(
    page: Page, api: httpx.AsyncClient, config: dict[str, Any], folder: Path
) -> None:
    script = await bundled(folder)
    await finished(api, job_name=config["job_id"])
    await page.route("**/example.html", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    await page.route("**/example.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    said: list[str] = []

    async def accept(dialog: Any) -> None:
        said.append(dialog.message)
        await dialog.accept()

    page.on("dialog", accept)
    await page.goto("/example.html")
    await expect(page.get_by_text("Configs Attive:")).to_be_visible()
    row = page.get_by_role("row").filter(has_text=config["symbol"])
    async with page.expect_response("**/trigger") as triggered:
        await row.first.get_by_role("button").click()
    assert (await triggered.value).status == 202

    async def manual_runs() -> list[dict[str, Any]]:
        runs = (await api.get("/execution-logs", params={"job_name": config["job_id"]})).json()
        return [run for run in runs if (run["trigger"], run["status"]) == ("manual", "success")]

    await eventually(manual_runs, within=60)
    assert said == ["Collection triggered!"]
