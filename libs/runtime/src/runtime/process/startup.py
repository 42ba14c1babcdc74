"""Getting up, patiently: an outage of Kafka or Postgres at start is waited out, a real mistake is told at once."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

from aiokafka.errors import KafkaError
from faststream.asgi import AsgiFastStream

from contracts.topics import Topic
from runtime.kafka.client_lifecycle import close_in_time
from runtime.kafka.clients import wait_for_kafka
from runtime.kafka.topics import TopicsNotReady, verify
from runtime.logs import log
from runtime.settings import WorkerSettings
from runtime.waiting import Backoff

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_REMIND_SECONDS = 30.0
_BROKER_START_SECONDS = 180.0
"""FastStream waits for every subscriber's first assignment: longer than a slow group takes to hand partitions over."""


class Phase(Protocol):
    """Where a worker says what it is waiting for."""

    problem: str | None


class _Patience:
    """Growing pauses, and a log line now and then."""

    def __init__(self, sentence: str, action: str) -> None:
        self._sentence, self._action = sentence, action
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        self._reminded_at = -_REMIND_SECONDS

    async def wait(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._reminded_at >= _REMIND_SECONDS:
            self._reminded_at = now
            log.warning(self._sentence, action=self._action, error=str(error) or repr(error))
        await self._backoff.sleep()


async def wait_for_topics(settings: WorkerSettings, topics: Sequence[Topic], phase: Phase) -> None:
    """Return once Kafka answers and has the topics as declared. Their job may run after us, so this never gives up."""
    patience = _Patience("Topics are not ready, waiting for them", "topics_not_ready")
    while True:
        await wait_for_kafka(settings)
        try:
            return await verify(settings, topics)
        except (TopicsNotReady, KafkaError, OSError, TimeoutError) as error:
            phase.problem = str(error) or repr(error)
            await patience.wait(error)


async def start_resources(
    open_resources: Callable[[], AbstractAsyncContextManager[None]], stack: AsyncExitStack, phase: Phase
) -> None:
    """Enter the resources on the stack, trying again while what they need is down."""
    patience = _Patience("A resource is not reachable, waiting for it", "resource_unreachable")
    while True:
        try:
            await stack.enter_async_context(open_resources())
        except Exception as error:
            if not is_outage(error):
                raise
            phase.problem = str(error) or repr(error)
            await patience.wait(error)
        else:
            return


async def start_broker(app: AsgiFastStream, settings: WorkerSettings, stack: AsyncExitStack) -> None:
    """Start the producer and FastStream's subscribers; their stop goes on the stack."""
    stack.push_async_callback(_stop_broker, app)
    patience = _Patience("Could not join, trying again", "broker_start_failed")
    while True:
        try:
            async with asyncio.timeout(_BROKER_START_SECONDS):
                await app.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await _stop_broker(app)
            await patience.wait(error)
            await wait_for_kafka(settings)
        else:
            return


async def _stop_broker(app: AsgiFastStream) -> None:
    """Bounded: with the brokers away an idempotent producer would flush for ever."""
    await close_in_time(app.stop(), "Kafka did not let go in time", action="broker_stop_failed")


def is_outage(error: Exception) -> bool:
    """Whether waiting may help: the network, or the database while it is down or starting.

    The database driver is recognised by name, so that services without a database need not install it.
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
        }
    )
