"""The loop, the lanes and the states together, with a Kafka that can refuse and a clock that can be set."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from contracts.configs import ConfigRemoved
from contracts.event import Event
from contracts.schedule import JobScheduled
from contracts.ticks import TickDue
from contracts.topics import CONFIG_CHANGES, RUN_EVENTS, SCHEDULE_STATE, TICKS, Topic
from contracts.vocabulary import RunStatus, Trigger
from runtime.publisher import PublishFailed
from scheduler.agenda import Agenda
from scheduler.book import Book
from scheduler.entry import state_of
from scheduler.grid import to_instant
from scheduler.handlers import Handlers
from scheduler.lanes import Lanes
from scheduler.metrics import SchedulerMetrics
from scheduler.settings import SchedulerSettings
from scheduler.states import States
from scheduler.ticker import Ticker
from support.polling import eventually
from support.schedules import HOUR_MS, NOON_MS, SPREAD_MS, a_change, an_entry, the_run_of

MINUTE_MS = 60_000


@dataclass
class PretendedKafka:
    """Takes what is published, in order, unless it is told to refuse a lane or everything, or to hang."""

    log: list[tuple[Topic, str, Event | None]] = field(default_factory=list)
    refused_lanes: set[str] = field(default_factory=set)
    refused_topics: set[str] = field(default_factory=set)
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    refusals: int = 0

    async def publish_many(self, topic: Topic, events: Iterable[Event]) -> None:
        events = list(events)
        await self.answering.wait()
        if topic.name in self.refused_topics or self.refused_lanes & {event.key() for event in events}:
            self.refusals += 1
            raise PublishFailed("refused")
        self.log += [(topic, event.key(), event) for event in events]

    async def tombstone(self, topic: Topic, key: str) -> None:
        await self.answering.wait()
        self.log.append((topic, key, None))

    def ticks(self) -> list[TickDue]:
        return [event for _, _, event in self.log if isinstance(event, TickDue)]

    def states(self) -> list[JobScheduled]:
        return [event for _, _, event in self.log if isinstance(event, JobScheduled)]


class Service:
    """The scheduler without its consumer: the test says what the tables would."""

    def __init__(self) -> None:
        self.now = NOON_MS
        self.kafka = PretendedKafka()
        self.kafka.answering.set()
        self.doubt: str | None = None
        settings = SchedulerSettings(
            kafka_bootstrap_servers="nowhere:1",
            clock_check_seconds=0.01,
            retry_pause_max_seconds=0.02,
            handover_seconds=0.2,
            tick_batch_size=10,
        )
        self.registry = CollectorRegistry()
        metrics = SchedulerMetrics(self.registry)
        clock = self.clock
        publisher: Any = self.kafka
        self.book = Book(SPREAD_MS, 24 * HOUR_MS)
        self.agenda = Agenda(self.book.due_at)
        self.replaced = False
        self.states = States(
            self.book,
            publisher,
            clock,
            metrics,
            longest_pause=settings.retry_pause_max_seconds,
            replaced=lambda: self.replaced,
        )
        self.lanes = Lanes(
            settings,
            book=self.book,
            agenda=self.agenda,
            states=self.states,
            publisher=publisher,
            clock=clock,
            metrics=metrics,
        )
        self.handlers = Handlers(
            book=self.book,
            agenda=self.agenda,
            lanes=self.lanes,
            states=self.states,
            clock=clock,
            metrics=metrics,
            handover_seconds=settings.handover_seconds,
        )
        self.ticker = Ticker(
            agenda=self.agenda,
            lanes=self.lanes,
            clock=clock,
            metrics=metrics,
            doubt=lambda: self.doubt,
            clock_set_back=self.handlers.on_clock_set_back,
            clock_check_seconds=settings.clock_check_seconds,
        )

    def clock(self) -> int:
        return self.now

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"candlekeep_scheduler_{name}", labels) or 0

    def change(self, **config: Any) -> None:
        event = a_change(**{"updated_at": to_instant(self.now), **config})
        self.handlers.on_record(0, CONFIG_CHANGES, event.key(), event)

    async def ticks(self, count: int) -> list[TickDue]:
        async def enough() -> list[TickDue]:
            assert len(self.kafka.ticks()) >= count, f"{len(self.kafka.ticks())} of {count} ticks"
            await self.states.flush(1)
            return self.kafka.ticks()

        return await eventually(enough, within=5, every=0.005)

    async def nothing_more_than(self, count: int) -> None:
        """Several turns of the loop later there still are so many ticks."""
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert len(self.kafka.ticks()) == count


@contextlib.asynccontextmanager
async def running(service: Service) -> AsyncIterator[Service]:
    loops = [asyncio.create_task(service.ticker.run()), asyncio.create_task(service.states.run())]
    try:
        yield service
    finally:
        await service.ticker.stop()
        await asyncio.wait_for(loops[0], 5)
        await service.states.stop()
        await asyncio.wait_for(loops[1], 5)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    service.handlers.on_live(0)
    async with running(service):
        yield service


async def test_a_new_config_is_ticked_at_once_and_its_state_follows(service: Service) -> None:
    service.change()
    (tick,) = await service.ticks(1)
    assert tick.trigger is Trigger.INITIAL
    assert [topic for topic, _, _ in service.kafka.log] == [TICKS, SCHEDULE_STATE]
    state = service.kafka.states()[0]
    assert (state.active, state.next_fire_at) == (True, to_instant(an_entry(settled=NOON_MS).due_at()))


async def test_slots_come_when_the_clock_reaches_them(service: Service) -> None:
    service.change()
    await service.ticks(1)
    slot = service.book.due_at(1)
    service.now = slot - 1
    await service.nothing_more_than(1)
    service.now = slot
    assert (await service.ticks(2))[1].scheduled_for == to_instant(slot)
    assert service.metric("tick_lateness_seconds_count") == 1


async def test_a_clock_that_jumps_ahead_gives_one_tick_per_config(service: Service) -> None:
    for config_id in range(1, 31):
        service.change(config_id=config_id)
    await service.ticks(30)
    service.now += 5 * HOUR_MS
    ticks = (await service.ticks(60))[30:]
    assert {tick.missed_slots for tick in ticks} == {29}
    await service.nothing_more_than(60)
    assert service.metric("clock_steps_total", direction="forward") == 1
    assert service.metric("slots_coalesced_total") == 30 * 29


async def test_a_clock_that_jumps_back_fires_nothing_at_once_and_goes_on_at_the_next_slot(service: Service) -> None:
    service.change()
    service.now = NOON_MS + HOUR_MS
    await service.ticks(1)
    service.now -= HOUR_MS
    await service.nothing_more_than(1)
    due_at = an_entry(settled=NOON_MS).due_at()
    assert service.book.due_at(1) == due_at
    service.now = due_at
    assert (await service.ticks(2))[1].scheduled_for == to_instant(due_at)
    assert service.metric("clock_steps_total", direction="backward") == 1
    assert service.metric("schedules_righted_total") == 1


async def test_a_clock_that_is_set_far_ahead_and_back_again_costs_no_slot_after_it_is_right(service: Service) -> None:
    service.change(interval_minutes=1)
    await service.ticks(1)
    service.now += 24 * HOUR_MS
    lied = (await service.ticks(2))[1]
    service.now -= 24 * HOUR_MS
    await eventually(lambda: service.metric("schedules_righted_total") == 1)
    service.now += MINUTE_MS
    tick = (await service.ticks(3))[2]
    assert tick.scheduled_for < lied.scheduled_for
    assert to_instant(NOON_MS) < tick.scheduled_for <= to_instant(service.now)
    await eventually(lambda: service.kafka.states()[-1].last_slot == tick.scheduled_for)


async def test_disabling_while_waiting_fires_nothing_more_and_says_so(service: Service) -> None:
    service.change()
    await service.ticks(1)
    service.now += MINUTE_MS
    service.change(version=2, enabled=False)
    service.now += HOUR_MS
    await service.nothing_more_than(1)
    assert service.kafka.states()[-1].active is False


async def test_a_removed_config_is_forgotten(service: Service) -> None:
    service.change()
    await service.ticks(1)
    removed = ConfigRemoved(occurred_at=to_instant(service.now), config_id=1, version=2)
    service.handlers.on_record(0, CONFIG_CHANGES, "1", removed)
    service.handlers.on_record(0, CONFIG_CHANGES, "1", None)
    await service.states.flush(1)
    assert service.kafka.log[-1] == (SCHEDULE_STATE, "1", None)
    assert [event for _, _, event in service.kafka.log].count(None) == 1


async def test_a_tick_that_kafka_refuses_is_tried_again_and_its_state_waits(service: Service) -> None:
    service.kafka.refused_topics.add(TICKS.name)
    service.change()
    await eventually(lambda: service.kafka.refusals >= 3)
    assert service.kafka.log == []
    service.kafka.refused_topics.clear()
    assert len(await service.ticks(1)) == 1
    assert len(service.kafka.states()) == 1
    assert service.metric("publish_retries_total", topic="ticks") >= 3


async def test_slots_that_pass_while_kafka_refuses_become_one_tick(service: Service) -> None:
    service.change()
    await service.ticks(1)
    service.kafka.refused_topics.add(TICKS.name)
    service.now = service.book.due_at(1)
    await eventually(lambda: service.kafka.refusals >= 1)
    service.now += HOUR_MS
    service.kafka.refused_topics.clear()
    assert (await service.ticks(2))[1].missed_slots == 6
    await service.nothing_more_than(2)


async def test_a_lane_that_kafka_refuses_does_not_hold_up_the_others(service: Service) -> None:
    service.kafka.refused_lanes.add("binance")
    for config_id in range(1, 25):
        service.change(config_id=config_id, exchange="binance" if config_id % 2 else "kraken")
    ticks = await service.ticks(12)
    assert {tick.lane for tick in ticks} == {"kraken"}
    service.kafka.refused_lanes.clear()
    assert len({tick.run_id for tick in await service.ticks(24)}) == 24


async def test_disabling_a_config_whose_tick_is_refused_gives_the_tick_up(service: Service) -> None:
    service.kafka.refused_topics.add(TICKS.name)
    service.change()
    await eventually(lambda: service.kafka.refusals >= 1)
    service.change(version=2, enabled=False)
    await service.states.flush(1)
    service.kafka.refused_topics.clear()
    await service.nothing_more_than(0)


async def test_a_state_that_kafka_refuses_is_published_later_in_its_newest_form(service: Service) -> None:
    service.kafka.refused_topics.add(SCHEDULE_STATE.name)
    service.change()
    await eventually(lambda: service.kafka.refusals >= 1)
    service.change(version=2, interval_minutes=5)
    service.kafka.refused_topics.clear()
    assert await service.states.flush(2)
    assert service.kafka.states()[-1].interval_minutes == 5


async def test_a_state_is_never_published_while_the_initial_tick_is_owed(service: Service) -> None:
    service.kafka.refused_topics.add(TICKS.name)
    service.change()
    service.change(version=2, interval_minutes=5)
    await service.states.flush(1)
    assert service.kafka.states() == []


async def test_the_first_success_is_remembered_at_once(service: Service) -> None:
    service.change()
    (tick,) = await service.ticks(1)
    service.now += 1000
    run = the_run_of(tick, ended=service.now)
    service.handlers.on_record(0, RUN_EVENTS, run.key(), run)
    await service.states.flush(1)
    assert service.kafka.states()[-1].covered_until == to_instant(service.now)


async def test_the_window_after_a_failed_run_starts_where_the_last_success_ended(service: Service) -> None:
    service.change()
    (first,) = await service.ticks(1)
    covered = service.now
    for tick, status in ((first, RunStatus.SUCCESS), (None, RunStatus.FAILED), (None, RunStatus.FAILED)):
        run = the_run_of(tick or service.kafka.ticks()[-1], ended=service.now, status=status)
        service.handlers.on_record(0, RUN_EVENTS, run.key(), run)
        service.now = service.book.due_at(1)
        await service.ticks(len(service.kafka.ticks()) + 1)
    assert [tick.window_start for tick in service.kafka.ticks()] == [None, *[to_instant(covered)] * 3]


async def test_nothing_is_ticked_while_ownership_is_in_doubt(service: Service) -> None:
    service.doubt = "no heartbeat"
    service.change()
    await service.nothing_more_than(0)
    service.doubt = None
    await service.ticks(1)


async def test_handing_over_waits_for_what_is_on_its_way_and_then_fires_nothing(service: Service) -> None:
    service.kafka.answering.clear()
    service.change()
    await eventually(lambda: not service.lanes._quiet.is_set())
    handing_over = asyncio.create_task(service.handlers.on_revoked({0}))
    await asyncio.sleep(0.02)
    assert not handing_over.done()
    service.kafka.answering.set()
    await handing_over
    assert [topic for topic, _, _ in service.kafka.log] == [TICKS, SCHEDULE_STATE]
    service.now += HOUR_MS
    await service.nothing_more_than(1)
    service.handlers.on_live(0)
    await service.ticks(2)


async def test_handing_over_does_not_wait_for_ever(service: Service) -> None:
    service.kafka.answering.clear()
    service.change()
    await eventually(lambda: not service.lanes._quiet.is_set())
    async with asyncio.timeout(2):
        await service.handlers.on_revoked({0})
    service.kafka.answering.set()


async def test_an_instance_that_was_relieved_while_it_stood_still_says_nothing_of_what_it_did_before(
    service: Service,
) -> None:
    service.change(interval_minutes=1)
    await service.ticks(1)
    told = len(service.kafka.states())
    service.kafka.answering.clear()
    service.now += MINUTE_MS
    await eventually(lambda: not service.lanes._quiet.is_set())
    service.replaced = True  # Kafka has the tick; then this process stood still, and another took over
    service.kafka.answering.set()
    stale = (await service.ticks(2))[1]
    await service.handlers.on_revoked({0})
    service.replaced = False
    other = state_of(an_entry(settled=service.now + MINUTE_MS, interval_minutes=1), service.now)
    service.now += MINUTE_MS
    await service.nothing_more_than(2)
    assert len(service.kafka.states()) == told
    service.handlers.on_record(0, SCHEDULE_STATE, "1", other)
    service.handlers.on_live(0)
    await eventually(lambda: len(service.kafka.states()) > told)
    assert all(state.last_slot > stale.scheduled_for for state in service.kafka.states()[told:])


async def test_dropped_configs_are_not_ticked(service: Service) -> None:
    service.change()
    await service.ticks(1)
    await service.handlers.on_revoked({0})
    service.handlers.on_dropped({0})
    service.now += HOUR_MS
    await service.nothing_more_than(1)


async def test_stopping_finishes_the_batches_in_hand_and_begins_no_other() -> None:
    service = Service()
    service.handlers.on_live(0)
    async with running(service):
        service.kafka.answering.clear()
        for config_id in range(1, 101):
            service.change(config_id=config_id)
        await eventually(lambda: service.lanes._publishing == 4)
        await service.ticker.stop()
        service.kafka.answering.set()
    assert len(service.kafka.ticks()) == 40, "four batches of ten"
    assert len(service.kafka.states()) == 40


async def test_a_restart_goes_on_where_the_states_say(service: Service) -> None:
    service.handlers.on_record(1, SCHEDULE_STATE, "7", state_of(an_entry(settled=NOON_MS, config_id=7), NOON_MS))
    event = a_change(config_id=7)
    service.handlers.on_record(1, CONFIG_CHANGES, "7", event)
    service.handlers.on_record(1, SCHEDULE_STATE, "8", state_of(an_entry(settled=NOON_MS, config_id=8), NOON_MS))
    service.now += 3 * HOUR_MS
    await service.nothing_more_than(0)
    service.handlers.on_live(1)
    (tick,) = await service.ticks(1)
    assert (tick.config.config_id, tick.missed_slots) == (7, 17)
    assert (SCHEDULE_STATE, "8", None) in service.kafka.log, "a state without a config is forgotten"


async def test_what_is_left_out_by_the_catch_up_limit_is_counted(service: Service) -> None:
    service.change()
    (tick,) = await service.ticks(1)
    run = the_run_of(tick, ended=service.now)
    service.handlers.on_record(0, RUN_EVENTS, run.key(), run)
    service.now += 72 * HOUR_MS
    assert (await service.ticks(2))[1].window_start == to_instant(service.now - 24 * HOUR_MS - MINUTE_MS)
    assert service.metric("windows_cut_total") == 1


def test_the_ticker_is_live_until_it_gets_stuck() -> None:
    service = Service()
    assert service.ticker.liveness() is None
    service.ticker._turned_at = -100.0
    assert "not turned" in (service.ticker.liveness() or "")
