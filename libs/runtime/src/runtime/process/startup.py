"""The steps of a worker's start. During an outage of Kafka or Postgres they wait; other errors are raised at once."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker

from contracts.topics import Topic
from runtime.kafka.client_lifecycle import close_in_time
from runtime.kafka.clients import wait_for_kafka
from runtime.kafka.topics import TopicsNotReady, verify
from runtime.logs import log
from runtime.settings import WorkerSettings
from runtime.waiting import Backoff

_INITIAL_DELAY_SECONDS = 0.2
_MAX_DELAY_SECONDS = 5.0
_LOG_EVERY_SECONDS = 30.0
_BROKER_START_SECONDS = 180.0
"""FastStream waits for the first assignment of each subscriber, so this is longer than a slow rebalance."""


class Phase(Protocol):
    """Holds the reason why the worker is not ready."""

    problem: str | None


class _OutageWait:
    """Waits between attempts with growing delays, and logs the outage at most every 30 s."""

    def __init__(self, sentence: str, action: str) -> None:
        self._sentence, self._action = sentence, action
        self._backoff = Backoff(_INITIAL_DELAY_SECONDS, _MAX_DELAY_SECONDS)
        self._logged_at = -_LOG_EVERY_SECONDS

    async def wait(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._logged_at >= _LOG_EVERY_SECONDS:
            self._logged_at = now
            log.warning(self._sentence, action=self._action, error=str(error) or repr(error))
        await self._backoff.sleep()


async def wait_for_topics(settings: WorkerSettings, topics: Sequence[Topic], phase: Phase) -> None:
    """Return when Kafka answers and has the topics as declared. There is no time limit: the job that provisions the
    topics may run later than this worker.
    """
    outage = _OutageWait("Topics are not ready, waiting for them", "topics_not_ready")
    while True:
        await wait_for_kafka(settings)
        try:
            return await verify(settings, topics)
        except (TopicsNotReady, KafkaError, OSError, TimeoutError) as error:
            phase.problem = str(error) or repr(error)
            await outage.wait(error)


async def start_resources(
    open_resources: Callable[[], AbstractAsyncContextManager[None]], stack: AsyncExitStack, phase: Phase
) -> None:
    """Enter the resources on the stack. Retries during an outage; raises any other error, such as `StartupRefused`."""
    outage = _OutageWait("A resource is not reachable, waiting for it", "resource_unreachable")
    while True:
        try:
            await stack.enter_async_context(open_resources())
        except Exception as error:
            if not is_outage(error):
                raise
            phase.problem = str(error) or repr(error)
            await outage.wait(error)
        else:
            return


async def start_broker(broker: KafkaBroker, settings: WorkerSettings, stack: AsyncExitStack) -> None:
    """Start the producer and FastStream's subscribers, and push their stop on the stack. Retries during an outage."""
    stack.push_async_callback(_stop_broker, broker)
    outage = _OutageWait("The producer and the consumers could not start, trying again", "broker_start_failed")
    while True:
        try:
            async with asyncio.timeout(_BROKER_START_SECONDS):
                await broker.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await _stop_broker(broker)
            await outage.wait(error)
            await wait_for_kafka(settings)
        else:
            return


async def _stop_broker(broker: KafkaBroker) -> None:
    """Stop the broker within a time limit. While Kafka is unavailable, an idempotent producer would flush
    indefinitely.
    """
    await close_in_time(broker.stop(), "The connections to Kafka did not close in time", action="broker_stop_failed")


def is_outage(error: Exception) -> bool:
    """Whether waiting may help: the network fails, or the database is down or starting.

    Errors of the database driver are recognised by name, so that services without a database need not install it.
    """
    if isinstance(error, (OSError, TimeoutError)):
        return True
    names = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
    return bool(
        names
        & {
            "sqlalchemy.OperationalError",
            "sqlalchemy.InterfaceError",
            "asyncpg.CannotConnectNowError",
            "asyncpg.PostgresConnectionError",
            "asyncpg.InterfaceError",
            "asyncpg.InternalClientError",
        }
    )
