"""Health checks and lag of one consumer."""

import time
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition

from runtime.kafka.aiokafka_internals import coordinator_problem, highwater, position
from runtime.metrics import ConsumerMetrics

POLL_LIMIT_SECONDS = 60.0
"""A consumer loop that has not polled for longer than this is stuck."""

REBALANCE_LIMIT_SECONDS = 90.0
"""A rebalance that takes longer than this is an outage of the group."""


class ConsumerMonitor:
    """Records one consumer's polls and rebalances. The liveness check sends no request to Kafka."""

    def __init__(self, name: str, metrics: ConsumerMetrics) -> None:
        self.name = name
        self.metrics = metrics
        self.consumer: AIOKafkaConsumer | None = None
        self._polled_at: float | None = None
        self._polling = False
        self._unassigned_since = time.monotonic()
        self._assigned: bool | None = None

    def attach(self, consumer: AIOKafkaConsumer) -> None:
        self.consumer = consumer

    def poll_started(self) -> None:
        self._polling = True

    def poll_ended(self) -> None:
        self._polling = False
        self._polled_at = time.monotonic()

    def revoked(self) -> None:
        if self._assigned:
            self._unassigned_since = time.monotonic()
            self._assigned = False

    def assigned(self) -> None:
        self.metrics.rebalances.labels(self.name).inc()
        self._assigned = True

    def liveness(self) -> str | None:
        """A problem if the coordination task has ended, or if the loop no longer polls. A poll that waits for Kafka is
        not a problem.
        """
        if self.consumer is None:
            return None
        if (problem := coordinator_problem(self.consumer)) is not None:
            return problem
        if self._polling or self._polled_at is None:
            return None
        age = time.monotonic() - self._polled_at
        return f"has not polled for {age:.0f} s" if age > POLL_LIMIT_SECONDS else None

    def readiness(self) -> str | None:
        """A problem before the first assignment, and during a rebalance that takes too long. A member without
        partitions is ready.
        """
        if self._assigned is None:
            return "not assigned to any partition yet"
        waiting = time.monotonic() - self._unassigned_since
        if not self._assigned and waiting > REBALANCE_LIMIT_SECONDS:
            return f"the group has been rebalancing for {waiting:.0f} s"
        return None

    def report_lag(self, unfinished: Callable[[TopicPartition], int] = lambda _: 0) -> None:
        """Set the lag of each assigned partition from which something was fetched. `unfinished`: messages that were
        read, but are not finished yet.
        """
        if self.consumer is None:
            return
        lag = {}
        for partition in self.consumer.assignment():
            end, at = highwater(self.consumer, partition), position(self.consumer, partition)
            if end is not None and at is not None:
                lag[(partition.topic, partition.partition)] = max(0, end - at) + unfinished(partition)
        self.metrics.report_lag(self.name, lag)
