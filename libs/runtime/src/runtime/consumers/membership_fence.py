"""When did the group last confirm that we belong to it?"""

import time
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer

from runtime.kafka.aiokafka_internals import on_heartbeat


class MembershipFence:
    """Remembers the sending time of the last heartbeat that was answered well, or of the last join."""

    def __init__(self, limit_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit_seconds, clock
        self._last: float | None = None

    def attach(self, consumer: AIOKafkaConsumer) -> None:
        on_heartbeat(consumer, self.beat)

    def beat(self, sent_at: float) -> None:
        self._last = sent_at

    def joined(self) -> None:
        """Joining a group is as good as a heartbeat."""
        self._last = self._clock()

    def is_fresh(self) -> bool:
        """Whether the last confirmation is younger than the limit."""
        return self._last is not None and self._clock() - self._last < self._limit
