"""What a system's topics hold, once more and in another order; and the tables that must not notice."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from contracts.topics import CANDLES, RUN_EVENTS, SCHEDULE_STATE, Topic
from support.faults.records import read_records
from support.faults.system import Operated
from support.polling import eventually

_READERS: Mapping[str, Sequence[Topic]] = {"log-writer": (RUN_EVENTS, SCHEDULE_STATE), "candle-writer": (CANDLES,)}


async def send_again(system: Operated, topic: Topic, seed: int) -> int:
    """All that the topic holds, shuffled, under the same keys, some of it twice. Returns how many."""
    records = await read_records(system.stack, topic)
    dice = random.Random(seed)
    records += dice.sample(records, len(records) // 4)
    dice.shuffle(records)
    await send(system, topic, records)
    return len(records)


async def send(system: Operated, topic: Topic, records: Sequence[Any]) -> None:
    """In this order, and one at a time, so that copies of one thing come in several batches and none folds them."""
    producer = AIOKafkaProducer(bootstrap_servers=system.stack.kafka)
    await producer.start()
    try:
        for record in records:
            await producer.send_and_wait(
                record.topic, record.value, record.key, partition=record.partition, headers=list(record.headers)
            )
    finally:
        await producer.stop()


async def lags(system: Operated, group: str) -> dict[str, int]:
    """What the group has not committed yet, by partition; nothing of those that it is done with."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=system.stack.kafka,
        group_id=f"{system.stack.options.topic_prefix}{group}",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        partitions = [each for topic in _READERS[group] for each in partitions_of(system, topic)]
        ends = await consumer.end_offsets(partitions)
        behind = {each: end - (await consumer.committed(each) or 0) for each, end in ends.items()}
    finally:
        await consumer.stop()
    return {f"{each.topic}/{each.partition}": lag for each, lag in behind.items() if lag}


async def caught_up(system: Operated, *, within: float = 40.0) -> None:
    """The writers have committed everything that their topics hold."""

    async def no_lag() -> bool:
        behind = [await lags(system, group) for group in _READERS]
        assert not any(behind), behind
        return True

    await eventually(no_lag, within=within, every=1)


async def tables(database_url: str) -> list[object]:
    connection = await asyncpg.connect(database_url)
    try:
        runs = await connection.fetch("SELECT * FROM job_execution_logs ORDER BY run_id")
        jobs = await connection.fetch("SELECT * FROM scheduled_jobs ORDER BY config_id")
        candles = await connection.fetch("SELECT * FROM candles ORDER BY series_id, open_time")
    finally:
        await connection.close()
    return [[dict(row) for row in runs], [dict(row) for row in jobs], [tuple(row) for row in candles]]


def partitions_of(system: Operated, topic: Topic) -> list[TopicPartition]:
    name = f"{system.stack.options.topic_prefix}{topic.name}"
    return [TopicPartition(name, number) for number in range(topic.partitions)]
