"""Handling one message until it is handled or put aside."""

import math
from collections.abc import Awaitable, Callable

from aiokafka import ConsumerRecord

from contracts.event import Event
from runtime.dead_letters import DeadLetters
from runtime.logs import log
from runtime.waiting import Backoff

Handler = Callable[[Event, ConsumerRecord], Awaitable[None]]


class Attempts:
    """Tries a handler a bounded number of times, then makes a dead letter.

    A bug in a handler must not freeze its partition. Cancellation passes through: such a message is not finished.
    """

    def __init__(
        self,
        handler: Handler,
        dead_letters: DeadLetters,
        *,
        attempts: int,
        first_pause: float,
        on_retry: Callable[[], None],
    ) -> None:
        self._handler, self._dead_letters = handler, dead_letters
        self._attempts, self._first_pause, self._on_retry = attempts, first_pause, on_retry

    async def settle(self, event: Event, record: ConsumerRecord) -> None:
        """Return when the message is handled, or acknowledged as a dead letter."""
        backoff = Backoff(self._first_pause, math.inf, jitter=True)
        for attempt in range(1, self._attempts + 1):
            if (error := await self._try(event, record, attempt)) is None:
                return self._dead_letters.handled()
            if attempt < self._attempts:
                self._on_retry()
                await backoff.sleep()
        return await self._dead_letters.send(record, f"{type(error).__name__}: {error}", self._attempts)

    async def _try(self, event: Event, record: ConsumerRecord, attempt: int) -> Exception | None:
        try:
            await self._handler(event, record)
        except Exception as error:  # noqa: BLE001 -- whatever a handler raises, it has failed
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
