"""Runs log-writer and candle-writer in a test, the whole worker in this process, and reads its tables."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
from aiokafka import TopicPartition
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.event import Event
from contracts.topics import Topic
from runtime.database import build_engine
from runtime.kafka.clients import build_broker, build_consumer, topic_name
from runtime.kafka.publisher import EventPublisher
from runtime.process.worker import Worker, serve
from runtime.settings import DatabaseSettings, KafkaSettings, WorkerSettings
from support.polling import eventually

S = TypeVar("S", bound=WorkerSettings)


def worker_settings(kind: type[S], kafka: KafkaSettings, database_url: str, **changes: Any) -> S:
    return kind(**kafka.model_dump(), database_url=database_url, http_port=0, shutdown_grace_seconds=10, **changes)


@contextlib.asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Worker]:
    """Run the worker until the end of the block, which starts when it is ready. It must stop with exit code 0."""
    stop = asyncio.Event()
    worker.health.readiness("worker", lambda: "not started")  # until `serve` sets its own check
    life = asyncio.create_task(serve(worker, stop))
    try:

        def ready() -> bool:
            assert not life.done(), "the worker ended by itself"
            assert not worker.health.ready_problems()
            return True

        await eventually(ready, within=30)
        yield worker
    finally:
        stop.set()
        code = await life
    assert code == 0


@contextlib.asynccontextmanager
async def publishing(settings: KafkaSettings) -> AsyncIterator[EventPublisher]:
    broker = build_broker(settings, "test")
    await broker.connect()
    await broker.start()
    try:
        yield EventPublisher(broker, settings, source="test")
    finally:
        await broker.stop()


async def publish(settings: KafkaSettings, topic: Topic, events: Sequence[Event]) -> None:
    async with publishing(settings) as publisher:
        await publisher.publish_many(topic, events)


@contextlib.asynccontextmanager
async def an_engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = build_engine(DatabaseSettings(database_url=database_url))
    try:
        yield engine
    finally:
        await engine.dispose()


async def query(database_url: str, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(database_url)
    try:
        return [tuple(row) for row in await connection.fetch(sql, *arguments)]
    finally:
        await connection.close()


def measured(worker: Worker, metric: str, **labels: str) -> float:
    """A metric's value; 0 if it has none yet."""
    return worker.registry.get_sample_value(metric, labels) or 0.0


async def rewind(settings: KafkaSettings, group: str, *topics: Topic) -> None:
    """Set the offsets of a group without members back to the beginning of the topics."""
    consumer = build_consumer(settings, group=group, client_id="rewind")
    await consumer.start()
    try:
        consumer.assign(
            [
                TopicPartition(topic_name(settings, topic), number)
                for topic in topics
                for number in range(topic.partitions)
            ]
        )
        await consumer.commit(dict(await consumer.beginning_offsets(consumer.assignment())))
    finally:
        await consumer.stop()


@contextlib.asynccontextmanager
async def database_away(postgres_url: str, database_url: str) -> AsyncIterator[None]:
    """The database has no connections and accepts none until the block ends."""
    name = urlsplit(database_url).path.removeprefix("/")
    await query(postgres_url, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    try:
        await query(postgres_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
    finally:
        await query(postgres_url, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


async def everything_is_read(settings: KafkaSettings, group: str, *topics: Topic) -> bool:
    """Whether the group has committed all messages of the topics."""
    consumer = build_consumer(settings, group=group, client_id="observer")
    await consumer.start()
    try:
        partitions = [
            TopicPartition(topic_name(settings, topic), number)
            for topic in topics
            for number in range(topic.partitions)
        ]
        ends = await consumer.end_offsets(partitions)
        return all([(await consumer.committed(each) or 0) >= end for each, end in ends.items()])
    finally:
        await consumer.stop()
