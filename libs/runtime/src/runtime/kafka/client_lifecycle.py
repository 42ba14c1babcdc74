"""Starting and closing aiokafka's clients, neither of which ends by itself while Kafka is away."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from runtime.kafka.aiokafka_internals import disconnect, drop_unsent
from runtime.logs import log
from runtime.waiting import wait_for_event

START_SECONDS = 60.0
"""Reaching every bootstrap server in turn, each within its request timeout, and asking it a few things."""

_PAUSE_SECONDS = 1.0
_CLOSE_SECONDS = 3.0
"""A goodbye takes milliseconds; to a Kafka that is away it would take for ever, and a stop must not."""


class ConsumerDied(Exception):  # noqa: N818 -- it names what happened
    """The consumer's group membership has broken down for good; only a restart helps."""


async def start_consumer(
    build: Callable[[], AIOKafkaConsumer], stopping: asyncio.Event, *, group: str
) -> AIOKafkaConsumer | None:
    """A started, unsubscribed consumer; None when told to stop before Kafka answered.

    Subscribe afterwards: then polling begins at once and surfaces the group's errors, while `start()` of a subscribed
    consumer waits silently for its first assignment.
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
    """Raises `KafkaError` or `TimeoutError`: an idempotent one waits for its id for as long as an outage lasts."""
    async with asyncio.timeout(START_SECONDS):
        await producer.start()


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave the group and disconnect, within a time limit."""
    if not await close_in_time(consumer.stop(), "A consumer could not leave its group", action="consumer_stop_failed"):
        await close_in_time(disconnect(consumer), "A consumer could not disconnect", action="consumer_stop_failed")


async def abandon_producer(producer: AIOKafkaProducer) -> None:
    """Stop within a time limit, and drop what is not acknowledged: `stop` would send it for as long as it takes."""
    await close_in_time(drop_unsent(producer), "A producer could not disconnect", action="producer_stop_failed")


async def close_in_time(closing: Coroutine[Any, Any, None], sentence: str, *, action: str) -> bool:
    """Await it for some seconds. Whether it ended well; if not, the log says so.

    In a task of its own: aiokafka cancels its fetches when it is closed, and amid an outage it trips over that itself
    and raises CancelledError, which would pass for an order to whoever closes it.
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
    log.warning(sentence, action=action, error=repr(error))
    return False
