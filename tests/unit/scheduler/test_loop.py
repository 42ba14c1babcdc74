"""The loop and the publishers together, with a Kafka that can refuse."""

from collections.abc import AsyncIterator

import pytest

from contracts.configs import ConfigRemoved
from contracts.coverage import to_instant
from contracts.timeframes import floor_open
from contracts.topics import CONFIG_CHANGES, SCHEDULE_STATE, TICKS
from contracts.vocabulary import RunStatus, Trigger
from scheduler.entry import state_of
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


async def test_a_new_config_is_ticked_at_once_and_its_state_follows(service: Service) -> None:
    service.change()
    (tick,) = await service.ticks(1)
    assert tick.trigger is Trigger.INITIAL
    assert [topic for topic, _, _ in service.kafka.log] == [TICKS, SCHEDULE_STATE]
    state = service.kafka.states()[0]
    assert (state.active, state.next_fire_at) == (True, to_instant(an_entry(settled=NOON_MS).due_at()))


async def test_a_tick_is_published_when_the_clock_reaches_its_slot(service: Service) -> None:
    service.change()
    await service.ticks(1)
    slot = service.book.due_at(1)
    service.now = slot - 1
    await service.no_more_than(1)
    service.now = slot
    assert (await service.ticks(2))[1].scheduled_for == to_instant(slot)
    assert service.metric("tick_lateness_seconds_count") == 1


async def test_a_disabled_config_gets_no_more_ticks_and_its_state_is_inactive(service: Service) -> None:
    service.change()
    await service.ticks(1)
    service.now += MINUTE_MS
    service.change(version=2, enabled=False)
    service.now += HOUR_MS
    await service.no_more_than(1)
    assert service.kafka.states()[-1].active is False


async def test_the_state_of_a_removed_config_gets_a_tombstone(service: Service) -> None:
    service.change()
    await service.ticks(1)
    removed = ConfigRemoved(occurred_at=to_instant(service.now), config_id=1, version=2)
    service.handlers.on_record(0, CONFIG_CHANGES, "1", removed)
    service.handlers.on_record(0, CONFIG_CHANGES, "1", None)
    await service.state_publisher.flush(1)
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


async def test_slots_that_are_due_while_kafka_refuses_become_one_tick(service: Service) -> None:
    service.change()
    await service.ticks(1)
    service.kafka.refused_topics.add(TICKS.name)
    service.now = service.book.due_at(1)
    await eventually(lambda: service.kafka.refusals >= 1)
    service.now += HOUR_MS
    service.kafka.refused_topics.clear()
    assert (await service.ticks(2))[1].missed_slots == 6
    await service.no_more_than(2)


async def test_a_lane_that_kafka_refuses_does_not_delay_other_lanes(service: Service) -> None:
    service.kafka.refused_lanes.add("binance")
    for config_id in range(1, 25):
        service.change(config_id=config_id, exchange="binance" if config_id % 2 else "kraken")
    ticks = await service.ticks(12)
    assert {tick.lane for tick in ticks} == {"kraken"}
    service.kafka.refused_lanes.clear()
    assert len({tick.run_id for tick in await service.ticks(24)}) == 24


async def test_a_refused_tick_of_a_config_that_is_then_disabled_is_dropped(service: Service) -> None:
    service.kafka.refused_topics.add(TICKS.name)
    service.change()
    await eventually(lambda: service.kafka.refusals >= 1)
    service.change(version=2, enabled=False)
    await service.state_publisher.flush(1)
    service.kafka.refused_topics.clear()
    await service.no_more_than(0)


async def test_a_state_that_kafka_refuses_is_published_later_in_its_newest_version(service: Service) -> None:
    service.kafka.refused_topics.add(SCHEDULE_STATE.name)
    service.change()
    await eventually(lambda: service.kafka.refusals >= 1)
    service.change(version=2, interval_minutes=5)
    service.kafka.refused_topics.clear()
    assert await service.state_publisher.flush(2)
    assert service.kafka.states()[-1].interval_minutes == 5


async def test_no_state_is_published_while_the_initial_tick_is_pending(service: Service) -> None:
    service.kafka.refused_topics.add(TICKS.name)
    service.change()
    service.change(version=2, interval_minutes=5)
    await service.state_publisher.flush(1)
    assert service.kafka.states() == []


async def test_the_state_with_the_first_anchors_is_published_at_once(service: Service) -> None:
    service.change()
    (tick,) = await service.ticks(1)
    service.now += 1000
    service.finish(tick)
    await service.state_publisher.flush(1)
    anchors = {each.timeframe: each.anchor for each in service.kafka.states()[-1].progress}
    assert anchors == {each: to_instant(newest_closed(each, service.now)) for each in ("1m", "1h")}


async def test_the_state_with_the_first_requests_of_a_failing_series_is_published_at_once(service: Service) -> None:
    service.change()
    (tick,) = await service.ticks(1)
    result = a_result("1m", requested=[(NOON_MS - HOUR_MS, NOON_MS)])
    published = []
    for _ in range(2):
        service.now += MINUTE_MS
        service.finish(tick, status=RunStatus.FAILED, results=(result,))
        await service.state_publisher.flush(1)
        published.append(len(service.kafka.states()))
    assert published == [2, 2], "not again if only the number of attempts has changed"
    assert service.kafka.states()[-1].progress[0].pending[0].end == to_instant(NOON_MS)


