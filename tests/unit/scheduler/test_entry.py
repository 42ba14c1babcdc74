from typing import Any

from contracts.vocabulary import RunStatus, Trigger
from scheduler.entry import (
    Changed,
    Entry,
    after_run,
    changed,
    clamped,
    config_of,
    covers,
    entry_from_state,
    plan_of,
    state_of,
)
from scheduler.grid import grid_of, to_instant
from support.schedules import HOUR_MS, NOON, NOON_MS, SPREAD_MS, a_config, a_run, an_entry

LATER = NOON_MS + 2 * HOUR_MS


def change(entry: Entry, now: int = LATER, **config: Any) -> Changed:
    plan = plan_of(a_config(**{"version": entry.plan.version + 1, "updated_at": to_instant(now), **config}))
    return changed(entry, plan, now, SPREAD_MS)


def test_a_plan_contains_all_fields_of_a_config() -> None:
    config = a_config(symbol="ETH/USDT:USDT", updated_at=NOON)
    assert config_of(plan_of(config)) == config


def test_the_initial_tick_of_a_new_config_is_due_at_once() -> None:
    assert an_entry().due_at() == 0


def test_a_new_disabled_config_is_never_due() -> None:
    assert an_entry(enabled=False).due_at() is None


def test_a_settled_entry_is_due_at_its_next_slot() -> None:
    entry = an_entry(settled=NOON_MS)
    assert entry.due_at() == grid_of(1, 10, SPREAD_MS).slot_after(NOON_MS)


def test_disabling_stops_the_schedule_and_reports_the_pending_slots() -> None:
    entry = an_entry(settled=NOON_MS, covered=NOON_MS)
    after = change(entry, now=NOON_MS + HOUR_MS, enabled=False)
    assert after.entry.due_at() is None
    assert after.skipped_slots == 6
    assert after.entry.covered == NOON_MS


def test_disabling_cancels_a_pending_initial_tick() -> None:
    after = change(an_entry(), enabled=False)
    assert after.entry.due_at() is None
    assert after.entry.initial is None


def test_enabling_again_makes_an_initial_tick_of_the_new_version_due_and_keeps_the_covered_time() -> None:
    off = change(an_entry(settled=NOON_MS, covered=NOON_MS), enabled=False).entry
    on = change(off, now=LATER + HOUR_MS).entry
    assert (on.due_at(), on.initial, on.covered) == (0, 3, NOON_MS)


def test_a_new_description_does_not_change_the_schedule() -> None:
    entry = an_entry(settled=NOON_MS, covered=NOON_MS)
    after = change(entry)
    assert after.skipped_slots == 0
    assert (after.entry.due_at(), after.entry.covered) == (entry.due_at(), entry.covered)
    assert after.entry.plan.version == 2


def test_a_new_interval_counts_from_the_change_and_reports_pending_slots_of_the_old_one() -> None:
    after = change(an_entry(settled=NOON_MS), now=NOON_MS + HOUR_MS, interval_minutes=1)
    assert after.skipped_slots == 6
    assert after.entry.settled == NOON_MS + HOUR_MS
    assert NOON_MS + HOUR_MS < after.entry.due_at() <= NOON_MS + HOUR_MS + 60_000


def test_a_new_interval_with_a_time_in_the_future_counts_from_now() -> None:
    ahead = to_instant(LATER + 24 * HOUR_MS)
    after = change(an_entry(settled=LATER - 60_000), now=LATER, interval_minutes=1, updated_at=ahead)
    assert after.entry.settled == LATER


def test_a_new_interval_never_moves_the_schedule_back() -> None:
    after = change(an_entry(settled=LATER), now=LATER + 5, interval_minutes=1, updated_at=NOON)
    assert after.entry.settled == LATER


def test_a_new_series_must_be_collected_from_its_first_page_and_at_once() -> None:
    for what in ({"symbol": "ETH/USDT"}, {"exchange": "kraken"}, {"timeframes": ("1m", "1h", "1d")}):
        after = change(an_entry(settled=NOON_MS, covered=NOON_MS), **what).entry
        assert (after.covered, after.due_at(), after.initial) == (None, 0, 2), what


