"""Handles messages of the assigned partitions, and changes of the assignment."""

import time
from typing import assert_never, cast

from contracts.bounds import row_id_of
from contracts.configs import ConfigChanged, ConfigRemoved
from contracts.event import Event
from contracts.runs import RunFinished, RunStarted
from contracts.schedule import JobScheduled
from contracts.topics import CONFIG_CHANGES, SCHEDULE_STATE, Topic
from runtime.logs import log
from scheduler.book import Book, ScheduleChange
from scheduler.clock import Clock
from scheduler.due_queue import DueQueue
from scheduler.metrics import SchedulerMetrics
from scheduler.state_publisher import StatePublisher
from scheduler.tick_publisher import TickPublisher

TableEvent = ConfigChanged | ConfigRemoved | JobScheduled | RunStarted | RunFinished
"""All events of the topics that the scheduler subscribes to."""


class Handlers:
    """The owner of the tables' partitions. It applies messages to the book and acts on the changes."""

    def __init__(
        self,
        *,
        book: Book,
        due_queue: DueQueue,
        tick_publisher: TickPublisher,
        state_publisher: StatePublisher,
        clock: Clock,
        metrics: SchedulerMetrics,
        handover_timeout_seconds: float,
    ) -> None:
        self._book, self._due_queue = book, due_queue
        self._tick_publisher, self._state_publisher = tick_publisher, state_publisher
        self._clock, self._metrics, self._handover_timeout_seconds = clock, metrics, handover_timeout_seconds
        self._restoring_since: dict[int, float] = {}

    def on_record(self, partition: int, topic: Topic, key: str, event: Event | None) -> None:
        self._restoring_since.setdefault(partition, time.monotonic())
        if event is None:
            self._on_tombstone(partition, topic, row_id_of(key))
            return
        subscribed = cast("TableEvent", event)
        match subscribed:
            case ConfigChanged():
                if (change := self._book.config_changed(partition, subscribed, self._clock())) is not None:
                    self._reschedule(change)
            case ConfigRemoved():
                if (change := self._book.config_removed(partition, subscribed, self._clock())) is not None:
                    self._remove(change)
            case JobScheduled():
                self._book.state_read(partition, subscribed.config_id, subscribed, self._clock())
            case RunFinished():
                if self._book.run_finished(partition, subscribed, self._clock()):
                    self._state_publisher.queue_state(subscribed.config_id, required=True)
            case RunStarted():
                pass  # the start of a run does not change a schedule
            case _:
                assert_never(subscribed)

    def unpublished(self) -> set[int]:
        """The partitions with a series whose first result is in a state that Kafka has not acknowledged yet."""
        entries = [self._book.get(config_id) for config_id in self._state_publisher.missing()]
        return {entry.partition for entry in entries if entry is not None}

    def on_live(self, partition: int) -> None:
        restored = self._book.go_live(partition, self._clock())
        now = time.monotonic()
        seconds = now - self._restoring_since.get(partition, now)
        for config_id in restored.config_ids:
            self._due_queue.add(config_id)
        for change in restored.changes:
            self._reschedule(change)
        for change in restored.orphans:
            self._remove(change)
        self._report_clamped(restored.clamped)
        self._state_publisher.resume()
        self._metrics.restore_seconds.observe(seconds)
        log.info(
            "A partition is live: this scheduler publishes its ticks",
            action="partition_live",
            partition=partition,
            configs=len(restored.config_ids),
            changed=len(restored.changes),
            orphans=len(restored.orphans),
            seconds=round(seconds, 3),
        )

    def on_clock_set_back(self, now: int) -> None:
        """The clock was or is wrong: entries with times in the future continue from now."""
        self._report_clamped(self._book.clamp_to_now(now))

    async def on_revoked(self, partitions: set[int]) -> bool:
        """Stop the ticks of these partitions at once, then wait for the acknowledgements, so that the next owner reads
        all states. Returns False if Kafka has not acknowledged all ticks and states.
        """
        for partition in partitions:
            self._book.pause(partition)
            self._restoring_since.pop(partition, None)
        with self._state_publisher.handing_over():
            ticks_done = await self._tick_publisher.wait_until_idle(self._handover_timeout_seconds)
            states_done = await self._state_publisher.flush(self._handover_timeout_seconds)
        if not (ticks_done and states_done):
            log.warning(
                "Partitions were handed over with unacknowledged ticks or states: some runs may be started twice",
                action="handover_unsettled",
                partitions=sorted(partitions),
            )
        return ticks_done and states_done

    def on_dropped(self, partitions: set[int]) -> None:
        self._tick_publisher.remove(self._book.drop(partitions))

    def _on_tombstone(self, partition: int, topic: Topic, config_id: int) -> None:
        if topic is SCHEDULE_STATE:
            self._book.state_read(partition, config_id, None, self._clock())
        elif topic is CONFIG_CHANGES and self._book.config_tombstone(partition, config_id):
            self._tick_publisher.remove([config_id])
            self._state_publisher.queue_tombstone(config_id)

    def _report_clamped(self, config_ids: tuple[int, ...]) -> None:
        if not config_ids:
            return
        self._metrics.clamped.inc(len(config_ids))
        log.warning(
            "Schedules had timestamps in the future and were reset: they continue at their next regular slot",
            action="clock_corrected",
            configs=len(config_ids),
        )
        for config_id in config_ids:
            self._due_queue.add(config_id)
            self._state_publisher.queue_state(config_id)

    def _reschedule(self, change: ScheduleChange) -> None:
        self._due_queue.add(change.config_id)
        self._state_publisher.queue_state(change.config_id)
        self._report_skipped_slots(change)

    def _remove(self, change: ScheduleChange) -> None:
        self._tick_publisher.remove([change.config_id])
        self._state_publisher.queue_tombstone(change.config_id)
        self._report_skipped_slots(change)

    def _report_skipped_slots(self, change: ScheduleChange) -> None:
        if change.skipped_slots:
            self._metrics.skipped_slots.inc(change.skipped_slots)
            log.warning(
                "The schedule of a config changed: its pending slots get no tick",
                action="slots_skipped",
                config_id=change.config_id,
                slots=change.skipped_slots,
            )