async def test_runs_after_a_failed_run_read_on_from_the_last_anchor(service: Service) -> None:
    service.change()
    (first,) = await service.ticks(1)
    anchor = to_instant(newest_closed("1m", service.now))
    for tick, status in ((first, RunStatus.SUCCESS), (None, RunStatus.FAILED), (None, RunStatus.FAILED)):
        service.finish(tick or service.kafka.ticks()[-1], status=status)
        service.now = service.book.due_at(1)
        await service.ticks(len(service.kafka.ticks()) + 1)
    assert [tick.progress_of("1m").anchor for tick in service.kafka.ticks()] == [None, *[anchor] * 3]


async def test_a_failed_timeframe_does_not_hold_back_the_others(service: Service) -> None:
    service.change()
    (tick,) = await service.ticks(1)
    service.finish(tick)
    anchor = service.book.get(1).progress.of("1h").anchor
    service.now = service.book.due_at(1)
    (_, tick) = await service.ticks(2)
    failed = a_result("1h", error_class="network", error_message="no response")
    read = a_result("1m", anchor=newest_closed("1m", service.now), verified=[(NOON_MS - HOUR_MS, service.now)])
    service.finish(tick, status=RunStatus.FAILED, results=(read, failed))
    service.now = service.book.due_at(1)
    tick = (await service.ticks(3))[2]
    assert tick.progress_of("1m").anchor == read.anchor
    assert tick.progress_of("1h").anchor == to_instant(anchor)


async def test_a_stop_finishes_the_batches_in_flight_and_starts_no_others() -> None:
    service = Service()
    service.handlers.on_live(0)
    async with running(service):
        service.kafka.answering.clear()
        for config_id in range(1, 101):
            service.change(config_id=config_id)
        await eventually(lambda: service.tick_publisher._publishing == 4)
        await service.ticker.stop()
        service.kafka.answering.set()
    assert len(service.kafka.ticks()) == 40, "four batches of ten"
    assert len(service.kafka.states()) == 40


async def test_a_restart_continues_from_the_published_states(service: Service) -> None:
    service.handlers.on_record(1, SCHEDULE_STATE, "7", state_of(an_entry(settled=NOON_MS, config_id=7), NOON_MS))
    event = a_change(config_id=7)
    service.handlers.on_record(1, CONFIG_CHANGES, "7", event)
    service.handlers.on_record(1, SCHEDULE_STATE, "8", state_of(an_entry(settled=NOON_MS, config_id=8), NOON_MS))
    service.now += 3 * HOUR_MS
    await service.no_more_than(0)
    service.handlers.on_live(1)
    (tick,) = await service.ticks(1)
    assert (tick.config.config_id, tick.missed_slots) == (7, 17)
    assert (SCHEDULE_STATE, "8", None) in service.kafka.log, "a state without a config gets a tombstone"


async def test_anchors_beyond_the_catch_up_limit_are_counted_and_logged_once(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.change(timeframes=("1m",))
    (tick,) = await service.ticks(1)
    service.finish(tick)
    anchor = newest_closed("1m", service.now)
    service.now += 72 * HOUR_MS
    for count in (2, 3):
        tick = (await service.ticks(count))[-1]
        assert tick.progress_of("1m").anchor is None
        (pending,) = tick.progress_of("1m").pending
        assert pending.milliseconds() == (anchor + MINUTE_MS, floor_open("1m", service.now))
        service.now = service.book.due_at(1)
    assert service.metric("series_behind_total") >= 2
    assert capsys.readouterr().out.count("catch_up_limit_exceeded") == 1


def test_the_ticker_is_live_until_it_gets_stuck() -> None:
    service = Service()
    assert service.ticker.liveness() is None
    service.ticker._turned_at = -100.0
    assert "has been stuck" in (service.ticker.liveness() or "")


@pytest.mark.parametrize("reason", ["removal", "tombstone", "another owner"])
async def test_the_reported_anchors_of_a_config_are_removed_with_it(service: Service, reason: str) -> None:
    service.change()
    (tick,) = await service.ticks(1)
    service.finish(tick)
    service.now += 72 * HOUR_MS
    await service.ticks(2)
    assert len(service.tick_publisher._reported_behind) == 1
    if reason == "another owner":
        service.handlers.on_dropped({0})
    else:
        removed = ConfigRemoved(occurred_at=to_instant(service.now), config_id=1, version=2)
        service.handlers.on_record(0, CONFIG_CHANGES, "1", removed if reason == "removal" else None)
    assert service.tick_publisher._reported_behind == {}


async def test_a_thousand_tombstones_are_published_in_one_request(service: Service) -> None:
    for config_id in range(1, 1001):
        service.change(config_id=config_id)
    await service.ticks(1000)
    await service.state_publisher.flush(1)
    before = service.kafka.requests
    for config_id in range(1, 1001):
        service.handlers.on_record(0, CONFIG_CHANGES, str(config_id), None)
    await eventually(lambda: [event for _, _, event in service.kafka.log].count(None) == 1000)
    assert service.kafka.requests - before <= 4, "one for states and one for tombstones, of two batches at most"
