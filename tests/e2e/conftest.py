"""The whole system as separate processes, with the Kafka of the run and its own database."""

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from local_stack.keeper import KeptKafka, KeptPostgres
from local_stack.stack import Stack, running_stack
from support.shared_services import create_database, database_at, drop_database
from support.traces import TraceEndpoint, receiving_traces
from support.whole_system import system_options

API = "/api/v1/admin/data-collection"


@pytest.fixture(scope="package")
def traces() -> Iterator[TraceEndpoint]:
    """The traces of the system."""
    with receiving_traces() as endpoint:
        yield endpoint


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def system(
    kafka: KeptKafka,
    postgres: KeptPostgres,
    template_database: str,
    tmp_path_factory: pytest.TempPathFactory,
    traces: TraceEndpoint,
) -> AsyncIterator[Stack]:
    """One system for all black-box tests of a pytest worker. They must not assume that it is empty. Its runs are
    traced. It ends with the last of these tests, because it would need a fifth of a processor until the end of the run.
    """
    name = f"system_{uuid.uuid4().hex[:12]}"
    await create_database(postgres.url, name, template_database)
    folder: Path = tmp_path_factory.mktemp("system")
    options = system_options(kafka, database_at(postgres.url, name), folder)
    tracing = {"*": options.overrides["*"] | {"OTEL_EXPORTER_OTLP_ENDPOINT": traces.url}}
    async with running_stack(replace(options, overrides=tracing)) as stack:
        yield stack
    await drop_database(postgres.url, name)


@pytest_asyncio.fixture(loop_scope="session")
async def api(system: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=f"{system.api_url}{API}", headers={"Authorization": f"Bearer {system.token}"}, timeout=60
    ) as client:
        yield client
