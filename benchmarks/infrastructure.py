"""Kafka and Postgres for a benchmark: from KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL, or from the local stack."""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg

from local_stack.kafka_provider import KafkaPlace, start_kafka
from local_stack.postgres import PostgresPlace, start_postgres
from runtime.kafka.topics import provision
from runtime.settings import KafkaSettings
from store.migrate import upgrade


@contextlib.asynccontextmanager
async def a_kafka() -> AsyncIterator[KafkaSettings]:
    """Settings of a Kafka with all topics, under a separate topic prefix."""
    with _folder() as folder:
        kafka = await start_kafka(KafkaPlace(data=folder / "data", logs=folder / "logs", run=folder / "run"), print)
        try:
            settings = KafkaSettings(
                kafka_bootstrap_servers=kafka.bootstrap, kafka_topic_prefix=f"bench-{uuid.uuid4().hex[:6]}."
            )
            await provision(settings, replication_factor=1)
            yield settings
        finally:
            await kafka.stop()


@contextlib.asynccontextmanager
async def a_postgres() -> AsyncIterator[str]:
    """The URL of an empty database. The local stack's Postgres does not wait for the disk, which helps the baseline."""
    with _folder() as folder:
        place = PostgresPlace(data=folder / "data", logs=folder / "logs", run=folder / "run", durable=False)
        postgres = await start_postgres(place, print)
        try:
            yield postgres.url
        finally:
            await postgres.stop()


@contextlib.asynccontextmanager
async def a_database() -> AsyncIterator[str]:
    """The URL of a new migrated database, which is dropped afterwards."""
    name = f"bench_{uuid.uuid4().hex[:8]}"
    async with a_postgres() as server:
        administration = await asyncpg.connect(server)
        try:
            await administration.execute(f"CREATE DATABASE {name}")
            base, _, query = server.partition("?")
            url = f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
            await upgrade(url)
            yield url
        finally:
            await administration.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await administration.close()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="candlekeep-bench-"))
    folder.chmod(0o711)  # Postgres runs as an unprivileged user and has its data inside
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
