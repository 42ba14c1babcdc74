"""A whole process on a Kafka and a Postgres that accept only encrypted connections."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from contracts.topics import RUN_EVENTS
from runtime.database import build_engine
from runtime.settings import DatabaseSettings, KafkaSettings
from store.migrate import upgrade
from support.polling import eventually
from support.run_histories import an_ending
from support.secure_services import SecureKafka, SecurePostgres
from support.writers import publish

pytestmark = [pytest.mark.real_kafka, pytest.mark.postgres]

WRONG = "hunter2-hunter2"


@asynccontextmanager
async def _log_writer(environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "log_writer"),
        env={**os.environ, **environment, "HTTP_PORT": "0"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
        process.terminate()
        async with asyncio.timeout(60):
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_log_writer_writes_a_run(kafka: SecureKafka, postgres: SecurePostgres) -> None:
    database = DatabaseSettings.model_validate({name.lower(): value for name, value in postgres.verified.items()})
    await upgrade(database.database_url.get_secret_value())
    settings = KafkaSettings.model_validate({name.lower(): value for name, value in kafka.login.items()})
    ending = an_ending()
    engine = build_engine(database)
    try:
        async with _log_writer(kafka.login | postgres.verified):
            await publish(settings, RUN_EVENTS, [ending])

            async def is_written() -> bool:
                async with engine.connect() as connection:
                    return bool(await connection.scalar(text("SELECT count(*) FROM job_execution_logs")))

            await eventually(is_written, within=120, every=0.5)
    finally:
        await engine.dispose()


@pytest.mark.parametrize("wrong", ["KAFKA_SASL_PASSWORD", "KAFKA_BOOTSTRAP_SERVERS"])
async def test_a_service_that_kafka_refuses_says_so_and_stays_alive(
    kafka: SecureKafka, postgres: SecurePostgres, wrong: str
) -> None:
    values = {"KAFKA_SASL_PASSWORD": WRONG, "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{kafka.login_port}"}
    async with _log_writer(kafka.login | postgres.verified | {wrong: values[wrong]}) as process:
        assert process.stderr is not None
        async with asyncio.timeout(120):
            async for line in process.stderr:
                assert WRONG.encode() not in line
                if b'"action": "kafka_refused"' in line:
                    break
        assert wrong.encode() in line
        assert process.returncode is None
