from typing import Any

from contracts.coverage import to_instant
from contracts.vocabulary import JobType, RunStatus, Trigger
from scheduler.entry import (
    Changed,
    Entry,
    after_run,
    changed,
    clamped,
    config_of,
    entry_from_state,
    plan_of,
    state_of,
)
from scheduler.grid import grid_of
from scheduler.progress import Pending, Series
from support.schedules import (
    HOUR_MS,
    NOON,
    NOON_MS,
    SPREAD_MS,
    a_config,
    a_result,
    a_run,
    an_entry,
    anchors,
    newest_closed,
)

LATER = NOON_MS + 2 * HOUR_MS
BOTH = {"1m": NOON_MS, "1h": NOON_MS}
"""The anchors of both timeframes of `a_config`."""


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
    entry = an_entry(settled=NOON_MS, anchor=NOON_MS)
    after = change(entry, now=NOON_MS + HOUR_MS, enabled=False)
    assert after.entry.due_at() is None
    assert after.skipped_slots == 6
    assert anchors(after.entry) == BOTH


def test_disabling_cancels_a_pending_initial_tick() -> None:
    after = change(an_entry(), enabled=False)
    assert after.entry.due_at() is None
    assert after.entry.initial is None


def test_enabling_again_makes_an_initial_tick_of_the_new_version_due_and_keeps_the_progress() -> None:
    off = change(an_entry(settled=NOON_MS, anchor=NOON_MS), enabled=False).entry
    on = change(off, now=LATER + HOUR_MS).entry
    assert (on.due_at(), on.initial, anchors(on)) == (0, 3, BOTH)


def test_a_new_description_does_not_change_the_schedule() -> None:
    entry = an_entry(settled=NOON_MS, anchor=NOON_MS)
    after = change(entry)
    assert after.skipped_slots == 0
    assert (after.entry.due_at(), after.entry.progress) == (entry.due_at(), entry.progress)
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


def test_a_new_market_must_be_collected_from_its_first_page_and_at_once() -> None:
    for what in ({"symbol": "ETH/USDT"}, {"exchange": "kraken"}):
        after = change(an_entry(settled=NOON_MS, anchor=NOON_MS), **what).entry
        assert (anchors(after), after.due_at(), after.initial) == ({"1m": None, "1h": None}, 0, 2), what


def test_a_new_timeframe_is_collected_at_once_and_the_others_keep_their_progress() -> None:
    after = change(an_entry(settled=NOON_MS, anchor=NOON_MS), timeframes=("1m", "1h", "1d")).entry
    assert (anchors(after), after.due_at(), after.initial) == ({**BOTH, "1d": None}, 0, 2)


def test_removing_a_timeframe_changes_no_progress() -> None:
    before = an_entry(settled=NOON_MS, anchor=NOON_MS)
    after = change(before, timeframes=("1h",)).entry
    assert (after.progress, after.initial) == (before.progress, None)


def test_a_timeframe_that_is_added_again_continues() -> None:
    pending = (Pending(NOON_MS - HOUR_MS, NOON_MS - 60_000, 2, LATER),)
    before = an_entry(settled=NOON_MS, progress={"1m": Series(NOON_MS, pending), "1h": Series(NOON_MS)})
    removed = change(before, timeframes=("1h",)).entry
    restored = entry_from_state(state_of(removed, LATER), 0, SPREAD_MS)
    assert change(restored, timeframes=("1m", "1h")).entry.progress == before.progress


def after(entry: Entry, **changes: Any) -> Entry:
    return after_run(entry, a_run(**{"ended": NOON_MS, "config": a_config(), **changes}), LATER).entry


def test_a_run_moves_the_anchor_of_each_timeframe_to_its_own_result() -> None:
    results = (a_result("1m", anchor=NOON_MS - 60_000), a_result("1h", anchor=NOON_MS - HOUR_MS))
    assert anchors(after(an_entry(settled=NOON_MS), results=results)) == {
        "1m": NOON_MS - 60_000,
        "1h": NOON_MS - HOUR_MS,
    }


def test_a_failed_run_counts_for_the_timeframes_that_it_read() -> None:
    verified = [(NOON_MS, NOON_MS + 60_000)]
    failed = a_result("1h", error_class="network", error_message="no response")
    run = {"results": (a_result("1m", anchor=NOON_MS, verified=verified), failed), "status": RunStatus.FAILED}
    assert anchors(after(an_entry(settled=NOON_MS, anchor=NOON_MS - HOUR_MS), **run)) == {
        "1m": NOON_MS,
        "1h": NOON_MS - HOUR_MS,
    }


def test_failed_and_skipped_runs_without_results_change_nothing() -> None:
    entry = an_entry(settled=NOON_MS)
    for status in (RunStatus.FAILED, RunStatus.SKIPPED):
        assert after(entry, status=status) is entry


def test_an_anchor_never_moves_back() -> None:
    entry = an_entry(settled=NOON_MS, anchor=NOON_MS)
    assert after(entry, ended=NOON_MS - 1) is entry


def test_a_run_of_the_old_symbol_changes_nothing_of_the_new_one() -> None:
    entry = an_entry(settled=NOON_MS, symbol="ETH/USDT")
    assert after(entry) is entry


