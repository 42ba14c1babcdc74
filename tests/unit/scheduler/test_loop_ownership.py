"""A loop whose clock is set, or whose partitions go to another instance."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import get_args

import pytest

from contracts.topics import CONFIG_CHANGES, RUN_EVENTS, SCHEDULE_STATE, TICKS
from scheduler.entry import state_of
from scheduler.grid import to_instant
from scheduler.handlers import TableEvent
from support.consuming import a_tick
from support.polling import eventually
from support.scheduler_service import Service, running
from support.schedules import HOUR_MS, NOON_MS, an_entry, the_run_of

MINUTE_MS = 60_000


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    service.handlers.on_live(0)
    async with running(service):
        yield service


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
    assert service.metric("clock_corrections_total") == 1


async def test_a_clock_that_is_set_far_ahead_and_back_again_costs_no_slot_after_it_is_right(service: Service) -> None:
    service.change(interval_minutes=1)
    await service.ticks(1)
    service.now += 24 * HOUR_MS
    lied = (await service.ticks(2))[1]
    service.now -= 24 * HOUR_MS
    await eventually(lambda: service.metric("clock_corrections_total") == 1)
    service.now += MINUTE_MS
    tick = (await service.ticks(3))[2]
    assert tick.scheduled_for < lied.scheduled_for
    assert to_instant(NOON_MS) < tick.scheduled_for <= to_instant(service.now)
    await eventually(lambda: service.kafka.states()[-1].last_slot == tick.scheduled_for)


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


async def test_a_handover_says_whether_kafka_has_all_that_followed_from_what_was_read(service: Service) -> None:
    service.change()
    (tick,) = await service.ticks(1)
    assert await service.handlers.on_revoked({0})
    service.handlers.on_live(0)
    service.kafka.answering.clear()
    run = the_run_of(tick, ended=service.now)
    service.handlers.on_record(0, RUN_EVENTS, run.key(), run)
    assert not await service.handlers.on_revoked({0}), "the first success is not published"
    service.kafka.answering.set()


async def test_a_handover_of_an_instance_that_was_relieved_and_stops_is_not_settled() -> None:
    service = Service()
    service.handlers.on_live(0)
    async with running(service):
        service.change()
        (tick,) = await service.ticks(1)
        service.replaced = True
        run = the_run_of(tick, ended=service.now)
        service.handlers.on_record(0, RUN_EVENTS, run.key(), run)
        await eventually(lambda: service.states.backlog() == 0)
        assert not await service.handlers.on_revoked({0}), "the state waits until the group confirms us"
    assert not await service.handlers.on_revoked({0}), "the state was never published"


def test_every_event_of_the_subscribed_topics_is_known_and_any_other_is_refused() -> None:
    handled = {event for topic in (CONFIG_CHANGES, SCHEDULE_STATE, RUN_EVENTS) for event in topic.events}
    assert handled == set(get_args(TableEvent))
    with pytest.raises(AssertionError, match="TickDue"):
        Service().handlers.on_record(0, TICKS, "binance", a_tick())


def test_a_partition_that_is_live_leaves_the_garbage_collector_as_it_was() -> None:
    frozen = gc.get_freeze_count()
    Service().handlers.on_live(0)
    assert gc.get_freeze_count() == frozen
