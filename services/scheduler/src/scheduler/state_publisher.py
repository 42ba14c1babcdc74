"""Publishes schedule states after their ticks. It is the only writer of schedule-state.

Delivery: at least once, and only the newest state of each config. The queue contains ids, and the book is read at the
time of publication. So the queue stays small during an outage of Kafka, and its states are never outdated. If this
instance was stalled while another one took its partitions over, it publishes nothing about them: an old state would
reset their schedules.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from itertools import islice

from contracts.schedule import JobScheduled
from contracts.topics import SCHEDULE_STATE
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.logs import log
from runtime.waiting import Backoff, wait_for_event
from scheduler.book import Book
from scheduler.clock import Clock
from scheduler.entry import Entry, state_of
from scheduler.metrics import SchedulerMetrics

_BATCH = 1000
_RETRY_INITIAL_WAIT_SECONDS = 0.2
_GATHER_SECONDS = 0.1
"""How long a state waits after its tick, so that many states share a request when they are published and read. After a
crash during this wait, the tick is published again with the same run_id.
"""
_MEMBERSHIP_CHECK_SECONDS = 0.1


class StatePublisher:
    """The states and tombstones that are not published to schedule-state yet."""

    def __init__(
        self,
        book: Book,
        publisher: EventPublisher,
        clock: Clock,
        metrics: SchedulerMetrics,
        *,
        retry_max_wait_seconds: float,
        replaced: Callable[[], bool],
    ) -> None:
        """`replaced` returns whether another instance may own the partitions by now: the group has not confirmed this
        instance recently.
        """
        self._book, self._publisher, self._clock, self._metrics = book, publisher, clock, metrics
        self._retry_max_wait_seconds, self._replaced = retry_max_wait_seconds, replaced
        self._queue: dict[int, bool] = {}
        """By config id, in order of arrival: whether to publish a tombstone instead of the state."""
        self._paused: set[int] = set()
        """Ids whose partition is not live, so another instance may know a newer state."""
        self._required: set[int] = set()
        """Ids whose state must be published before offsets of their partition are committed."""
        self._handing_over = False
        self._has_work = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._stopping = asyncio.Event()
        self._ended = False

    def queue_state(self, config_id: int, *, required: bool = False) -> None:
        """`required`: the state contains progress that no later state would contain. Until it is published, no offset
        is committed and a hand-over is not complete. This is also the case while a pending initial tick prevents the
        publication.
        """
        if required:
            self._required.add(config_id)
        self._add(config_id, tombstone=False)

    def queue_tombstone(self, config_id: int) -> None:
        self._add(config_id, tombstone=True)

    def missing(self) -> set[int]:
        """The ids of the configs in the book whose required state is not published yet."""
        self._required = {each for each in self._required if self._book.get(each) is not None}
        return self._required

    def backlog(self) -> int:
        return len(self._queue)

    def replaced(self) -> bool:
        """Whether another instance may own the partitions by now."""
        return self._replaced()

    def resume(self) -> None:
        """Queue the paused states again, because a partition is live again."""
        paused, self._paused = self._paused, set()
        for config_id in paused - self._queue.keys():
            self.queue_state(config_id)

    @contextlib.contextmanager
    def handing_over(self) -> Iterator[None]:
        """In a hand-over, the states of paused partitions are published: this is the last opportunity."""
        self._handing_over = True
        try:
            yield
        finally:
            self._handing_over = False

    async def run(self) -> None:
        """Publish until stopped. Then publish the rest of the queue, unless another instance may own the partitions."""
        while not self._stopping.is_set() or self._queue:
            await self._has_work.wait()
            self._has_work.clear()
            await wait_for_event(self._stopping, _GATHER_SECONDS)
            while self._queue:
                batch = dict(islice(self._queue.items(), _BATCH))
                if not await self._publish(batch):
                    self._ended = True  # `_flushed` stays unset, because some states are not published
                    return
            self._flushed.set()
        self._ended = True

    async def stop(self) -> None:
        self._stopping.set()
        self._has_work.set()

    async def flush(self, seconds: float) -> bool:
        """Wait until all states are acknowledged, at most `seconds`. Returns whether they are."""
        if self._ended or self._replaced():
            return self._flushed.is_set() and not self.missing()
        return await wait_for_event(self._flushed, seconds) and not self.missing()

    def _add(self, config_id: int, *, tombstone: bool) -> None:
        self._queue.pop(config_id, None)
        self._queue[config_id] = tombstone
        self._flushed.clear()
        self._has_work.set()

    async def _publish(self, batch: dict[int, bool]) -> bool:
        """Publish until acknowledged. Returns False if stopped while another instance may own the partitions."""
        for config_id in batch:
            del self._queue[config_id]
        backoff = Backoff(_RETRY_INITIAL_WAIT_SECONDS, self._retry_max_wait_seconds, jitter=True)
        while True:
            if not await self._wait_for_membership():
                break
            try:
                await self._publish_once(batch)
                return True
            except PublishFailed as error:
                self._metrics.retries.labels(SCHEDULE_STATE.name).inc()
                log.warning(
                    "Kafka did not acknowledge schedule states, trying again", action="state_retry", error=str(error)
                )
            await backoff.sleep()
        return False

    async def _wait_for_membership(self) -> bool:
        """Wait until the group has confirmed this instance again. Returns False if stopped meanwhile."""
        while self._replaced():
            if self._stopping.is_set():
                return False
            await asyncio.sleep(_MEMBERSHIP_CHECK_SECONDS)
        return True

    async def _publish_once(self, batch: dict[int, bool]) -> None:
        now = self._clock()
        entries = [self._book.get(config_id) for config_id, tombstone in batch.items() if not tombstone]
        # A pending initial tick is not part of the state, so the earlier state stays until the tick is acknowledged.
        ready = [entry for entry in entries if entry is not None and entry.initial is None]
        if not self._handing_over:
            self._paused |= {entry.plan.config_id for entry in ready if not self._is_live(entry)}
            ready = [entry for entry in ready if self._is_live(entry)]
        states = [state for entry in ready if (state := _state_of(entry, now)) is not None]
        await self._publisher.publish_many(SCHEDULE_STATE, states)
        self._required -= {entry.plan.config_id for entry in ready} - self._queue.keys()
        await self._publisher.tombstones(SCHEDULE_STATE, [str(each) for each, tombstone in batch.items() if tombstone])

    def _is_live(self, entry: Entry) -> bool:
        return self._book.live_entry(entry.plan.config_id) is not None


def _state_of(entry: Entry, now: int) -> JobScheduled | None:
    """If the state cannot be built, logs this and returns None, so that the states of other configs are still
    published.
    """
    try:
        return state_of(entry, now)
    except (ValueError, OverflowError):
        log.exception(
            "The state of a schedule cannot be published. The runbook says how to reset the schedule",
            action="state_impossible",
            config_id=entry.plan.config_id,
        )
        return None
