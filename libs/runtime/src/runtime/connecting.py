"""Starting and closing an aiokafka consumer, neither of which ends by itself while Kafka is away."""

import asyncio
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from runtime.logs import log

_PAUSE_SECONDS = 1.0
_CLOSE_SECONDS = 10.0


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
            await consumer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("A consumer could not connect", action="consumer_start_failed", group=group, error=repr(error))
            await close_consumer(consumer)
        else:
            return consumer
        await _pause(stopping)
    return None


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave the group and disconnect, within a time limit."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await consumer.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        log.warning("A consumer could not leave its group", action="consumer_stop_failed", error=repr(error))


async def _pause(stopping: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_PAUSE_SECONDS):
            await stopping.wait()
    except TimeoutError:
        return
