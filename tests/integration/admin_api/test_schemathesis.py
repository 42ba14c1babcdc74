"""The API conforms to its OpenAPI description. schemathesis generates valid and invalid requests from it."""

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
from support.depth import tries

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(1200)]

HERE = Path(__file__).parent


@pytest.fixture
async def api(a_setting: Callable[..., Any]) -> AsyncIterator[AdminApi]:
    """The API with rate limits that are too high to be reached."""
    without_limits = {"requests_per_minute": 10**9, "triggers_per_minute": 10**9, "failed_logins_per_minute": 100_000}
    api = build_api(a_setting(**without_limits))
    await api.feed.stop()  # otherwise an event stream would last for minutes; now each ends at once
    yield api
    await api.close()


@pytest.fixture
async def url(api: AdminApi, client: httpx.AsyncClient, add_run: Callable[..., Awaitable[int]]) -> AsyncIterator[str]:
    """The URL of an API with one config and some runs."""
    await created(client)
    for status in ("success", "failed", "running"):
        await add_run(status=status)
    async with http_server(api.app, "127.0.0.1", 0) as port:
        url = f"http://127.0.0.1:{port}"
        # The description is made once. On a busy machine, that takes longer than schemathesis waits.
        async with httpx.AsyncClient(timeout=120) as reader:
            (await reader.get(f"{url}/openapi.json")).raise_for_status()
        yield url


async def schemathesis(url: str, folder: Path, *arguments: str) -> tuple[int, str]:
    """Runs schemathesis. Returns its exit code and output. `SCHEMATHESIS_ARGS` adds arguments, for example to debug."""
    environment = {
        "CANDLEKEEP_URL": url,
        "CANDLEKEEP_ADMIN_TOKEN": TOKEN,
        "CANDLEKEEP_HOOKS": str(HERE / "schemathesis_hooks.py"),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"),
        *(f"{url}/openapi.json", "--no-color", *arguments, *os.environ.get("SCHEMATHESIS_ARGS", "").split()),
        env=os.environ | environment,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.deep
@pytest.mark.parametrize(
    ("phases", "examples"),
    [("examples,coverage", 1), ("fuzzing", tries(10, deep=100)), ("stateful", tries(12, deep=100))],
)
async def test_the_api_conforms_to_its_description(url: str, tmp_path: Path, phases: str, examples: int) -> None:
    code, output = await schemathesis(url, tmp_path, "--phases", phases, "--max-examples", str(examples))
    assert code == 0, output
