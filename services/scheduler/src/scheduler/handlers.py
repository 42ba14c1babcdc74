"""What wakes the scheduler: messages of the partitions it owns, and partitions that come and go."""

import time
from typing import assert_never, cast

from contracts.configs import ConfigChanged, ConfigRemoved
from contracts.event import Event
from contracts.runs import RunFinished, RunStarted
from contracts.schedule import JobScheduled
from contracts.topics import CONFIG_CHANGES, SCHEDULE_STATE, Topic
from runtime.logs import log
from scheduler.agenda import Agenda
from scheduler.book import Book, News
from scheduler.clock import Clock
from scheduler.lanes import Lanes
from scheduler.metrics import SchedulerMetrics
from scheduler.states import States

TableEvent = ConfigChanged | ConfigRemoved | JobScheduled | RunStarted | RunFinished
"""The events of all topics that the scheduler subscribes to."""


class Handlers:
    """The owner of the tables' partitions. Enters news into the book and does what follows from it."""

    def __init__(
        self,
        *,
        book: Book,
        agenda: Agenda,
        lanes: Lanes,
        states: States,
        clock: Clock,
        metrics: SchedulerMetrics,
        handover_seconds: float,
    ) -> None:
        self._book, self._agenda, self._lanes, self._states = book, agenda, lanes, states
        self._clock, self._metrics, self._handover_seconds = clock, metrics, handover_seconds
        self._restoring_since: dict[int, float] = {}

    def on_record(self, partition: int, topic: Topic, key: str, event: Event | None) -> None:
        self._restoring_since.setdefault(partition, time.monotonic())
        if event is None:
            self._on_tombstone(partition, topic, int(key))
            return
        subscribed = cast("TableEvent", event)
        match subscribed:
            case ConfigChanged():
                self._tell(self._book.config_changed(partition, subscribed, self._clock()))
            case ConfigRemoved():
                if (news := self._book.config_removed(partition, subscribed, self._clock())) is not None:
                    self._forget(news)
            case JobScheduled():
                self._book.state_read(partition, subscribed.config_id, subscribed, self._clock())
            case RunFinished():
                if self._book.run_finished(partition, subscribed, self._clock()):
                    self._states.remember(subscribed.config_id)
            case RunStarted():
                pass  # it does not change a schedule
            case _:
                assert_never(subscribed)

    def on_live(self, partition: int) -> None:
        restored = self._book.go_live(partition, self._clock())
        now = time.monotonic()
        seconds = now - self._restoring_since.get(partition, now)
        for config_id in restored.config_ids:
            self._agenda.add(config_id)
        for news in restored.news:
            self._tell(news)
        for news in restored.orphans:
            self._forget(news)
        self._tell_righted(restored.righted)
        self._states.resume()
        self._metrics.restore_seconds.observe(seconds)
        log.info(
            "Partition live",
            action="partition_live",
            partition=partition,
            configs=len(restored.config_ids),
            changed=len(restored.news),
            orphans=len(restored.orphans),
            seconds=round(seconds, 3),
        )

    def on_clock_set_back(self, now: int) -> None:
        """What was done at times that are yet to come was done by a wrong clock, or this one is wrong now."""
        self._tell_righted(self._book.right(now))

    async def on_revoked(self, partitions: set[int]) -> bool:
        """Stop firing at once, then give what is on its way a moment, so that the next owner knows of it. False when
        Kafka has not acknowledged all of it.
        """
        for partition in partitions:
            self._book.hold(partition)
            self._restoring_since.pop(partition, None)
        with self._states.handing_over():
            settled = await self._lanes.settle(self._handover_seconds)
            remembered = await self._states.flush(self._handover_seconds)
        if not (settled and remembered):
            log.warning(
                "Handing partitions over with ticks or states unacknowledged: some runs may be asked for twice",
                action="handover_unsettled",
                partitions=sorted(partitions),
            )
        return settled and remembered

    def on_dropped(self, partitions: set[int]) -> None:
        self._lanes.forget(self._book.drop(partitions))

    def _on_tombstone(self, partition: int, topic: Topic, config_id: int) -> None:
        if topic is SCHEDULE_STATE:
            self._book.state_read(partition, config_id, None, self._clock())
        elif topic is CONFIG_CHANGES and self._book.config_forgotten(partition, config_id):
            self._lanes.forget([config_id])
            self._states.forget(config_id)

    def _tell_righted(self, config_ids: tuple[int, ...]) -> None:
        if not config_ids:
            return
        self._metrics.righted.inc(len(config_ids))
        log.warning(
            "Schedules were ahead of the clock: they go on from now, on their grid",
            action="schedules_righted",
            configs=len(config_ids),
        )
        for config_id in config_ids:
            self._agenda.add(config_id)
            self._states.remember(config_id)

    def _tell(self, news: News | None) -> None:
        if news is None:
            return
        self._agenda.add(news.config_id)
        self._states.remember(news.config_id)
        self._tell_passed_over(news)

    def _forget(self, news: News) -> None:
        self._lanes.forget([news.config_id])
        self._states.forget(news.config_id)
        self._tell_passed_over(news)

    def _tell_passed_over(self, news: News) -> None:
        if news.passed_over:
            self._metrics.passed_over.inc(news.passed_over)
            log.warning(
                "Slots were owed when the schedule changed; they will not get a tick",
                action="slots_passed_over",
                config_id=news.config_id,
                slots=news.passed_over,
            )
