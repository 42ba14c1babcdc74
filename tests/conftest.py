"""The substrate of every test: real Kafka and Postgres, started when the first test asks and shared by the workers."""

import gc
import uuid
from collections.abc import AsyncIterator

import hypothesis  # noqa: F401 -- else its plugin imports it at the very end, where CPython 3.11.7 can trip (gh-106905)
import pytest

from local_stack.keeper import KeptKafka, KeptPostgres
from runtime.settings import KafkaSettings
from support.kafka import create_topics, delete_topics
from support.shared_services import (
    ServiceUnavailable,
    SharedServices,
    create_database,
    database_at,
    drop_database,
)


def is_controller(config: pytest.Config) -> bool:
    return not hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    if is_controller(config):
        SharedServices.create()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Plugins import more code now. Garbage whose end is told with a traceback must not be found in the middle of that:
    both parse Python, which CPython 3.11.7 cannot do inside one another (gh-106905).
    """
    gc.collect()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not is_controller(config):
        return
    services = SharedServices.of_this_run()
    if (kafka := services.kafka_if_used()) is not None:
        print(f"Kafka used by the tests: {kafka.description}", flush=True)
    services.stop()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("real_kafka") is not None and not _kafka().is_real:
        pytest.skip(f"needs the real Apache Kafka, here runs the {_kafka().description}")


def _kafka() -> KeptKafka:
    try:
        return SharedServices.of_this_run().kafka()
    except ServiceUnavailable as error:
        pytest.fail(f"no Kafka for the tests: {error}", pytrace=False)


@pytest.fixture(scope="session")
def kafka() -> KeptKafka:
    """The run's Kafka. Topics are the test's own only with a prefix: take `kafka_settings`."""
    return _kafka()


@pytest.fixture
async def kafka_settings(kafka: KeptKafka) -> AsyncIterator[KafkaSettings]:
    """A name space of its own on the run's Kafka, with every topic in it."""
    settings = KafkaSettings(
        kafka_bootstrap_servers=kafka.bootstrap,
        kafka_topic_prefix=f"test-{uuid.uuid4().hex[:8]}.",
        kafka_session_timeout_ms=6_000 if kafka.is_real else 3_000,
        kafka_fetch_max_wait_ms=20,
        shutdown_grace_seconds=10,
    )
    await create_topics(kafka, settings)
    yield settings
    await delete_topics(kafka, settings)


@pytest.fixture(scope="session")
def postgres() -> KeptPostgres:
    """The run's Postgres server; `url` is an empty database of it that nobody should fill: take `database_url`."""
    try:
        return SharedServices.of_this_run().postgres()
    except ServiceUnavailable as error:
        pytest.fail(f"no Postgres for the tests: {error}", pytrace=False)


@pytest.fixture(scope="session")
def template_database(postgres: KeptPostgres) -> str:
    return SharedServices.of_this_run().template_database()


@pytest.fixture
async def database_url(postgres: KeptPostgres, template_database: str) -> AsyncIterator[str]:
    """A fresh database with the current schema."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    await create_database(postgres.url, name, template_database)
    yield database_at(postgres.url, name)
    await drop_database(postgres.url, name)
