import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from admin_api.app import AdminApi, build_api
from admin_api.settings import AdminApiSettings
from runtime.process.http_server import http_server
from support.api import TOKEN


@dataclass(frozen=True)
class Ended:
    code: int | None
    out: str
    err: str


Candlekeep = Callable[..., Awaitable[Ended]]


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminApi]:
    made = build_api(
        AdminApiSettings(
            database_url=SecretStr(database_url),
            kafka_bootstrap_servers="127.0.0.1:1",
            candlekeep_admin_token=SecretStr(TOKEN),
        )
    )
    yield made
    await made.close()


@pytest.fixture
async def candlekeep(api: AdminApi) -> AsyncIterator[Candlekeep]:
    """Run the command as a process, against an API that answers HTTP."""
    async with http_server(api.app, "127.0.0.1", 0) as port:
        defaults = {"CANDLEKEEP_URL": f"http://127.0.0.1:{port}", "CANDLEKEEP_TOKEN": TOKEN, "NO_COLOR": "1"}

        async def run(*arguments: str, typed: str = "", **variables: str) -> Ended:
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "command_line",
                *arguments,
                env={**os.environ, **defaults, **variables},
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
            )
            async with asyncio.timeout(30):
                out, err = await process.communicate(typed.encode())
            return Ended(process.returncode, out.decode(), err.decode())

        yield run
