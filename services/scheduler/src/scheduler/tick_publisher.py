"""Publishes ticks with one queue per lane, and advances a schedule when Kafka has acknowledged its tick.

Delivery: at least once, with the same run_id. The queue of a lane contains only config ids. A lane publishes a few
batches at the same time, and reads the book again before each attempt. If Kafka does not accept the ticks of a lane,
other lanes are not delayed. When Kafka accepts the ticks again, there is no burst of ticks, because one tick covers all
missed slots of a config.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from contracts.coverage import to_instant
from contracts.ticks import TickDue, lane_of
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
from scheduler.metrics import SchedulerMetrics
from scheduler.settings import SchedulerSettings
from scheduler.state_publisher import StatePublisher

_RETRY_INITIAL_WAIT_SECONDS = 0.2
_BATCHES_PER_LANE = 4
"""Batches in flight at the same time, so that a new due tick does not wait for an acknowledgement."""


@dataclass
class _Lane:
    name: str
    waiting: deque[int] = field(default_factory=deque)
    has_work: asyncio.Event = field(default_factory=asyncio.Event)


class TickPublisher:
    """Receives ids of due configs and publishes their ticks until Kafka has acknowledged them."""

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
        self._in_flight: set[int] = set()
        """Ids that wait in a lane or whose ticks are being published. They are not in the due queue."""
        self._publishing = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = asyncio.Event()
        self._failed: set[int] = set()
        """Ids whose tick could not be built. They are not in the due queue until the config changes."""
        self._reported_behind: dict[int, frozenset[tuple[str, int]]] = {}
        """By config id: the timeframes with an old anchor that were logged last, with the anchor."""

    def enqueue(self, config_id: int, tasks: asyncio.TaskGroup) -> None:
        """Publish the config's tick soon, if it is still due then. New lanes start their workers in `tasks`."""
        entry = self._book.live_entry(config_id)
        if entry is None or config_id in self._in_flight:
            return
        name = lane_of(entry.plan.exchange, config_id, self._policy.lanes)
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(name)
            for number in range(_BATCHES_PER_LANE):
                tasks.create_task(self._publish_lane(lane), name=f"lane {name} {number}")
        self._in_flight.add(config_id)
        lane.waiting.append(config_id)
        lane.has_work.set()

    def remove(self, config_ids: Iterable[int]) -> None:
        """Drop what is stored about configs that are no longer in the book."""
        for config_id in config_ids:
            self._reported_behind.pop(config_id, None)
            self._failed.discard(config_id)

    def close(self) -> None:
        """Finish the batches in flight, and start no more batches."""
        self._closing.set()
        for lane in self._lanes.values():
            lane.has_work.set()

    async def wait_until_idle(self, seconds: float) -> bool:
        """Wait until no tick is being published, at most `seconds`. Returns whether this was reached."""
        return await wait_for_event(self._idle, seconds)

    async def _publish_lane(self, lane: _Lane) -> None:
        while not self._closing.is_set():
            if not lane.waiting:
                lane.has_work.clear()
                await lane.has_work.wait()
                continue
            count = min(len(lane.waiting), self._settings.tick_batch_size)
            await self._publish_until_acknowledged([lane.waiting.popleft() for _ in range(count)])

    async def _publish_until_acknowledged(self, config_ids: list[int]) -> None:
        backoff = Backoff(_RETRY_INITIAL_WAIT_SECONDS, self._settings.publish_retry_max_wait_seconds, jitter=True)
        while True:
            now = self._clock()
            ticks = [] if self._state_publisher.replaced() else self._decide(config_ids, now)
            if not ticks or await self._publish(ticks) or self._closing.is_set():
                break
            await backoff.sleep_unless(self._closing)
        for config_id in config_ids:
            self._in_flight.discard(config_id)
            if config_id not in self._failed:
                self._due_queue.add(config_id)

    def _decide(self, config_ids: Iterable[int], now: int) -> list[tuple[Due, TickDue]]:
        """The due ticks. A config whose tick cannot be built is logged and left out until it changes, so that it does
        not stop the other configs.
        """
        ticks = []
        for config_id in config_ids:
            self._failed.discard(config_id)
            try:
                entry = self._book.live_entry(config_id)
                if entry is not None and (due := decide(entry, now, self._policy)) is not None:
                    ticks.append((due, tick_of(due, now, self._policy)))
            except Exception:  # noqa: BLE001 -- one config must not stop the others
                self._failed.add(config_id)
                log.exception(
                    "No tick can be built for a config, so it is not collected until it changes. The runbook says how "
                    "to reset its schedule",
                    action="tick_impossible",
                    config_id=config_id,
                )
        return ticks

    async def _publish(self, ticks: list[tuple[Due, TickDue]]) -> bool:
        self._publishing += 1
        self._idle.clear()
        try:
            failpoint("scheduler.before_ticks")
            await self._publisher.publish_many(TICKS, [tick for _, tick in ticks])
        except PublishFailed as error:
            self._metrics.retries.labels(TICKS.name).inc()
            log.warning(
                "Kafka did not acknowledge ticks, trying again", action="tick_retry", ticks=len(ticks), error=str(error)
            )
            return False
        else:
            failpoint("scheduler.after_ticks")
            self._advance([due for due, _ in ticks], self._clock())
            return True
        finally:
            self._publishing -= 1
            if self._publishing == 0:
                self._idle.set()

    def _advance(self, dues: list[Due], now: int) -> None:
        for due in dues:
            config_id = due.entry.plan.config_id
            entry = self._book.get(config_id)
            if entry is not None:
                self._book.put(acknowledged(entry, due), now)
                self._state_publisher.queue_state(config_id)
            self._metrics.ticks.labels(due.trigger.value).inc()
            if due.trigger is Trigger.SCHEDULED:
                self._metrics.lateness.observe(max(0, now - due.scheduled_for) / 1000)
            if due.missed_slots:
                self._metrics.coalesced.inc(due.missed_slots)
            self._report_behind(due)

    def _report_behind(self, due: Due) -> None:
        """Log each old anchor once: all runs have the same anchor until a newer candle is collected."""
        config_id, behind = due.entry.plan.config_id, frozenset(due.behind)
        reported = self._reported_behind.pop(config_id, frozenset())
        self._metrics.behind.inc(len(behind))
        if not behind or self._book.get(config_id) is None:
            return  # all anchors are recent, or the config was deleted in the meantime
        self._reported_behind[config_id] = behind
        for timeframe, anchor in sorted(behind - reported):
            log.warning(
                "The newest candle is older than the catch-up limit: the run reads the newest page first, and the "
                "time in between is read later",
                action="catch_up_limit_exceeded",
                config_id=config_id,
                exchange=due.entry.plan.exchange,
                symbol=due.entry.plan.symbol,
                timeframe=timeframe,
                newest_candle=to_instant(anchor).isoformat(),
            )
