"""log-writer and candle-writer in a test: the whole worker in this process, and what it left in the tables."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.event import Event
from contracts.topics import Topic
from runtime.database import build_engine
from runtime.kafka import build_broker
from runtime.publisher import EventPublisher
from runtime.settings import DatabaseSettings, KafkaSettings, WorkerSettings
from runtime.worker import Worker, serve
from support.polling import eventually

S = TypeVar("S", bound=WorkerSettings)


def worker_settings(kind: type[S], kafka: KafkaSettings, database_url: str, **changes: Any) -> S:
    return kind(**kafka.model_dump(), database_url=database_url, http_port=0, shutdown_grace_seconds=10, **changes)


@contextlib.asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Worker]:
    """The worker from its readiness on; told to stop at the end, which must go well."""
    stop = asyncio.Event()
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
    """A metric's value, 0 before it was first touched."""
    return worker.registry.get_sample_value(metric, labels) or 0.0
