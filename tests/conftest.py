"""Real Kafka and Postgres for all tests, started when the first test needs them and shared by the workers."""

import gc
import os
import uuid
from collections.abc import AsyncIterator, Callable

# Imported here, because its plugin would import it at the end, where CPython 3.11.7 can fail (gh-106905).
import hypothesis
import pytest

from local_stack.keeper import KeptKafka, KeptPostgres
from runtime.settings import KafkaSettings
from support.kafka import create_topics, delete_topics
from support.repeated_timeout import pytest_timeout_set_timer  # noqa: F401 -- a hook
from support.running_order import long_ones_first
from support.shared_services import (
    ServiceUnavailable,
    SharedServices,
    create_database,
    database_at,
    drop_database,
)


def is_controller(config: pytest.Config) -> bool:
    return not hasattr(config, "workerinput")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-exchanges",
        action="store_true",
        help="play all exchanges of the catalogue against their models, not a sample",
    )


def pytest_configure(config: pytest.Config) -> None:
    # On a busy machine, the time of one example or of making it says nothing about the code.
    too_slow = hypothesis.HealthCheck.too_slow
    hypothesis.settings.register_profile("candlekeep", deadline=None, suppress_health_check=[too_slow])
    hypothesis.settings.load_profile("candlekeep")
    if is_controller(config):
        SharedServices.create()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first if there are several workers. One worker runs them in the order of the files."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = long_ones_first(items, workers)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Collects garbage before plugins import more code.

    Some objects report a traceback when they are collected. If this happened during an import, both would parse Python,
    and CPython 3.11.7 cannot do that at the same time (gh-106905).
    """
    gc.collect()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not is_controller(config):
        return
    services = SharedServices.of_this_run()
    for name, description in services.descriptions().items():
        print(f"{name.capitalize()} used by the tests: {description}", flush=True)
    services.stop()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("real_kafka") is not None and not _kafka().is_real:
        pytest.skip(f"needs the real Apache Kafka, but the tests run on {_kafka().description}")


def _kafka() -> KeptKafka:
    try:
        return SharedServices.of_this_run().kafka()
    except ServiceUnavailable as error:
        pytest.fail(f"no Kafka for the tests: {error}", pytrace=False)


@pytest.fixture(scope="session")
def kafka() -> KeptKafka:
    """The Kafka of the whole run. For topics that belong to one test, use `kafka_settings`."""
    return _kafka()


@pytest.fixture
async def kafka_settings(kafka: KeptKafka) -> AsyncIterator[KafkaSettings]:
    """Settings with a topic prefix for one test, under which all topics exist."""
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
    """The Postgres server of the whole run. `url` is an empty database that must stay empty: use `database_url`."""
    try:
        return SharedServices.of_this_run().postgres()
    except ServiceUnavailable as error:
        pytest.fail(f"no Postgres for the tests: {error}", pytrace=False)


@pytest.fixture(scope="session")
def template_database(postgres: KeptPostgres) -> str:
    return SharedServices.of_this_run().template_database()


@pytest.fixture
def login_url(database_url: str, template_database: str) -> Callable[[str], str]:
    """The URL of the test's database for the login of a service or command, such as `admin-api` or `tokens`."""
    logins = SharedServices.of_this_run().database_logins()
    return lambda name: logins.url(database_url, name)


@pytest.fixture
async def database_url(postgres: KeptPostgres, template_database: str) -> AsyncIterator[str]:
    """A fresh database with the current schema."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    await create_database(postgres.url, name, template_database)
    yield database_at(postgres.url, name)
    await drop_database(postgres.url, name)
