"""Every private member of aiokafka (pinned below 0.15) that we use, each with the reason.

`tests/unit/runtime/test_small_parts.py` fails if one of them no longer exists.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.conn import create_conn
from aiokafka.producer.transaction_manager import NO_PRODUCER_EPOCH, NO_PRODUCER_ID, PidAndEpoch
from faststream.kafka import KafkaBroker

NOTHING = TopicPartition("__nothing__", 0)
"""A partition that does not exist. A poll of it returns no messages, but it counts as a poll for the group and raises
the group's errors.
"""


def coordinator_problem(consumer: AIOKafkaConsumer) -> str | None:
    """A problem if the task for the group coordination has ended, otherwise None. Without this task the consumer
    receives nothing and reports no error; `ping()` of its broker still succeeds. Only a restart helps.
    """
    coordinator = consumer._coordinator  # noqa: SLF001
    task = getattr(coordinator, "_coordination_task", None)
    if task is None or not task.done():
        return None
    return "the consumer's coordination task has ended"


def idle_seconds(consumer: AIOKafkaConsumer) -> float:
    """Time since the last poll ended; 0 during a poll. FastStream's loop does not report this."""
    return float(consumer._subscription.fetcher_idle_time)  # noqa: SLF001


def is_member(consumer: AIOKafkaConsumer) -> bool:
    """Whether this consumer is a member of its group. If the group has no members, Kafka accepts a commit of any
    client. Such a commit could set back the offsets of a former member.
    """
    return bool(consumer._coordinator.generation >= 0)  # noqa: SLF001


async def committed_with_metadata(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, tuple[int, str]]:
    """The committed (offset, metadata) of each partition that has a commit. The public `committed()` omits the
    metadata.
    """
    stored = await consumer._coordinator.fetch_committed_offsets(list(partitions))  # noqa: SLF001
    return {partition: (each.offset, each.metadata) for partition, each in stored.items()}


def position(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """The next offset to poll; None while it is unknown. The public `position()` would wait for it."""
    state = _state(consumer, partition)
    return int(state.position) if state is not None and state.has_valid_position else None


def highwater(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """The partition's end as of the last fetch; None before it. The public `highwater()` requires an assignment."""
    state = _state(consumer, partition)
    return None if state is None or state.highwater is None else int(state.highwater)


def on_heartbeat(consumer: AIOKafkaConsumer, beat: Callable[[float], None]) -> None:
    """Call `beat(monotonic time of sending)` for each heartbeat that the group confirmed. aiokafka has this time only
    in a local variable. A process needs it to stop before another one may own its partitions.
    """
    coordinator = consumer._coordinator  # noqa: SLF001
    send = coordinator._do_heartbeat  # noqa: SLF001

    async def send_and_report() -> Any:
        sent_at = time.monotonic()
        succeeded = await send()
        if succeeded:
            beat(sent_at)
        return succeeded

    coordinator._do_heartbeat = send_and_report  # noqa: SLF001


def producer_of(broker: KafkaBroker) -> AIOKafkaProducer | None:
    """The producer of a FastStream broker; None while it is not started."""
    state: Any = getattr(broker.config.producer, "_producer", None)
    return state.producer if state else None


def producer_problem(producer: AIOKafkaProducer) -> str | None:
    """A problem if the sending task has ended, otherwise None. Without this task every publication fails, and only a
    new producer helps.
    """
    task = producer._sender.sender_task  # noqa: SLF001
    return "the producer's sending task has ended" if task is not None and task.done() else None


async def disconnect(consumer: AIOKafkaConsumer) -> None:
    """Close the connections after `stop` has failed."""
    await consumer._client.close()  # noqa: SLF001


async def drop_unsent(producer: AIOKafkaProducer) -> None:
    """Stop without flushing. aiokafka has no public method for this. The flush of an idempotent producer lasts as long
    as the outage. Requests that were sent have two seconds to be answered.
    """
    sending = producer._sender.sender_task  # noqa: SLF001
    if sending is not None:
        for timeout_seconds in (2.0, 1.0):
            sending.cancel()  # the first cancel ends the loop, the second ends its wait for open requests
            await asyncio.wait([sending], timeout=timeout_seconds)
    await producer.client.close()
    producer._closed = True  # noqa: SLF001 -- otherwise the producer logs a warning when it is garbage-collected


def renew_producer_id(producer: AIOKafkaProducer) -> None:
    """Give an idempotent producer a new id, under which it counts from zero. Java's producer does this after a batch
    has failed.

    aiokafka counts a batch as sent even if it was refused, or abandoned while its partition had no leader. Then the
    broker misses a sequence number and refuses all further batches for that partition (OutOfOrderSequenceNumber).
    Batches that are being retried keep the old id, so the broker still recognises duplicates.
    """
    manager = producer._txn_manager  # noqa: SLF001
    manager._pid_and_epoch = PidAndEpoch(NO_PRODUCER_ID, NO_PRODUCER_EPOCH)  # noqa: SLF001
    manager._pid_waiter = asyncio.get_running_loop().create_future()  # noqa: SLF001
    manager._sequence_numbers.clear()  # noqa: SLF001


def _state(consumer: AIOKafkaConsumer, partition: TopicPartition) -> Any:
    subscription = consumer._subscription.subscription  # noqa: SLF001
    assignment = None if subscription is None else subscription.assignment
    return None if assignment is None else assignment.state_value(partition)


async def check_connection(server: str, security: Mapping[str, Any]) -> None:
    """Connect to one broker, log in, and disconnect. Raises the error that aiokafka's clients only log."""
    host, _, port = server.rpartition(":")
    connection = await create_conn(host.strip("[]"), int(port), client_id="candlekeep-check", **security)
    await connection.close()
