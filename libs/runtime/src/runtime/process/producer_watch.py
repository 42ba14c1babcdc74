"""Detects a producer that failed permanently. Only a restart of the process helps, so the worker stops."""

import asyncio

from faststream.kafka import KafkaBroker

from runtime.kafka.aiokafka_internals import producer_of, producer_problem
from runtime.lifecycle.background import Background
from runtime.waiting import wait_for_event

_CHECK_SECONDS = 1.0


class ProducerDied(Exception):  # noqa: N818 -- the name states the problem
    """The producer failed permanently: nothing more can be published."""


class ProducerWatch:
    """Checks the producer of a broker every second while the worker runs."""

    def __init__(self, broker: KafkaBroker) -> None:
        self._broker = broker
        self._stopping = asyncio.Event()

    def background(self) -> Background:
        return Background("producer", self.run, self.stop, self.liveness)

    def liveness(self) -> str | None:
        producer = producer_of(self._broker)
        return None if producer is None else producer_problem(producer)

    async def run(self) -> None:
        """Run until `stop`. Raises `ProducerDied`."""
        while not self._stopping.is_set():
            if (problem := self.liveness()) is not None:
                raise ProducerDied(problem)
            await wait_for_event(self._stopping, _CHECK_SECONDS)

    async def stop(self) -> None:
        self._stopping.set()
