"""The relay's producer. After a failure it is discarded together with all messages that are not acknowledged."""

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
    """A started producer. At the end of the block, messages that are not acknowledged are dropped.

    This does not use FastStream's broker, because its stop flushes the producer. With an idempotent producer, a flush
    lasts as long as the outage.
    """
    await verify(settings, topics)  # a message to a missing topic could create the topic with one partition
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
