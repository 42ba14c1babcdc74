"""A loop whose clock is set, or whose partitions go to another instance."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from contracts.topics import SCHEDULE_STATE, TICKS
from scheduler.entry import state_of
from scheduler.grid import to_instant
from support.polling import eventually
from support.scheduler_service import Service, running
from support.schedules import HOUR_MS, NOON_MS, an_entry

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
