"""Handles one message with retries. If all attempts fail, the message becomes a dead letter."""

import math
from collections.abc import Awaitable, Callable

from aiokafka import ConsumerRecord

from contracts.event import Event
from runtime.dead_letters import DeadLetters
from runtime.logs import log
from runtime.waiting import Backoff

Handler = Callable[[Event, ConsumerRecord], Awaitable[None]]


class Attempts:
    """Calls a handler a limited number of times, then stores the message as a dead letter.

    A bug in a handler must not block its partition. A cancellation is raised to the caller, and the message is then not
    finished.
    """

    def __init__(
        self,
        handler: Handler,
        dead_letters: DeadLetters,
        *,
        attempts: int,
        initial_wait: float,
        on_retry: Callable[[], None],
    ) -> None:
        self._handler, self._dead_letters = handler, dead_letters
        self._attempts, self._initial_wait, self._on_retry = attempts, initial_wait, on_retry

    async def handle(self, event: Event, record: ConsumerRecord, handler: Handler | None = None) -> None:
        """Returns when the message is handled, or Kafka has acknowledged it as a dead letter.

        `handler`: called instead of the usual handler.
        """
        backoff = Backoff(self._initial_wait, math.inf, jitter=True)
        for attempt in range(1, self._attempts + 1):
            if (error := await self._try(handler or self._handler, event, record, attempt)) is None:
                return self._dead_letters.handled()
            if attempt < self._attempts:
                self._on_retry()
                await backoff.sleep()
        return await self._dead_letters.send(record, f"{type(error).__name__}: {error}", self._attempts)

    async def _try(self, handler: Handler, event: Event, record: ConsumerRecord, attempt: int) -> Exception | None:
        try:
            await handler(event, record)
        except Exception as error:  # noqa: BLE001 -- any exception of a handler is a failed attempt
            log.warning(
                "Handling a message failed",
                action="handler_failed",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                attempt=attempt,
                exc_info=error,
            )
            return error
        return None
