"""One scheduler with a real Kafka and a settable clock."""

import json
import time
from datetime import UTC, datetime

import pytest

from contracts.configs import ConfigRemoved
from contracts.coverage import to_instant, to_milliseconds
from contracts.schedule import JobScheduled
from contracts.ticks import TickDue, initial_run_id, slot_run_id
from contracts.topics import CONFIG_CHANGES, RUN_EVENTS, SCHEDULE_STATE
from contracts.vocabulary import RunStatus, Trigger
from scheduler.entry import state_of
from scheduler.grid import MINUTE_MS, grid_of
from scheduler.settings import SchedulerSettings
from support.kafka import read_topic
from support.polling import eventually
from support.schedules import SPREAD_MS, an_entry, newest_closed, the_run_of
from support.scheduling import World

pytestmark = pytest.mark.kafka

GRID = grid_of(1, 10, SPREAD_MS)


def now() -> datetime:
    return datetime.now(UTC)


def anchors_of(event: TickDue | JobScheduled) -> dict[str, datetime | None]:
    return {series.timeframe: series.anchor for series in event.progress}


async def collected(world: World, tick: TickDue) -> dict[str, datetime | None]:
    """End the first run of a config. Returns the anchors that the scheduler publishes at once."""
    await world.publish(RUN_EVENTS, [the_run_of(tick, ended=world.clock())])
    states = await world.seen.await_events(JobScheduled, 1, lambda state: bool(state.progress))
    found = anchors_of(states[0])
    assert found == {
        each: to_instant(newest_closed(each, to_milliseconds(states[0].occurred_at))) for each in ("1m", "1h")
    }
    return found


async def test_a_new_config_gets_a_tick_within_a_second_and_then_follows_its_grid(world: World) -> None:
    async with world.scheduler():
        await world.change(updated_at=now())
        before = time.monotonic()
        tick = await world.tick(1)
        assert time.monotonic() - before < 1
        assert (tick.trigger, tick.run_id, tick.progress) == (Trigger.INITIAL, initial_run_id(1, 1), ())
        state = await world.state(1)
        slot = GRID.slot_after(to_milliseconds(state.last_slot or now()))
        assert state.next_fire_at == to_instant(slot)
        world.clock.set_to(slot)
        tick = await world.tick(2)
        assert (tick.trigger, tick.run_id) == (Trigger.SCHEDULED, slot_run_id(1, to_instant(slot)))
        assert (await world.state(2)).last_slot == to_instant(slot)


async def test_a_change_of_the_interval_is_effective_within_a_second(world: World) -> None:
    async with world.scheduler():
        await world.change(updated_at=now(), interval_minutes=60)
        await world.state(1)
        await world.change(version=2, updated_at=now(), interval_minutes=1)
        before = time.monotonic()
        state = await world.state(2)
        assert time.monotonic() - before < 1
        assert (state.interval_minutes, state.config_version) == (1, 2)
        assert state.next_fire_at is not None
        world.clock.set_to(to_milliseconds(state.next_fire_at))
        tick = await world.tick(2)
        assert (tick.scheduled_for, tick.config.interval_minutes) == (state.next_fire_at, 1)


async def test_a_disabled_config_gets_no_tick_until_it_is_enabled(world: World) -> None:
    async with world.scheduler():
        await world.change(updated_at=now())
        await world.state(1)
        await world.change(version=2, enabled=False, updated_at=now())
        state = await world.state(2)
        assert (state.active, state.next_fire_at) == (False, None)
        world.clock.ahead_ms += 60 * MINUTE_MS
        await world.change(version=3, updated_at=to_instant(world.clock()))
        tick = await world.tick(2)
        assert (tick.trigger, tick.run_id) == (Trigger.INITIAL, initial_run_id(1, 3))
        assert (await world.state(3)).active


async def test_a_deleted_config_gets_no_tick_and_its_state_a_tombstone(world: World) -> None:
    async with world.scheduler():
        await world.change(updated_at=now())
        await world.state(1)
        removed = ConfigRemoved(occurred_at=now(), config_id=1, version=2)
        await world.publisher.publish(CONFIG_CHANGES, removed)
        await world.publisher.tombstone(CONFIG_CHANGES, "1")
        await eventually(lambda: world.tombstones(SCHEDULE_STATE) == ["1"])
        world.clock.ahead_ms += 60 * MINUTE_MS
        await world.change(config_id=2, updated_at=to_instant(world.clock()))
        assert (await world.tick(2)).config.config_id == 2


async def test_an_old_change_that_arrives_again_changes_nothing(world: World) -> None:
    async with world.scheduler():
        await world.change(version=5, updated_at=now())
        await world.state(1)
        await world.change(version=4, interval_minutes=1, updated_at=now())
        await world.change(version=5, interval_minutes=1, updated_at=now())
        await world.change(version=6, enabled=False, updated_at=now())
        assert [state.config_version for state in await world.seen.await_events(JobScheduled, 2)] == [5, 6]


