"""Fills a topic, and measures how fast a worker reads it."""

import asyncio
import time
from collections.abc import Sequence

from aiokafka import TopicPartition
from benchmarks.writers_baseline import (
    in_batches,
)

from contracts.event import Event
from contracts.topics import Topic
from runtime.kafka.clients import build_broker, build_consumer, topic_name
from runtime.kafka.publisher import EventPublisher
from runtime.logs import configure_logging
from runtime.process.worker import Worker, serve
from runtime.settings import KafkaSettings

DRAIN_SECONDS = 120.0


async def drain_topic(kafka: KafkaSettings, worker: Worker, group: str, topic: Topic, counter: str, rows: int) -> float:
    """Return the rows per second of a worker that reads a full topic, from its first committed batch on."""
    configure_logging(worker.settings, worker.name)
    await _rewind(kafka, group, topic)
    counted = worker.registry.restricted_registry([counter])  # collecting all metrics would slow the worker down
    stop = asyncio.Event()
    worker_task = asyncio.create_task(serve(worker, stop))
    written, first, started = 0.0, 0.0, 0.0
    async with asyncio.timeout(DRAIN_SECONDS):
        while written < rows and not worker_task.done():
            await asyncio.sleep(0.005)
            written = sum(
                sample.value for metric in counted.collect() for sample in metric.samples if sample.name == counter
            )
            if written and not started:
                first, started = written, time.perf_counter()
    seconds = time.perf_counter() - started
    stop.set()
    if await worker_task != 0 or written < rows or first == rows:
        raise AssertionError(
            f"{worker.name} wrote {written:.0f} of {rows} rows, {first:.0f} of them in the first batch"
        )
    return (rows - first) / seconds


async def _rewind(kafka: KafkaSettings, group: str, topic: Topic) -> None:
    consumer = build_consumer(kafka, group=group, client_id="bench")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic_name(kafka, topic), number) for number in range(topic.partitions)])
        await consumer.commit(dict(await consumer.beginning_offsets(consumer.assignment())))
    finally:
        await consumer.stop()


async def publish_events(kafka: KafkaSettings, topic: Topic, events: Sequence[Event]) -> None:
    broker = build_broker(kafka, "bench")
    await broker.start()
    try:
        publisher = EventPublisher(broker, kafka, "bench")
        for batch in in_batches(events, 5000):
            await publisher.publish_many(topic, batch)
    finally:
        await broker.stop()
