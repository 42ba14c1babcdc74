"""Publishes ticks, lane by lane, and moves a schedule on once Kafka has its tick.

Delivery: at least once, with the same run_id. A lane publishes a few batches at a time and asks the book anew before
each try, so a lane that Kafka does not take costs memory for ids only, holds up no other lane, and makes no storm when
it comes back: by then the missed slots are one tick.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from contracts.ticks import lane_of
from contracts.topics import TICKS
from contracts.vocabulary import Trigger
from runtime.failpoints import failpoint
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.logs import log
from runtime.waiting import Backoff, wait_for_event
from scheduler.book import Book
from scheduler.clock import Clock
from scheduler.due import Due, acknowledged, decide, tick_of
from scheduler.due_queue import DueQueue
from scheduler.grid import to_instant
from scheduler.metrics import SchedulerMetrics
from scheduler.settings import SchedulerSettings
from scheduler.state_publisher import StatePublisher

_FIRST_RETRY_SECONDS = 0.2
_BATCHES_AT_ONCE = 4
"""Per lane, so that what falls due while an acknowledgement is awaited does not wait for it."""


@dataclass
class _Lane:
    name: str
    waiting: deque[int] = field(default_factory=deque)
    something: asyncio.Event = field(default_factory=asyncio.Event)


class TickPublisher:
    """Config ids in, acknowledged ticks out."""

    def __init__(
        self,
        settings: SchedulerSettings,
        *,
        book: Book,
        due_queue: DueQueue,
        state_publisher: StatePublisher,
        publisher: EventPublisher,
        clock: Clock,
        metrics: SchedulerMetrics,
    ) -> None:
        self._settings, self._policy = settings, settings.policy()
        self._book, self._due_queue, self._state_publisher = book, due_queue, state_publisher
        self._publisher, self._clock, self._metrics = publisher, clock, metrics
        self._lanes: dict[str, _Lane] = {}
        self._in_hand: set[int] = set()
        """Waiting in a lane or being published: on no other agenda."""
        self._publishing = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._closing = asyncio.Event()
        self._holes: dict[int, int] = {}
        """By id of a config that the book holds: the beginning of the hole that was logged last."""

    def enqueue(self, config_id: int, tasks: asyncio.TaskGroup) -> None:
        """Have its tick published soon, if it is still due then. New lanes start to work in `tasks`."""
        entry = self._book.firing(config_id)
        if entry is None or config_id in self._in_hand:
            return
        name = lane_of(entry.plan.exchange, config_id, self._policy.lanes)
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(name)
            for number in range(_BATCHES_AT_ONCE):
                tasks.create_task(self._work(lane), name=f"lane {name} {number}")
        self._in_hand.add(config_id)
        lane.waiting.append(config_id)
        lane.something.set()

    def forget(self, config_ids: Iterable[int]) -> None:
        """The book no longer holds these configs."""
        for config_id in config_ids:
            self._holes.pop(config_id, None)

    def close(self) -> None:
        """Let every lane finish the batches in hand, and begin no other."""
        self._closing.set()
        for lane in self._lanes.values():
            lane.something.set()

    async def settle(self, within: float) -> bool:
        """Wait until nothing is on its way to Kafka; False when something still is, after so many seconds."""
        return await wait_for_event(self._quiet, within)

    async def _work(self, lane: _Lane) -> None:
        while not self._closing.is_set():
            if not lane.waiting:
                lane.something.clear()
                await lane.something.wait()
                continue
            count = min(len(lane.waiting), self._settings.tick_batch_size)
            await self._emit([lane.waiting.popleft() for _ in range(count)])

    async def _emit(self, config_ids: list[int]) -> None:
        backoff = Backoff(_FIRST_RETRY_SECONDS, self._settings.publish_retry_max_wait_seconds, jitter=True)
        while True:
            now = self._clock()
            dues = [] if self._state_publisher.silenced() else self._decide(config_ids, now)
            if not dues or await self._publish(dues, now) or self._closing.is_set():
                break
            await backoff.sleep_unless(self._closing)
        for config_id in config_ids:
            self._in_hand.discard(config_id)
            self._due_queue.add(config_id)

    def _decide(self, config_ids: Iterable[int], now: int) -> list[Due]:
        entries = [self._book.firing(config_id) for config_id in config_ids]
        dues = [decide(entry, now, self._policy) for entry in entries if entry is not None]
        return [due for due in dues if due is not None]

    async def _publish(self, dues: list[Due], now: int) -> bool:
        self._publishing += 1
        self._quiet.clear()
        try:
            failpoint("scheduler.before_ticks")
            await self._publisher.publish_many(TICKS, [tick_of(due, now, self._policy) for due in dues])
        except PublishFailed as error:
            self._metrics.retries.labels(TICKS.name).inc()
            log.warning(
                "Ticks were not acknowledged, trying again", action="tick_retry", ticks=len(dues), error=str(error)
            )
            return False
        else:
            failpoint("scheduler.after_ticks")
            self._settle(dues, self._clock())
            return True
        finally:
            self._publishing -= 1
            if self._publishing == 0:
                self._quiet.set()

    def _settle(self, dues: list[Due], now: int) -> None:
        for due in dues:
            config_id = due.entry.plan.config_id
            entry = self._book.get(config_id)
            if entry is not None:
                self._book.put(acknowledged(entry, due), now)
                self._state_publisher.remember(config_id)
            self._metrics.ticks.labels(due.trigger.value).inc()
            if due.trigger is Trigger.SCHEDULED:
                self._metrics.lateness.observe(max(0, now - due.scheduled_for) / 1000)
            if due.missed_slots:
                self._metrics.coalesced.inc(due.missed_slots)
            self._tell_of_hole(due)

    def _tell_of_hole(self, due: Due) -> None:
        """Once per hole: every run until the next success has the same one."""
        config_id, hole = due.entry.plan.config_id, due.window.cut_from
        if hole is None:
            self._holes.pop(config_id, None)
            return
        self._metrics.cut.inc()
        if self._book.get(config_id) is None:
            return  # deleted meanwhile
        if self._holes.get(config_id) != hole and due.window.start is not None:
            self._holes[config_id] = hole
            log.warning(
                "A window was cut to the catch-up limit: a stretch will not be collected",
                action="window_truncated",
                config_id=config_id,
                exchange=due.entry.plan.exchange,
                symbol=due.entry.plan.symbol,
                missing_from=to_instant(hole).isoformat(),
                missing_until=to_instant(due.window.start).isoformat(),
            )
