"""The relay's producer: what it holds when something fails is dropped with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer

from admin_api.settings import AdminApiSettings
from contracts.topics import Topic
from runtime.kafka.client_lifecycle import abandon_producer, start_producer
from runtime.kafka.clients import bootstrap_list
from runtime.kafka.topics import verify


@asynccontextmanager
async def producing(settings: AdminApiSettings, topics: tuple[Topic, ...]) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer; what it holds unacknowledged at the end of the block is dropped.

    Not FastStream's broker: its stop flushes, which with an idempotent producer lasts as long as the outage.
    """
    await verify(settings, topics)  # sending to a missing topic could create it with one partition
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_list(settings),
        client_id="admin-api-relay",
        acks="all",
        enable_idempotence=True,
        request_timeout_ms=settings.kafka_request_timeout_ms,
        metadata_max_age_ms=60_000,
    )
    try:
        await start_producer(producer)
        yield producer
    finally:
        await abandon_producer(producer)
