"""The API keeps its own description: schemathesis asks everything of it that the description allows, and more."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi, build_api
from runtime.process.http_server import http_server
from support.api import TOKEN, created

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(1200)]

HERE = Path(__file__).parent


@pytest.fixture
async def api(a_setting: Callable[..., Any]) -> AsyncIterator[AdminApi]:
    """With its limits out of the way."""
    without_limits = {"requests_per_minute": 10**9, "triggers_per_minute": 10**9, "failed_logins_per_minute": 100_000}
    made = build_api(a_setting(**without_limits))
    await made.feed.stop()  # else a stream of events lasts for minutes; now each begins, and ends at once
    yield made
    await made.engine.dispose()


@pytest.fixture
async def url(api: AdminApi, client: httpx.AsyncClient, add_run: Callable[..., Awaitable[int]]) -> AsyncIterator[str]:
    """Over HTTP, with something to find."""
    await created(client)
    for status in ("success", "failed", "running"):
        await add_run(status=status)
    async with http_server(api.app, "127.0.0.1", 0) as port:
        yield f"http://127.0.0.1:{port}"


async def schemathesis(url: str, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run it to its end. Answers its exit code and what it said. SCHEMATHESIS_ARGS narrows it for a closer look."""
    told = {
        "CANDLEKEEP_URL": url,
        "CANDLEKEEP_ADMIN_TOKEN": TOKEN,
        "CANDLEKEEP_HOOKS": str(HERE / "schemathesis_hooks.py"),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"),
        *(f"{url}/openapi.json", "--no-color", *arguments, *os.environ.get("SCHEMATHESIS_ARGS", "").split()),
        env=os.environ | told,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.parametrize(("phases", "examples"), [("examples,coverage", 1), ("fuzzing", 12), ("stateful", 12)])
async def test_the_api_does_what_its_description_says(url: str, tmp_path: Path, phases: str, examples: int) -> None:
    code, output = await schemathesis(url, tmp_path, "--phases", phases, "--max-examples", str(examples))
    assert code == 0, output
