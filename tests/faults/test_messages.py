"""Messages that nobody can read, and messages that come again: late, in another order, all of them."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from contracts.topics import CANDLES, RUN_EVENTS, SCHEDULE_STATE, TICKS, Topic
from local_stack.keeper import KeptKafka
from support.faults.system import Operated, operated
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
SEED = 20_261_122
POISON = (b"", b"{", b"\xff\xfe\x00", b'{"type": "Unheard"}', b'{"type": "RunFinished"}', b"[]" * 400_000, None)


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[Operated]:
    async with operated(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        yield running


async def test_poison_is_put_aside_and_everything_else_goes_on(system: Operated) -> None:
    prefix = system.stack.options.topic_prefix
    producer = AIOKafkaProducer(bootstrap_servers=system.stack.kafka, max_request_size=2_000_000)
    await producer.start()
    try:
        for topic in (TICKS, RUN_EVENTS, CANDLES):
            for value in POISON:
                partition = system.random.randrange(topic.partitions)
                sent = await producer.send_and_wait(f"{prefix}{topic.name}", value, b"?", partition=partition)
                system.poison.add((topic.name, partition, sent.offset))
    finally:
        await producer.stop()
    evidence = await system.judge()
    assert len(evidence.letters) >= len(evidence.poison) == 3 * len(POISON)


async def test_everything_again_in_another_order_changes_no_table(system: Operated) -> None:
    for config_id in system.config_ids[:10]:
        await system.trigger(config_id)  # reaches back a page: candles that are fetched twice
    await system.judge()
    await system.stack.processes["collector"].stop()
    before = await tables(system.database_url)
    again = 0
    for topic in (RUN_EVENTS, CANDLES):
        again += await send_again(system.stack.kafka, f"{system.stack.options.topic_prefix}{topic.name}", topic, SEED)
    assert again > 60

    await caught_up(system)
    assert await tables(system.database_url) == before


async def send_again(kafka: str, name: str, topic: Topic, seed: int) -> int:
    """All that the topic holds, shuffled, under the same keys. Returns how many."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await consumer.start()
    await producer.start()
    try:
        partitions = [TopicPartition(name, number) for number in range(topic.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning()
        records = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for some in (await consumer.getmany(timeout_ms=200)).values():
                records += some
        random.Random(seed).shuffle(records)
        for record in records:
            # One at a time, so that copies of one thing come in several batches, and none folds them away.
            await producer.send_and_wait(name, record.value, record.key, headers=list(record.headers))
    finally:
        await consumer.stop()
        await producer.stop()
    return len(records)


async def caught_up(system: Operated) -> None:
    """The writers have committed everything that their topics hold."""
    prefix = system.stack.options.topic_prefix

    async def no_lag() -> bool:
        lags = {}
        for group, topics in (("log-writer", (RUN_EVENTS, SCHEDULE_STATE)), ("candle-writer", (CANDLES,))):
            consumer = AIOKafkaConsumer(
                bootstrap_servers=system.stack.kafka, group_id=f"{prefix}{group}", enable_auto_commit=False
            )
            await consumer.start()
            try:
                partitions = [TopicPartition(f"{prefix}{t.name}", n) for t in topics for n in range(t.partitions)]
                for partition, end in (await consumer.end_offsets(partitions)).items():
                    lags[partition] = end - (await consumer.committed(partition) or 0)
            finally:
                await consumer.stop()
        assert not any(lags.values()), {str(partition): lag for partition, lag in lags.items() if lag}
        return True

    await eventually(no_lag, within=40, every=1)


async def tables(database_url: str) -> list[object]:
    connection = await asyncpg.connect(database_url)
    try:
        runs = await connection.fetch("SELECT * FROM job_execution_logs ORDER BY run_id")
        candles = await connection.fetch("SELECT * FROM candles ORDER BY series_id, open_time")
    finally:
        await connection.close()
    return [[dict(row) for row in runs], [tuple(row) for row in candles]]
