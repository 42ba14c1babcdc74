"""Publishes where schedules stand, after their ticks: the one writer of schedule-state.

Delivery: at least once, newest state only. It keeps ids and reads the book when it publishes, so what waits while
Kafka is away is small and never outdated. An instance that stood still while another took its partitions over says
nothing about them any more: that would bring their schedules' past back.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from itertools import islice

from contracts.topics import SCHEDULE_STATE
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.logs import log
from runtime.waiting import Backoff, wait_for_event
from scheduler.book import Book
from scheduler.clock import Clock
from scheduler.entry import Entry, state_of
from scheduler.metrics import SchedulerMetrics

_BATCH = 1000
_FIRST_RETRY_SECONDS = 0.2
_GATHER_SECONDS = 0.1
"""States follow their ticks by this much, to travel together: one request instead of ten, here and at every reader. A
crash in between costs the same run_id once more."""
_SILENCE_SECONDS = 0.1


class StatePublisher:
    """What is still to be remembered, or forgotten, in schedule-state."""

    def __init__(
        self,
        book: Book,
        publisher: EventPublisher,
        clock: Clock,
        metrics: SchedulerMetrics,
        *,
        longest_pause: float,
        replaced: Callable[[], bool],
    ) -> None:
        """`replaced`: whether the group has not confirmed us lately."""
        self._book, self._publisher, self._clock, self._metrics = book, publisher, clock, metrics
        self._longest_pause, self._replaced = longest_pause, replaced
        self._forgetting: dict[int, bool] = {}
        """By config id, in order of arrival: whether to publish a tombstone rather than its state."""
        self._held: set[int] = set()
        """Ids whose partition is not live, so that another instance may know more of them than we do."""
        self._handing_over = False
        self._something = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._stopping = asyncio.Event()
        self._ended = False

    def remember(self, config_id: int) -> None:
        self._add(config_id, forget=False)

    def forget(self, config_id: int) -> None:
        self._add(config_id, forget=True)

    def backlog(self) -> int:
        return len(self._forgetting)

    def silenced(self) -> bool:
        """Whether another instance may speak for our configs by now."""
        return self._replaced()

    def resume(self) -> None:
        """A partition is live again: what was held back about it can be said."""
        held, self._held = self._held, set()
        for config_id in held - self._forgetting.keys():
            self.remember(config_id)

    @contextlib.contextmanager
    def handing_over(self) -> Iterator[None]:
        """Partitions are held and still ours: what is remembered of them must be said now or never."""
        self._handing_over = True
        try:
            yield
        finally:
            self._handing_over = False

    async def run(self) -> None:
        """Publish until stopped, then publish what is left, if it is still ours to say."""
        while not self._stopping.is_set() or self._forgetting:
            await self._something.wait()
            self._something.clear()
            await wait_for_event(self._stopping, _GATHER_SECONDS)
            while self._forgetting:
                batch = dict(islice(self._forgetting.items(), _BATCH))
                if not await self._publish(batch):
                    self._ended = True  # and not flushed
                    return
            self._flushed.set()
        self._ended = True

    async def stop(self) -> None:
        self._stopping.set()
        self._something.set()

    async def flush(self, within: float) -> bool:
        """Wait until all is acknowledged; False when it was not, within so many seconds, or is not ours to say."""
        if self._ended or self._replaced():
            return self._flushed.is_set()
        return await wait_for_event(self._flushed, within)

    def _add(self, config_id: int, *, forget: bool) -> None:
        self._forgetting.pop(config_id, None)
        self._forgetting[config_id] = forget
        self._flushed.clear()
        self._something.set()

    async def _publish(self, batch: dict[int, bool]) -> bool:
        """Publish until acknowledged. False when told to stop while it is not ours to say."""
        for config_id in batch:
            del self._forgetting[config_id]
        backoff = Backoff(_FIRST_RETRY_SECONDS, self._longest_pause, jitter=True)
        while True:
            if not await self._ours():
                break
            try:
                await self._publish_once(batch)
                return True
            except PublishFailed as error:
                self._metrics.retries.labels(SCHEDULE_STATE.name).inc()
                log.warning("schedule-state was not acknowledged, trying again", action="state_retry", error=str(error))
            await backoff.sleep()
        return False

    async def _ours(self) -> bool:
        """Wait until the group has confirmed us again; False when told to stop meanwhile."""
        while self._replaced():
            if self._stopping.is_set():
                return False
            await asyncio.sleep(_SILENCE_SECONDS)
        return True

    async def _publish_once(self, batch: dict[int, bool]) -> None:
        now = self._clock()
        entries = [self._book.get(config_id) for config_id, forget in batch.items() if not forget]
        # One that owes its initial tick stays as it was remembered before: its state would say that nothing is owed.
        told = [entry for entry in entries if entry is not None and entry.initial is None]
        if not self._handing_over:
            self._held |= {entry.plan.config_id for entry in told if not self._is_live(entry)}
            told = [entry for entry in told if self._is_live(entry)]
        await self._publisher.publish_many(SCHEDULE_STATE, [state_of(entry, now) for entry in told])
        await self._publisher.tombstones(SCHEDULE_STATE, [str(each) for each, forget in batch.items() if forget])

    def _is_live(self, entry: Entry) -> bool:
        return self._book.firing(entry.plan.config_id) is not None