async def test_after_a_restart_one_tick_covers_all_missed_slots(world: World) -> None:
    async with world.scheduler():
        await world.change(updated_at=now())
        state = await world.state(1)
    missed_until = GRID.slot_after(to_milliseconds(state.last_slot or now())) + 5 * GRID.interval_ms
    world.clock.set_to(missed_until)
    async with world.scheduler():
        tick = await world.tick(2)
        assert (tick.scheduled_for, tick.missed_slots) == (to_instant(missed_until), 5)
        await world.state(2)
    async with world.scheduler():
        await world.change(version=2, enabled=False, updated_at=to_instant(world.clock()))
        await world.state(3)
    assert len(world.seen.events(TickDue)) == 2, "a restart alone publishes no tick"


async def test_changes_while_no_scheduler_ran_take_effect_after_the_restart(world: World) -> None:
    async with world.scheduler():
        for config_id in (1, 2, 3):
            await world.change(config_id=config_id, updated_at=now())
        await world.state(3)
    await world.change(config_id=1, version=2, enabled=False, updated_at=now())
    await world.publisher.publish(CONFIG_CHANGES, ConfigRemoved(occurred_at=now(), config_id=2, version=2))
    await world.publisher.tombstone(CONFIG_CHANGES, "2")
    await world.change(config_id=3, version=2, symbol="ETH/USDT", updated_at=now())
    async with world.scheduler():
        tick = await world.tick(4)
        assert (tick.run_id, tick.config.symbol, tick.progress) == (initial_run_id(3, 2), "ETH/USDT", ())
        await eventually(lambda: world.tombstones(SCHEDULE_STATE) == ["2"])
        states = await world.seen.await_events(JobScheduled, 5)
        assert {(state.config_id, state.active) for state in states[3:]} == {(1, False), (3, True)}


async def test_states_without_a_config_get_a_tombstone_and_configs_without_a_state_an_initial_tick(
    world: World,
) -> None:
    await world.publish(SCHEDULE_STATE, [state_of(an_entry(settled=world.clock(), config_id=9), world.clock())])
    await world.change(config_id=4, updated_at=now())
    async with world.scheduler():
        assert (await world.tick(1)).run_id == initial_run_id(4, 1)
        await eventually(lambda: world.tombstones(SCHEDULE_STATE) == ["9"])


async def test_runs_after_a_failed_one_read_on_from_the_same_anchors(world: World) -> None:
    async with world.scheduler():
        await world.change(updated_at=now())
        first = await world.tick(1)
        anchors = await collected(world, first)
        for number in (2, 3):
            world.clock.set_to(GRID.slot_after(world.clock()))
            tick = await world.tick(number)
            assert anchors_of(tick) == anchors
            await world.publish(RUN_EVENTS, [the_run_of(tick, ended=world.clock(), status=RunStatus.FAILED)])


async def test_a_new_timeframe_changes_no_anchor_of_the_others(world: World) -> None:
    async with world.scheduler():
        await world.change(updated_at=now())
        anchors = await collected(world, await world.tick(1))
        await world.change(version=2, updated_at=now(), timeframes=("1m", "1h", "1d"))
        tick = await world.tick(2)
        assert (tick.trigger, anchors_of(tick)) == (Trigger.INITIAL, anchors)


async def test_the_progress_survives_a_restart(world: World) -> None:
    async with world.scheduler():
        await world.change(updated_at=now())
        anchors = await collected(world, await world.tick(1))
    world.clock.set_to(GRID.slot_after(world.clock()))
    async with world.scheduler():
        assert anchors_of(await world.tick(2)) == anchors


async def test_a_state_of_the_previous_release_is_restored(world: World) -> None:
    """It has one covered time for all timeframes. Everything before the candle that contains it was read."""
    noon = datetime(2026, 5, 4, 12, tzinfo=UTC)
    world.clock.set_to(to_milliseconds(noon))
    document = state_of(an_entry(settled=to_milliseconds(noon)), to_milliseconds(noon)).model_dump(
        mode="json", exclude={"progress"}
    )
    document |= {"schema_version": 1, "covered_until": "2026-05-04T11:30:00Z"}
    await world.publisher.publish_raw(SCHEDULE_STATE, key="1", value=json.dumps(document).encode(), headers={})
    await world.change(updated_at=noon)
    world.clock.set_to(GRID.slot_after(to_milliseconds(noon)))
    async with world.scheduler():
        expected = {"1m": noon.replace(hour=11, minute=29), "1h": noon.replace(hour=10)}
        assert anchors_of(await world.tick(1)) == expected


async def test_an_unreadable_change_becomes_a_dead_letter_and_others_take_effect(world: World) -> None:
    async with world.scheduler():
        await world.publisher.publish_raw(CONFIG_CHANGES, key="1", value=b"not json", headers={})
        await world.change(updated_at=now())
        await world.tick(1)
    from contracts.topics import DEAD_LETTERS

    (letter,) = await read_topic(world.settings, DEAD_LETTERS)
    assert letter.key.endswith("config-changes")


def test_a_bad_lane_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        SchedulerSettings(kafka_bootstrap_servers="k:1", exchange_lanes={"binance": 0})
