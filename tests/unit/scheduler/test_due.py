from contracts.coverage import to_instant
from contracts.ticks import initial_run_id, resync_run_id, slot_run_id
from contracts.vocabulary import Trigger
from scheduler.due import acknowledged, decide, tick_of
from scheduler.entry import changed, created, plan_of
from scheduler.grid import MINUTE_MS
from scheduler.progress import Pending, Series, to_event
from support.schedules import HOUR_MS, NOON_MS, SPREAD_MS, a_config, a_policy, an_entry

DAY_MS = 24 * HOUR_MS
POLICY = a_policy()


def test_one_tick_is_due_at_its_slot_and_not_before() -> None:
    entry = an_entry(settled=NOON_MS, anchor=NOON_MS)
    slot = entry.due_at()
    assert decide(entry, slot - 1, POLICY) is None
    due = decide(entry, slot, POLICY)
    assert (due.trigger, due.scheduled_for, due.missed_slots) == (Trigger.SCHEDULED, slot, 0)
    assert decide(acknowledged(entry, due), slot, POLICY) is None


def test_a_tick_contains_its_slot_run_id_and_progress() -> None:
    pending = (Pending(NOON_MS - HOUR_MS, NOON_MS - MINUTE_MS, 1, NOON_MS),)
    progress = {"1m": Series(NOON_MS, pending), "1d": Series(NOON_MS - DAY_MS)}
    entry = an_entry(settled=NOON_MS, progress=progress)
    tick = tick_of(decide(entry, entry.due_at() + 3, POLICY), entry.due_at() + 3, POLICY)
    slot = to_instant(entry.due_at())
    assert tick.run_id == slot_run_id(1, slot)
    assert tick.scheduled_for == slot
    assert tick.progress == (to_event("1m", progress["1m"]),), "only timeframes of the config"
    assert tick.progress_of("1h").anchor is None
    assert (tick.config, tick.deadline_seconds, tick.lane) == (a_config(), 120, "binance")


def test_the_lane_follows_the_setting() -> None:
    entry = an_entry(config_id=5)
    due = decide(entry, NOON_MS, POLICY)
    assert tick_of(due, NOON_MS, a_policy(lanes={"binance": 4})).lane == "binance#1"


def test_a_new_config_gets_an_initial_tick_with_an_id_of_its_version() -> None:
    entry = an_entry(version=3)
    due = decide(entry, NOON_MS + 10, POLICY)
    tick = tick_of(due, NOON_MS + 10, POLICY)
    assert (tick.trigger, tick.run_id) == (Trigger.INITIAL, initial_run_id(1, 3))
    assert tick.progress == ()
    after = acknowledged(entry, due)
    assert after.due_at() == entry.grid.slot_after(NOON_MS + 10)


def test_a_config_of_a_resync_gets_a_run_that_the_log_does_not_contain_yet() -> None:
    """Otherwise its result would be merged with the initial run of the same version, which ended long ago."""
    entry = created(plan_of(a_config(version=3), resynced_at=NOON_MS), 0, SPREAD_MS)
    tick = tick_of(decide(entry, NOON_MS + 10, POLICY), NOON_MS + 10, POLICY)
    again = tick_of(decide(entry, NOON_MS + 20, POLICY), NOON_MS + 20, POLICY)
    assert (tick.trigger, tick.run_id) == (Trigger.INITIAL, resync_run_id(1, 3, to_instant(NOON_MS)))
    assert tick.run_id == again.run_id != initial_run_id(1, 3)
    assert tick.scheduled_for == to_instant(NOON_MS), "a run for the time of the change would count as late"


def test_missed_slots_are_one_tick_for_the_latest_of_them() -> None:
    entry = an_entry(settled=NOON_MS, anchor=NOON_MS)
    due = decide(entry, NOON_MS + 3 * HOUR_MS, POLICY)
    assert due.scheduled_for == entry.grid.slot_at(NOON_MS + 3 * HOUR_MS)
    assert due.missed_slots == 17
    assert dict(due.progress) == {"1m": Series(NOON_MS), "1h": Series(NOON_MS)}


def test_the_run_after_a_failed_one_reads_on_from_the_same_anchor() -> None:
    entry = an_entry(settled=NOON_MS, anchor=NOON_MS - HOUR_MS)
    assert dict(decide(entry, entry.due_at(), POLICY).progress)["1m"].anchor == NOON_MS - HOUR_MS


def test_after_a_long_outage_the_newest_page_comes_first_and_the_outage_is_pending() -> None:
    now = NOON_MS + 3 * DAY_MS
    due = decide(an_entry(settled=NOON_MS, anchor=NOON_MS), now, POLICY)
    assert dict(due.progress) == {
        "1m": Series(None, (Pending(NOON_MS + MINUTE_MS, now),)),
        "1h": Series(None, (Pending(NOON_MS + HOUR_MS, now),)),
    }
    assert due.behind == (("1m", NOON_MS), ("1h", NOON_MS))


def test_after_an_acknowledged_tick_without_an_anchor_the_schedule_still_has_it() -> None:
    entry = an_entry(settled=NOON_MS, anchor=NOON_MS)
    due = decide(entry, NOON_MS + 3 * DAY_MS, POLICY)
    assert acknowledged(entry, due).progress == entry.progress, "the run may fail"


def test_a_weekly_config_reads_on_from_its_anchor() -> None:
    entry = an_entry(settled=NOON_MS, anchor=NOON_MS, interval_minutes=10_080)
    due = decide(entry, entry.due_at(), POLICY)
    assert (dict(due.progress), due.behind) == ({"1m": Series(NOON_MS), "1h": Series(NOON_MS)}, ())


def test_an_anchor_at_the_last_boundary_of_a_long_candle_is_not_too_old() -> None:
    entry = an_entry(settled=NOON_MS, anchor=NOON_MS - 30 * DAY_MS, timeframes=("1M",))
    assert decide(entry, entry.due_at(), POLICY).behind == ()


def test_a_late_acknowledgement_does_not_settle_a_new_initial_tick() -> None:
    entry = an_entry(settled=NOON_MS, anchor=NOON_MS)
    due = decide(entry, entry.due_at(), POLICY)
    replaced_entry = changed(entry, plan_of(a_config(version=2, symbol="ETH/USDT")), entry.due_at(), SPREAD_MS).entry
    assert acknowledged(replaced_entry, due) == replaced_entry


def test_an_acknowledged_initial_tick_does_not_settle_the_one_of_a_later_version() -> None:
    entry = an_entry()
    due = decide(entry, NOON_MS, POLICY)
    off = changed(entry, plan_of(a_config(version=2, enabled=False)), NOON_MS, SPREAD_MS).entry
    on = changed(off, plan_of(a_config(version=3)), NOON_MS, SPREAD_MS).entry
    assert acknowledged(on, due).initial == 3


def test_an_acknowledgement_after_the_interval_changed_does_not_move_the_schedule_back() -> None:
    entry = an_entry(settled=NOON_MS)
    slot = entry.due_at()
    due = decide(entry, slot, POLICY)
    faster = changed(entry, plan_of(a_config(version=2, interval_minutes=1)), slot + HOUR_MS, SPREAD_MS).entry
    assert acknowledged(faster, due).settled == max(faster.settled, slot)


def test_nothing_is_due_while_the_clock_is_behind_the_settled_slots() -> None:
    entry = an_entry(settled=NOON_MS)
    assert decide(entry, NOON_MS - 5 * HOUR_MS, POLICY) is None