def test_removing_a_timeframe_keeps_the_covered_time() -> None:
    after = change(an_entry(settled=NOON_MS, covered=NOON_MS), timeframes=("1h",)).entry
    assert (after.covered, after.initial) == (NOON_MS, None)


def test_a_successful_run_covers_the_time_that_it_reports() -> None:
    assert after_run(an_entry(settled=NOON_MS), a_run(ended=NOON_MS, config=a_config()), LATER).covered == NOON_MS


def test_failed_and_skipped_runs_cover_nothing() -> None:
    entry = an_entry(settled=NOON_MS)
    for status in (RunStatus.FAILED, RunStatus.SKIPPED):
        assert after_run(entry, a_run(ended=NOON_MS, status=status, config=a_config()), LATER) is entry


def test_the_covered_time_only_increases() -> None:
    entry = an_entry(settled=NOON_MS, covered=NOON_MS)
    assert after_run(entry, a_run(ended=NOON_MS - 1, config=a_config()), LATER) is entry


def test_a_run_of_the_old_symbol_covers_nothing_of_the_new_one() -> None:
    entry = an_entry(settled=NOON_MS, symbol="ETH/USDT")
    assert after_run(entry, a_run(ended=NOON_MS, config=a_config()), LATER) is entry


def test_a_run_without_a_timeframe_of_the_plan_covers_nothing() -> None:
    entry = an_entry(settled=NOON_MS, timeframes=("1m", "1h", "1d"))
    assert after_run(entry, a_run(ended=NOON_MS, config=a_config()), LATER) is entry


def test_a_manual_run_does_not_cover_a_gap_that_failed_runs_left() -> None:
    entry = an_entry(settled=LATER, covered=NOON_MS)
    assert after_run(entry, a_run(ended=LATER, config=a_config(), trigger=Trigger.MANUAL), LATER) is entry


def test_a_manual_run_counts_as_the_first_run_if_nothing_is_covered() -> None:
    entry = an_entry(settled=LATER)
    assert after_run(entry, a_run(ended=LATER, config=a_config(), trigger=Trigger.MANUAL), LATER).covered == LATER


def test_a_collector_whose_clock_is_ahead_cannot_cover_the_future() -> None:
    ahead = a_run(ended=LATER + 24 * HOUR_MS, config=a_config())
    assert after_run(an_entry(settled=NOON_MS), ahead, LATER).covered == LATER


def test_the_order_of_timeframes_does_not_matter() -> None:
    assert covers("binance", "BTC/USDT", ("1h", "1m"), plan_of(a_config()))


def test_an_entry_from_a_published_state_has_the_same_schedule() -> None:
    for entry in (
        an_entry(settled=NOON_MS + 7, covered=NOON_MS + 3),
        an_entry(settled=NOON_MS, interval_minutes=7),
        an_entry(enabled=False),
    ):
        restored = entry_from_state(state_of(entry, LATER), 0, SPREAD_MS)
        assert (restored.settled, restored.covered, restored.grid, restored.due_at()) == (
            entry.settled,
            entry.covered,
            entry.grid,
            entry.due_at(),
        )


def test_the_published_state_contains_the_next_slot() -> None:
    entry = an_entry(settled=NOON_MS)
    assert state_of(entry, LATER).next_fire_at == to_instant(entry.grid.slot_after(NOON_MS))
    assert state_of(an_entry(settled=NOON_MS, enabled=False), LATER).next_fire_at is None


def test_an_entry_without_times_in_the_future_stays_unchanged() -> None:
    entry = an_entry(settled=NOON_MS + 4000, covered=NOON_MS + 4000)
    assert clamped(entry, NOON_MS, 24 * HOUR_MS) is entry


def test_an_entry_with_times_in_the_future_continues_from_now_and_collects_the_catch_up_limit() -> None:
    entry = clamped(an_entry(settled=LATER, covered=LATER), NOON_MS, 24 * HOUR_MS)
    assert entry.due_at() == an_entry(settled=NOON_MS).due_at()
    assert entry.covered == NOON_MS - 24 * HOUR_MS


def test_a_correction_keeps_a_covered_time_that_is_not_in_the_future() -> None:
    entry = clamped(an_entry(settled=LATER, covered=NOON_MS - 60_000), NOON_MS, 24 * HOUR_MS)
    assert (entry.settled, entry.covered) == (NOON_MS, NOON_MS - 60_000)
