"""All that we lean on inside aiokafka (pinned below 0.15), in one place, each with the reason.

`tests/unit/runtime/test_small_parts.py` fails when one of these moves.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.producer.transaction_manager import NO_PRODUCER_EPOCH, NO_PRODUCER_ID, PidAndEpoch
from faststream.kafka import KafkaBroker

NOTHING = TopicPartition("__nothing__", 0)
"""A partition that nobody has: polling it returns nothing, but counts as a poll and surfaces the group's errors."""


def coordinator_problem(consumer: AIOKafkaConsumer) -> str | None:
    """Whether the group coordination task has died. Then the consumer would stay silent for ever, without an error
    (`ping()` of its broker still succeeds), and only a restart helps.
    """
    coordinator = consumer._coordinator  # noqa: SLF001
    task = getattr(coordinator, "_coordination_task", None)
    if task is None or not task.done():
        return None
    return "the consumer's coordination task has ended"


def idle_seconds(consumer: AIOKafkaConsumer) -> float:
    """Time since the last poll ended; 0 while one is under way. FastStream's own loop cannot be asked otherwise."""
    return float(consumer._subscription.fetcher_idle_time)  # noqa: SLF001


def is_member(consumer: AIOKafkaConsumer) -> bool:
    """Whether the group knows us. A commit without membership is taken by Kafka when the group is empty, and could
    then rewind what another member had committed.
    """
    return bool(consumer._coordinator.generation >= 0)  # noqa: SLF001


async def committed_with_metadata(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, tuple[int, str]]:
    """Committed (offset, metadata) of those that have one. The public `committed()` drops the metadata."""
    stored = await consumer._coordinator.fetch_committed_offsets(list(partitions))  # noqa: SLF001
    return {partition: (each.offset, each.metadata) for partition, each in stored.items()}


def position(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """The next offset to be polled, None while it is not known. The public `position()` would wait for it."""
    state = _state(consumer, partition)
    return int(state.position) if state is not None and state.has_valid_position else None


def highwater(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """The end of the log as of the last fetch, None before it. The public `highwater()` asserts an assignment."""
    state = _state(consumer, partition)
    return None if state is None or state.highwater is None else int(state.highwater)


def on_heartbeat(consumer: AIOKafkaConsumer, beat: Callable[[float], None]) -> None:
    """Call `beat(monotonic time of sending)` for each heartbeat that the group answered well. aiokafka keeps that
    moment in a local variable; a scheduler needs it to stop before another may have taken over.
    """
    coordinator = consumer._coordinator  # noqa: SLF001
    send = coordinator._do_heartbeat  # noqa: SLF001

    async def send_and_tell() -> Any:
        sent_at = time.monotonic()
        succeeded = await send()
        if succeeded:
            beat(sent_at)
        return succeeded

    coordinator._do_heartbeat = send_and_tell  # noqa: SLF001


def producer_of(broker: KafkaBroker) -> AIOKafkaProducer | None:
    """The producer inside a FastStream broker, None while it is not started."""
    state: Any = getattr(broker.config.producer, "_producer", None)
    return state.producer if state else None


def producer_problem(producer: AIOKafkaProducer) -> str | None:
    """Whether the task that sends has died. Then every publication fails for ever, and only a new producer helps."""
    task = producer._sender.sender_task  # noqa: SLF001
    return "the producer's sending task has ended" if task is not None and task.done() else None


async def disconnect(consumer: AIOKafkaConsumer) -> None:
    """What is left to do when `stop` has failed half way."""
    await consumer._client.close()  # noqa: SLF001


async def drop_unsent(producer: AIOKafkaProducer) -> None:
    """Stop without flushing, for which aiokafka has no public way: with an idempotent producer a flush lasts as long
    as the outage. What is on its way to a broker has two seconds to be answered.
    """
    sending = producer._sender.sender_task  # noqa: SLF001
    if sending is not None:
        for patience in (2.0, 1.0):
            sending.cancel()  # the first ends the loop, which then waits for its requests; the second ends the waiting
            await asyncio.wait([sending], timeout=patience)
    await producer.client.close()
    producer._closed = True  # noqa: SLF001 -- or it complains when collected


def renew_producer_id(producer: AIOKafkaProducer) -> None:
    """Have an idempotent producer count from zero under a new id, as Java's does after a batch has failed.

    aiokafka counts a batch that was refused, or given up while its partition had no leader, as sent. To the broker a
    number is missing then, and it refuses whatever else the producer sends to that partition, for ever
    (OutOfOrderSequenceNumber). What is being sent again meanwhile keeps the old id, so it is still recognised.
    """
    manager = producer._txn_manager  # noqa: SLF001
    manager._pid_and_epoch = PidAndEpoch(NO_PRODUCER_ID, NO_PRODUCER_EPOCH)  # noqa: SLF001
    manager._pid_waiter = asyncio.get_running_loop().create_future()  # noqa: SLF001
    manager._sequence_numbers.clear()  # noqa: SLF001


def _state(consumer: AIOKafkaConsumer, partition: TopicPartition) -> Any:
    subscription = consumer._subscription.subscription  # noqa: SLF001
    assignment = None if subscription is None else subscription.assignment
    return None if assignment is None else assignment.state_value(partition)
