"""Starts and closes aiokafka's clients within time limits. Without the limits, a start or a close would wait until an
outage ends.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from runtime.kafka.aiokafka_internals import disconnect, drop_unsent
from runtime.logs import log
from runtime.waiting import wait_for_event

START_SECONDS = 60.0
"""Time limit of a start. It is long enough to try each bootstrap server in turn, each within the request timeout."""

_PAUSE_SECONDS = 1.0
_CLOSE_SECONDS = 3.0
"""Time limit of a close. A normal close takes milliseconds. Without the limit, it would last as long as an outage."""


class ConsumerDied(Exception):  # noqa: N818 -- the name states the problem
    """The consumer's group membership has failed permanently. Only a restart helps."""


async def start_consumer(
    build: Callable[[], AIOKafkaConsumer], stopping: asyncio.Event, *, group: str
) -> AIOKafkaConsumer | None:
    """A started, unsubscribed consumer; None if `stopping` was set before Kafka answered.

    Subscribe afterwards. Then polling starts at once and reports the group's errors. `start()` of a subscribed consumer
    waits for its first assignment and reports nothing.
    """
    while not stopping.is_set():
        consumer = build()
        try:
            async with asyncio.timeout(START_SECONDS):
                await consumer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("A consumer could not connect", action="consumer_start_failed", group=group, error=repr(error))
            await close_consumer(consumer)
        else:
            return consumer
        await wait_for_event(stopping, _PAUSE_SECONDS)
    return None


async def start_producer(producer: AIOKafkaProducer) -> None:
    """Start it within a time limit: an idempotent producer would wait until an outage ends. Raises `KafkaError` or
    `TimeoutError`.
    """
    async with asyncio.timeout(START_SECONDS):
        await producer.start()


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave the group and disconnect, within a time limit."""
    if not await close_in_time(consumer.stop(), "A consumer could not leave its group", action="consumer_stop_failed"):
        await close_in_time(disconnect(consumer), "A consumer could not disconnect", action="consumer_stop_failed")


async def abandon_producer(producer: AIOKafkaProducer) -> None:
    """Stop within a time limit, and drop unacknowledged messages, which aiokafka's `stop` would send without limit."""
    await close_in_time(drop_unsent(producer), "A producer could not disconnect", action="producer_stop_failed")


async def close_in_time(closing: Coroutine[Any, Any, None], message: str, *, action: str) -> bool:
    """Await `closing` for up to three seconds. Returns True if it succeeded. Otherwise it logs `message`.

    `closing` runs in a task of its own: while it closes, aiokafka cancels its fetches. During an outage, a cancelled
    fetch may raise CancelledError out of `closing`. Without a separate task, the caller would treat this as its own
    cancellation.
    """
    task = asyncio.ensure_future(closing)
    try:
        await asyncio.wait([task], timeout=_CLOSE_SECONDS)
        error: BaseException | None = TimeoutError() if not task.done() else None
    finally:
        task.cancel()
    if error is None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if error is None:
        return True
    if not isinstance(error, (KafkaError, OSError, asyncio.CancelledError)):
        raise error
    log.warning(message, action=action, error=repr(error))
    return False
