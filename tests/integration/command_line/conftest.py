import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from pydantic import SecretStr

from admin_api.app import AdminApi, build_api
from admin_api.settings import AdminApiSettings
from runtime.process.http_server import http_server
from support.api import TOKEN
from support.forked_commands import Ended, run_forked

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
            environment = {**os.environ, **defaults, **variables}
            return await run_forked("command_line", arguments, environment, typed=typed, within=30)

        yield run
