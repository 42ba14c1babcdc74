"""Notices when a producer has broken down for good: a restart of the process is the only cure, so the worker ends."""

import asyncio
import contextlib

from faststream.kafka import KafkaBroker

from runtime.kafka.aiokafka_internals import producer_of, producer_problem
from runtime.lifecycle.background import Background

_LOOK_SECONDS = 1.0


class ProducerDied(Exception):  # noqa: N818 -- it names what happened
    """Nothing can be published any more."""


class ProducerWatch:
    """Looks at a broker's producer now and then, for as long as the worker lives."""

    def __init__(self, broker: KafkaBroker) -> None:
        self._broker = broker
        self._stopping = asyncio.Event()

    def background(self) -> Background:
        """For the worker."""
        return Background("producer", self.run, self.stop, self.liveness)

    def liveness(self) -> str | None:
        producer = producer_of(self._broker)
        return None if producer is None else producer_problem(producer)

    async def run(self) -> None:
        """Until stopped. Raises `ProducerDied`."""
        while not self._stopping.is_set():
            if (problem := self.liveness()) is not None:
                raise ProducerDied(problem)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._stopping.wait()

    async def stop(self) -> None:
        self._stopping.set()
