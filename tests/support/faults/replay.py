"""Sends the messages of a topic again in another order, and reads the tables, which must not change."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from contracts.topics import CANDLES, RUN_EVENTS, SCHEDULE_STATE, Topic
from support.faults.system import RunningSystem
from support.faults.topic_records import read_records
from support.polling import eventually

_READERS: Mapping[str, Sequence[Topic]] = {"log-writer": (RUN_EVENTS, SCHEDULE_STATE), "candle-writer": (CANDLES,)}
_TABLES = (
    "SELECT * FROM job_execution_logs ORDER BY run_id",
    "SELECT * FROM scheduled_jobs ORDER BY config_id",
    "SELECT * FROM candles ORDER BY series_id, open_time",
    "SELECT * FROM coverage ORDER BY series_id",
    "SELECT * FROM absences ORDER BY series_id, starts_at",
    'SELECT * FROM rejected_candles ORDER BY series_id, open_time, "row"',
)


async def replay_shuffled(system: RunningSystem, topic: Topic, seed: int) -> int:
    """Send all messages of the topic again: shuffled, with the same keys, some of them twice. Returns their number."""
    records = await read_records(system.stack, topic)
    shuffler = random.Random(seed)
    records += shuffler.sample(records, len(records) // 4)
    shuffler.shuffle(records)
    await send_records(system, topic, records)
    return len(records)


async def send_records(system: RunningSystem, topic: Topic, records: Sequence[Any]) -> None:
    """Send in this order and one at a time, so that copies of one message arrive in different batches."""
    producer = AIOKafkaProducer(bootstrap_servers=system.stack.kafka)
    await producer.start()
    try:
        for record in records:
            await producer.send_and_wait(
                record.topic, record.value, record.key, partition=record.partition, headers=list(record.headers)
            )
    finally:
        await producer.stop()


async def lags(system: RunningSystem, group: str) -> dict[str, int]:
    """The number of messages that the group has not committed, by partition. Partitions without lag are left out."""
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


async def wait_until_caught_up(system: RunningSystem, *, within: float = 40.0) -> None:
    """Wait until the writers have committed all messages of their topics."""

    async def no_lag() -> bool:
        behind = [await lags(system, group) for group in _READERS]
        assert not any(behind), behind
        return True

    await eventually(no_lag, within=within, every=1)


async def read_tables(database_url: str) -> list[object]:
    connection = await asyncpg.connect(database_url)
    try:
        return [[dict(row) for row in await connection.fetch(sql)] for sql in _TABLES]
    finally:
        await connection.close()


def partitions_of(system: RunningSystem, topic: Topic) -> list[TopicPartition]:
    name = f"{system.stack.options.topic_prefix}{topic.name}"
    return [TopicPartition(name, number) for number in range(topic.partitions)]
