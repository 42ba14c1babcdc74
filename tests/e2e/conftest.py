"""The whole system as separate processes, with the Kafka of the run and its own database."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from local_stack.keeper import KeptKafka, KeptPostgres
from local_stack.stack import Stack, running_stack
from support.shared_services import create_database, database_at, drop_database
from support.whole_system import system_options

API = "/api/v1/admin/data-collection"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system(
    kafka: KeptKafka, postgres: KeptPostgres, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """One system for all black-box tests of a pytest worker. They must not assume that it is empty."""
    name = f"system_{uuid.uuid4().hex[:12]}"
    await create_database(postgres.url, name, template_database)
    folder: Path = tmp_path_factory.mktemp("system")
    async with running_stack(system_options(kafka, database_at(postgres.url, name), folder)) as stack:
        yield stack
    await drop_database(postgres.url, name)


@pytest_asyncio.fixture(loop_scope="session")
async def api(system: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=f"{system.api_url}{API}", headers={"Authorization": f"Bearer {system.token}"}, timeout=60
    ) as client:
        yield client