def test_a_run_without_a_new_timeframe_counts_for_the_others() -> None:
    entry = after(an_entry(settled=NOON_MS, timeframes=("1m", "1h", "1d")))
    assert anchors(entry) == {each: newest_closed(each, NOON_MS) for each in ("1m", "1h")} | {"1d": None}


def test_a_manual_run_counts_and_leaves_the_time_before_its_page_pending() -> None:
    entry = an_entry(settled=LATER, anchor=NOON_MS - 24 * HOUR_MS, timeframes=("1m",))
    page = (LATER - HOUR_MS, LATER)
    result = a_result("1m", anchor=LATER - 60_000, verified=[page])
    series = after(entry, ended=LATER, results=(result,), trigger=Trigger.MANUAL).progress.of("1m")
    assert series == Series(LATER - 60_000, (Pending(NOON_MS - 24 * HOUR_MS, page[0]),))


def test_a_run_of_a_range_removes_pending_time_and_leaves_the_anchor_and_other_series() -> None:
    pending = (Pending(NOON_MS - 3 * HOUR_MS, NOON_MS - HOUR_MS),)
    entry = an_entry(settled=NOON_MS, progress={"1m": Series(NOON_MS, pending), "1h": Series(NOON_MS)})
    read = a_result("1m", anchor=LATER, verified=[(NOON_MS - 2 * HOUR_MS, NOON_MS - HOUR_MS)])
    change = {"ended": LATER, "results": (read,), "trigger": Trigger.RANGE, "job_type": JobType.BACKFILL}
    found = after(entry, **change).progress
    assert found.of("1m") == Series(NOON_MS, (Pending(NOON_MS - 3 * HOUR_MS, NOON_MS - 2 * HOUR_MS),))
    assert found.of("1h") == Series(NOON_MS)
    first = an_entry(settled=NOON_MS)
    assert after(first, **change) is first, "a range never gives a series its first anchor"


def test_an_anchor_of_a_wrong_clock_is_never_in_the_future() -> None:
    ahead = after(an_entry(settled=NOON_MS), ended=LATER + 24 * HOUR_MS)
    assert anchors(ahead) == {"1m": LATER, "1h": LATER}


def test_only_the_first_anchor_of_a_series_must_be_published_at_once() -> None:
    entry = an_entry(settled=NOON_MS, progress={"1m": Series(NOON_MS - HOUR_MS)})
    for timeframe, publish_now in (("1m", False), ("1h", True)):
        run = a_run(ended=NOON_MS, config=a_config(), results=(a_result(timeframe, anchor=NOON_MS - HOUR_MS + 60_000),))
        assert after_run(entry, run, LATER).publish_now is publish_now


def test_an_entry_from_a_published_state_has_the_same_schedule() -> None:
    for entry in (
        an_entry(settled=NOON_MS + 7, anchor=NOON_MS - 60_000),
        an_entry(settled=NOON_MS, progress={"1w": Series(None, (Pending(NOON_MS, LATER, 1, LATER),)), "1h": Series(3)}),
        an_entry(settled=NOON_MS, interval_minutes=7),
        an_entry(enabled=False),
    ):
        restored = entry_from_state(state_of(entry, LATER), 0, SPREAD_MS)
        assert (restored.settled, restored.progress, restored.grid, restored.due_at()) == (
            entry.settled,
            entry.progress,
            entry.grid,
            entry.due_at(),
        )


def test_the_published_state_contains_the_next_slot() -> None:
    entry = an_entry(settled=NOON_MS)
    assert state_of(entry, LATER).next_fire_at == to_instant(entry.grid.slot_after(NOON_MS))
    assert state_of(an_entry(settled=NOON_MS, enabled=False), LATER).next_fire_at is None


def test_an_entry_without_times_in_the_future_stays_unchanged() -> None:
    entry = an_entry(settled=NOON_MS + 4000, anchor=NOON_MS + 4000)
    assert clamped(entry, NOON_MS, 24 * HOUR_MS) is entry


def test_an_entry_with_times_in_the_future_continues_from_now_and_collects_the_catch_up_limit() -> None:
    entry = clamped(an_entry(settled=LATER, anchor=LATER), NOON_MS, 24 * HOUR_MS)
    assert entry.due_at() == an_entry(settled=NOON_MS).due_at()
    assert anchors(entry) == {"1m": NOON_MS - 24 * HOUR_MS, "1h": NOON_MS - 24 * HOUR_MS}


def test_an_anchor_in_the_future_alone_is_corrected_and_its_pending_spans_are_kept() -> None:
    pending = (Pending(NOON_MS - 48 * HOUR_MS, NOON_MS - 47 * HOUR_MS, 1, NOON_MS),)
    entry = an_entry(settled=NOON_MS, progress={"1m": Series(LATER, pending), "1h": Series(NOON_MS)})
    after = clamped(entry, NOON_MS, 24 * HOUR_MS)
    assert dict(after.progress) == {"1m": Series(NOON_MS - 24 * HOUR_MS, pending), "1h": Series(NOON_MS)}


def test_a_correction_keeps_an_anchor_that_is_not_in_the_future() -> None:
    entry = clamped(an_entry(settled=LATER, anchor=NOON_MS - 60_000), NOON_MS, 24 * HOUR_MS)
    assert (entry.settled, entry.progress.of("1m")) == (NOON_MS, Series(NOON_MS - 60_000))
