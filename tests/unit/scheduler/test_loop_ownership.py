"""The loop when its clock is set, or when its partitions move to another instance."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import get_args

import pytest

from contracts.coverage import to_instant, to_milliseconds
from contracts.topics import CONFIG_CHANGES, RUN_EVENTS, SCHEDULE_STATE, TICKS
from scheduler.entry import state_of
from scheduler.handlers import TableEvent
from support.consuming import a_tick
from support.polling import eventually
from support.scheduler_service import Service, running
from support.schedules import HOUR_MS, NOON_MS, a_change, a_result, an_entry, newest_closed

MINUTE_MS = 60_000


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    service.handlers.on_live(0)
    async with running(service):
        yield service


async def test_a_clock_step_forward_leads_to_one_tick_per_config(service: Service) -> None:
    for config_id in range(1, 31):
        service.change(config_id=config_id)
    await service.ticks(30)
    service.now += 5 * HOUR_MS
    ticks = (await service.ticks(60))[30:]
    assert {tick.missed_slots for tick in ticks} == {29}
    await service.no_more_than(60)
    assert service.metric("clock_steps_total", direction="forward") == 1
    assert service.metric("slots_coalesced_total") == 30 * 29


async def test_after_a_clock_step_back_ticks_continue_at_the_next_slot(service: Service) -> None:
    service.change()
    service.now = NOON_MS + HOUR_MS
    await service.ticks(1)
    service.now -= HOUR_MS
    await service.no_more_than(1)
    due_at = an_entry(settled=NOON_MS).due_at()
    assert service.book.due_at(1) == due_at
    service.now = due_at
    assert (await service.ticks(2))[1].scheduled_for == to_instant(due_at)
    assert service.metric("clock_steps_total", direction="backward") == 1
    assert service.metric("clock_corrections_total") == 1


async def test_no_slot_is_lost_after_a_clock_was_set_far_ahead_and_back(service: Service) -> None:
    service.change(interval_minutes=1)
    await service.ticks(1)
    service.now += 24 * HOUR_MS
    wrong = (await service.ticks(2))[1]
    service.now -= 24 * HOUR_MS
    await eventually(lambda: service.metric("clock_corrections_total") == 1)
    service.now += MINUTE_MS
    tick = (await service.ticks(3))[2]
    assert tick.scheduled_for < wrong.scheduled_for
    assert to_instant(NOON_MS) < tick.scheduled_for <= to_instant(service.now)
    await eventually(lambda: service.kafka.states()[-1].last_slot == tick.scheduled_for)


async def test_no_tick_is_published_while_ownership_is_uncertain(service: Service) -> None:
    service.ownership_problem = "no heartbeat"
    service.change()
    await service.no_more_than(0)
    service.ownership_problem = None
    await service.ticks(1)


async def test_a_hand_over_waits_for_ticks_in_flight_and_then_publishes_none(service: Service) -> None:
    service.kafka.answering.clear()
    service.change()
    await eventually(lambda: not service.tick_publisher._idle.is_set())
    handing_over = asyncio.create_task(service.handlers.on_revoked({0}))
    await asyncio.sleep(0.02)
    assert not handing_over.done()
    service.kafka.answering.set()
    await handing_over
    assert [topic for topic, _, _ in service.kafka.log] == [TICKS, SCHEDULE_STATE]
    service.now += HOUR_MS
    await service.no_more_than(1)
    service.handlers.on_live(0)
    await service.ticks(2)


async def test_a_hand_over_has_a_timeout(service: Service) -> None:
    service.kafka.answering.clear()
    service.change()
    await eventually(lambda: not service.tick_publisher._idle.is_set())
    async with asyncio.timeout(2):
        await service.handlers.on_revoked({0})
    service.kafka.answering.set()


async def test_an_instance_that_was_replaced_while_it_was_stalled_publishes_no_old_state(
    service: Service,
) -> None:
    service.change(interval_minutes=1)
    await service.ticks(1)
    published = len(service.kafka.states())
    service.kafka.answering.clear()
    service.now += MINUTE_MS
    await eventually(lambda: not service.tick_publisher._idle.is_set())
    service.replaced = True  # Kafka has the tick; then this process was stalled, and another one took over
    service.kafka.answering.set()
    stale = (await service.ticks(2))[1]
    await service.handlers.on_revoked({0})
    service.replaced = False
    other = state_of(an_entry(settled=service.now + MINUTE_MS, interval_minutes=1), service.now)
    service.now += MINUTE_MS
    await service.no_more_than(2)
    assert len(service.kafka.states()) == published
    service.handlers.on_record(0, SCHEDULE_STATE, "1", other)
    service.handlers.on_live(0)
    await eventually(lambda: len(service.kafka.states()) > published)
    assert all(state.last_slot > stale.scheduled_for for state in service.kafka.states()[published:])


async def test_dropped_configs_get_no_ticks(service: Service) -> None:
    service.change()
    await service.ticks(1)
    await service.handlers.on_revoked({0})
    service.handlers.on_dropped({0})
    service.now += HOUR_MS
    await service.no_more_than(1)


async def test_a_hand_over_reports_whether_kafka_has_acknowledged_all_states(service: Service) -> None:
    service.change()
    (tick,) = await service.ticks(1)
    assert await service.handlers.on_revoked({0})
    service.handlers.on_live(0)
    service.kafka.answering.clear()
    service.finish(tick)
    assert not await service.handlers.on_revoked({0}), "the first anchors are not published"
    service.kafka.answering.set()


async def test_a_hand_over_is_not_complete_while_a_pending_initial_tick_holds_back_the_first_anchors(
    service: Service,
) -> None:
    service.change()
    (tick,) = await service.ticks(1)
    service.kafka.refused_topics.add(TICKS.name)
    service.change(version=2, timeframes=("1m", "1h", "1d"))
    service.finish(tick)
    assert not await service.handlers.on_revoked({0}), "the next owner must read the end of the run again"
    service.kafka.refused_topics.clear()
    service.handlers.on_live(0)
    await service.ticks(2)
    assert await service.handlers.on_revoked({0})
    anchors = {each.timeframe: each.anchor for each in service.kafka.states()[-1].progress}
    assert anchors == {each: to_instant(newest_closed(each, service.now)) for each in ("1m", "1h")}


async def test_a_first_result_is_unpublished_until_kafka_has_acknowledged_its_state(service: Service) -> None:
    service.change()
    (tick,) = await service.ticks(1)
    assert service.handlers.unpublished() == set()
    service.kafka.refused_topics.add(SCHEDULE_STATE.name)
    service.finish(tick)
    assert service.handlers.unpublished() == {0}
    refusals = service.kafka.refusals
    await eventually(lambda: service.kafka.refusals > refusals)
    assert service.handlers.unpublished() == {0}, "Kafka has refused the state"
    service.kafka.refused_topics.clear()
    await eventually(lambda: service.handlers.unpublished() == set())
    assert service.kafka.states()[-1].progress
    service.now = service.book.due_at(1)
    (_, later) = await service.ticks(2)
    service.finish(later)
    assert service.handlers.unpublished() == set(), "without later progress, runs only read more than necessary"


async def test_a_removed_config_does_not_hold_up_a_hand_over(service: Service) -> None:
    service.change()
    (tick,) = await service.ticks(1)
    service.kafka.refused_topics.add(TICKS.name)
    service.change(version=2, timeframes=("1m", "1h", "1d"))
    service.finish(tick)
    service.handlers.on_record(0, CONFIG_CHANGES, "1", None)
    assert await service.handlers.on_revoked({0})


async def test_progress_after_the_first_anchor_may_be_lost_in_a_hand_over(service: Service) -> None:
    """The next owner reads on from the earlier anchor, so it asks for more and forgets nothing."""
    service.change(timeframes=("1m",))
    (tick,) = await service.ticks(1)
    service.finish(tick)
    await service.state_publisher.flush(1)
    stored = service.kafka.states()[-1]
    service.now = service.book.due_at(1) + HOUR_MS
    (_, tick) = await service.ticks(2)
    state = service.kafka.states()[-1]
    page = (service.now - 2 * MINUTE_MS, service.now)
    service.finish(tick, results=(a_result("1m", anchor=newest_closed("1m", service.now), verified=[page]),))
    hole = service.book.get(1).progress.of("1m").pending
    assert len(hole) == 1
    other = Service()
    other.now = service.now
    change = a_change(timeframes=("1m",), updated_at=to_instant(NOON_MS))
    other.handlers.on_record(0, CONFIG_CHANGES, "1", change)
    other.handlers.on_record(0, SCHEDULE_STATE, "1", state)
    other.handlers.on_live(0)
    assert other.book.get(1).progress.of("1m").anchor == to_milliseconds(stored.progress[0].anchor) <= hole[0].start


async def test_a_hand_over_of_a_replaced_instance_that_stops_is_not_acknowledged() -> None:
    service = Service()
    service.handlers.on_live(0)
    async with running(service):
        service.change()
        (tick,) = await service.ticks(1)
        service.replaced = True
        service.finish(tick)
        await eventually(lambda: service.state_publisher.backlog() == 0)
        assert not await service.handlers.on_revoked({0}), "the state waits until the group confirms this instance"
    assert not await service.handlers.on_revoked({0}), "the state was never published"


def test_every_event_of_the_subscribed_topics_is_handled_and_any_other_is_refused() -> None:
    handled = {event for topic in (CONFIG_CHANGES, SCHEDULE_STATE, RUN_EVENTS) for event in topic.events}
    assert handled == set(get_args(TableEvent))
    with pytest.raises(AssertionError, match="TickDue"):
        Service().handlers.on_record(0, TICKS, "binance", a_tick())


def test_a_live_partition_does_not_freeze_objects_in_the_garbage_collector() -> None:
    frozen = gc.get_freeze_count()
    Service().handlers.on_live(0)
    assert gc.get_freeze_count() == frozen
