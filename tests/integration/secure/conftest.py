from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

from contracts.topics import ALL_TOPICS
from local_stack.kafka_jars import NoRealKafka
from runtime.kafka.topics import provision
from runtime.settings import KafkaSettings
from support.secure_services import SecureKafka, SecurePostgres, secure_kafka, secure_postgres


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SecureKafka]:
    """With the declared topics."""
    try:
        async with secure_kafka(tmp_path_factory.mktemp("kafka")) as started:
            await provision(KafkaSettings.model_validate(lower(started.login)), ALL_TOPICS)
            yield started
    except NoRealKafka as error:
        pytest.skip(f"needs the real Apache Kafka: {error}")


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def postgres() -> AsyncIterator[SecurePostgres]:
    # Not in a folder of pytest: Postgres runs as an unprivileged user, who must not be able to enter those.
    with TemporaryDirectory(prefix="candlekeep-secure-postgres-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        async with secure_postgres(folder) as started:
            yield started


def lower(environment: dict[str, str]) -> dict[str, str]:
    """The values by the names of the fields."""
    return {name.lower(): value for name, value in environment.items()}
