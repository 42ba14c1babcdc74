"""A client of the API, without Kafka."""

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr

from admin_api.app import build_api
from admin_api.settings import AdminApiSettings
from support.api import TOKEN, client_of


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    settings = AdminApiSettings(
        database_url=SecretStr(database_url),
        kafka_bootstrap_servers="127.0.0.1:1",
        candlekeep_admin_token=SecretStr(TOKEN),
    )
    api = build_api(settings)
    async with client_of(api) as client:
        yield client
    await api.close()
