"""Records when the consumer group last confirmed the membership of this process."""

import time
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer

from runtime.kafka.aiokafka_internals import is_member, on_heartbeat
from runtime.settings import KafkaSettings


class MembershipFence:
    """Stores the sending time of the last successful heartbeat, or the time of the last join."""

    def __init__(self, limit_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit_seconds, clock
        self._last: float | None = None
        self._consumer: AIOKafkaConsumer | None = None

    @classmethod
    def of(cls, settings: KafkaSettings) -> "MembershipFence":
        """The limit is half the session timeout. The group gives the partitions to another member only after the whole
        timeout.
        """
        return cls(settings.kafka_session_timeout_ms / 1000 / 2)

    def attach(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        on_heartbeat(consumer, self.confirmed)

    def confirmed(self, sent_at: float) -> None:
        self._last = sent_at

    def joined(self) -> None:
        """Record a join, which confirms the membership like a heartbeat."""
        self._last = self._clock()

    def is_fresh(self) -> bool:
        """Whether the last confirmation is younger than the limit, and the group has not removed the member since."""
        if self._consumer is not None and not is_member(self._consumer):
            return False
        return self._last is not None and self._clock() - self._last < self._limit
