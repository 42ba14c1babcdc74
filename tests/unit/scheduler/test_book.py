from datetime import datetime, timedelta

import pytest

from contracts.configs import ConfigRemoved
from contracts.coverage import to_instant
from scheduler.book import Book, ScheduleChange
from scheduler.entry import state_of
from scheduler.progress import Pending, Series
from support.schedules import HOUR_MS, NOON, NOON_MS, SPREAD_MS, a_change, a_config, a_run, an_entry, anchors

LATER = NOON_MS + HOUR_MS
END = NOON + timedelta(minutes=35)
PENDING = len(range(int(an_entry().grid.slot_after(NOON_MS)), NOON_MS + 35 * 60_000 + 1, 600_000))


@pytest.fixture
def book() -> Book:
    """Owns partition 0, live and empty."""
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.go_live(0, NOON_MS)
    return book


def removal(version: int, config_id: int = 1, at: datetime = NOON) -> ConfigRemoved:
    return ConfigRemoved(occurred_at=at, config_id=config_id, version=version)


def test_a_new_config_changes_the_schedule_and_is_due_at_once(book: Book) -> None:
    assert book.config_changed(0, a_change(), NOON_MS).config_id == 1
    assert book.live_entry(1).due_at() == 0


def test_the_same_and_older_versions_change_nothing(book: Book) -> None:
    book.config_changed(0, a_change(version=3), NOON_MS)
    for version in (3, 2, 1):
        assert book.config_changed(0, a_change(version=version, interval_minutes=1), NOON_MS) is None
    assert book.get(1).plan.interval_minutes == 10


def test_older_versions_do_not_restore_a_removed_config(book: Book) -> None:
    book.config_changed(0, a_change(version=3), NOON_MS)
    assert book.config_removed(0, removal(4), NOON_MS)
    assert book.get(1) is None
    book.config_tombstone(0, 1)
    assert book.config_changed(0, a_change(version=3), NOON_MS) is None


def test_an_older_removal_changes_nothing(book: Book) -> None:
    book.config_changed(0, a_change(version=3), NOON_MS)
    assert not book.config_removed(0, removal(2), NOON_MS)
    assert book.get(1) is not None


def test_a_tombstone_alone_removes_a_config(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    assert book.config_tombstone(0, 1)
    assert not book.config_tombstone(0, 1)


def test_a_restore_accepts_events_in_any_order() -> None:
    state = state_of(an_entry(settled=NOON_MS, anchor=NOON_MS), NOON_MS)
    for states_first in (True, False):
        book = Book(SPREAD_MS, 24 * HOUR_MS)
        if states_first:
            book.state_read(0, 1, state, LATER)
        book.config_changed(0, a_change(), LATER)
        if not states_first:
            book.state_read(0, 1, state, LATER)
        assert book.live_entry(1) is None
        restored = book.go_live(0, LATER)
        assert (restored.config_ids, restored.changes, restored.orphans) == ((1,), (), ())
        assert (book.live_entry(1).settled, anchors(book.live_entry(1))) == (NOON_MS, {"1m": NOON_MS, "1h": NOON_MS})


def test_a_restore_reports_configs_that_changed_since_their_state() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS), NOON_MS), LATER)
    book.config_changed(0, a_change(version=2, enabled=False), LATER)
    restored = book.go_live(0, LATER)
    assert [change.config_id for change in restored.changes] == [1]
    assert restored.changes[0].skipped_slots == 0, "the change is dated before the first pending slot"
    assert book.live_entry(1).due_at() is None


def test_a_restored_config_without_a_state_has_a_pending_initial_tick() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.config_changed(0, a_change(), LATER)
    assert [change.config_id for change in book.go_live(0, LATER).changes] == [1]
    assert book.live_entry(1).due_at() == 0


def test_a_restored_state_without_a_config_is_an_orphan() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS), NOON_MS), LATER)
    assert book.go_live(0, LATER).orphans == (ScheduleChange(1),)
    assert book.get(1) is None


def test_a_restored_state_of_a_removed_config_is_an_orphan() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.config_changed(0, a_change(), LATER)
    book.config_removed(0, removal(2), NOON_MS)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS), NOON_MS), LATER)
    assert book.go_live(0, LATER).orphans == (ScheduleChange(1),)


def test_the_pending_slots_of_a_removed_config_are_reported(book: Book) -> None:
    book.state_read(1, 1, state_of(an_entry(settled=NOON_MS), NOON_MS), NOON_MS)
    book.config_changed(1, a_change(), NOON_MS)
    book.go_live(1, NOON_MS)
    removal_event = removal(2, at=END)
    assert book.config_removed(1, removal_event, LATER) == ScheduleChange(1, PENDING)
    assert book.config_removed(1, removal_event, LATER) is None, "they are reported once"


def test_a_restore_reports_the_pending_slots_of_a_removed_config() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS), NOON_MS), LATER)
    book.config_changed(0, a_change(), LATER)
    book.config_removed(0, removal(2, at=END), LATER)
    book.config_tombstone(0, 1)
    assert book.go_live(0, LATER).orphans == (ScheduleChange(1, PENDING),)


@pytest.mark.parametrize("removed", [False, True])
def test_a_restore_reports_the_pending_slots_of_versions_between_state_and_newest(removed: bool) -> None:
    disabled = state_of(an_entry(settled=NOON_MS, enabled=False), NOON_MS)
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.state_read(0, 1, disabled, LATER)
    book.config_changed(0, a_change(enabled=False), LATER)
    book.config_changed(0, a_change(version=2), LATER)
    if removed:
        book.config_removed(0, removal(3, at=END), LATER)
        assert book.go_live(0, LATER).orphans == (ScheduleChange(1, PENDING),)
    else:
        book.config_changed(0, a_change(version=3, enabled=False, updated_at=END), LATER)
        assert book.go_live(0, LATER).changes == (ScheduleChange(1, PENDING),)
        assert book.get(1).due_at() is None


def test_a_restore_reports_the_pending_slots_of_a_config_that_no_scheduler_has_known() -> None:
    """It was created and deleted while no scheduler ran."""
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.config_changed(0, a_change(updated_at=NOON), LATER)
    book.config_removed(0, removal(2, at=END), LATER)
    book.config_tombstone(0, 1)
    assert book.go_live(0, LATER).orphans == (ScheduleChange(1, PENDING),)


def test_a_restore_does_not_report_a_removed_config_again() -> None:
    """The scheduler that reported it removed its state, so a tombstone is in the topic."""
    for states_first in (True, False):
        book = Book(SPREAD_MS, 24 * HOUR_MS)
        if states_first:
            book.state_read(0, 1, None, LATER)
        book.config_changed(0, a_change(updated_at=NOON), LATER)
        book.config_removed(0, removal(2, at=END), LATER)
        if not states_first:
            book.state_read(0, 1, None, LATER)
        assert book.go_live(0, LATER).orphans == ()


def test_a_state_with_a_tombstone_is_not_restored() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS), NOON_MS), LATER)
    book.state_read(0, 1, None, LATER)
    assert book.go_live(0, LATER).orphans == ()


def test_a_state_of_this_instance_changes_nothing_on_a_live_partition(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    book.put(an_entry(settled=NOON_MS, anchor=NOON_MS), NOON_MS)
    before = book.get(1)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS - 1, anchor=NOON_MS), NOON_MS), LATER)
    book.state_read(0, 1, None, LATER)
    assert book.get(1) is before


def test_slots_that_another_owner_settled_are_not_due_again(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    book.pause(0)
    book.state_read(0, 1, state_of(an_entry(settled=LATER, anchor=LATER), LATER), LATER)
    book.go_live(0, LATER)
    assert book.live_entry(1).due_at() == an_entry(settled=LATER).due_at()
    assert anchors(book.live_entry(1)) == {"1m": LATER, "1h": LATER}


def test_an_older_state_does_not_move_the_progress_back(book: Book) -> None:
    pending = (Pending(NOON_MS - 2 * HOUR_MS, NOON_MS - HOUR_MS),)
    book.config_changed(0, a_change(), NOON_MS)
    book.put(an_entry(settled=NOON_MS, progress={"1m": Series(NOON_MS, pending), "1h": Series(NOON_MS)}), NOON_MS)
    before = book.get(1)
    for anchor in (NOON_MS - HOUR_MS, NOON_MS):
        book.state_read(0, 1, state_of(an_entry(settled=NOON_MS, anchor=anchor), NOON_MS), LATER)
        assert book.get(1) is before


def test_the_progress_of_another_owner_is_adopted_with_its_pending_spans(book: Book) -> None:
    theirs = Series(LATER, (Pending(NOON_MS + 60_000, LATER - 60_000, 1, LATER),))
    book.config_changed(0, a_change(), NOON_MS)
    book.put(an_entry(settled=NOON_MS, anchor=NOON_MS), NOON_MS)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS, progress={"1m": theirs}), LATER), LATER)
    assert book.get(1).progress.of("1m") == theirs
    assert book.get(1).progress.of("1h") == Series(NOON_MS)


def test_the_progress_of_the_old_symbol_is_not_adopted(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    book.put(an_entry(settled=NOON_MS), NOON_MS)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS, anchor=NOON_MS, symbol="ETH/USDT"), NOON_MS), LATER)
    assert anchors(book.get(1)) == {"1m": None, "1h": None}


def test_a_restored_state_with_times_in_the_future_is_corrected() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.config_changed(0, a_change(), NOON_MS)
    book.state_read(0, 1, state_of(an_entry(settled=LATER, anchor=LATER), LATER), NOON_MS)
    assert book.go_live(0, NOON_MS).clamped == (1,)
    assert book.live_entry(1).due_at() == an_entry(settled=NOON_MS).due_at()


def test_a_state_from_before_the_clock_was_set_back_is_ignored(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    book.put(an_entry(settled=LATER, anchor=NOON_MS), LATER)
    assert book.clamp_to_now(NOON_MS) == (1,)
    before = book.get(1)
    book.state_read(0, 1, state_of(an_entry(settled=LATER, anchor=NOON_MS), LATER), NOON_MS + 10)
    assert book.get(1) is before
    assert book.clamp_to_now(NOON_MS) == ()


def test_a_tick_that_is_acknowledged_after_the_clock_was_set_back_stores_no_time_in_the_future(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    book.put(an_entry(settled=LATER, anchor=NOON_MS), NOON_MS)
    assert book.get(1).settled == NOON_MS


def test_a_state_of_an_older_version_does_not_settle_a_pending_initial_tick(book: Book) -> None:
    book.config_changed(0, a_change(version=2), NOON_MS)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS, anchor=NOON_MS), NOON_MS), LATER)
    assert book.get(1).due_at() == 0
    assert anchors(book.get(1)) == {"1m": NOON_MS, "1h": NOON_MS}, "but its progress counts"


def test_a_paused_partition_has_no_due_ticks_and_accepts_changes(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    book.pause(0)
    assert (book.live_entry(1), book.live_partitions) == (None, 0)
    book.config_changed(0, a_change(version=2, interval_minutes=1), NOON_MS)
    assert book.go_live(0, NOON_MS).config_ids == (1,)
    assert book.live_entry(1).plan.interval_minutes == 1


def test_dropping_a_partition_removes_only_its_configs(book: Book) -> None:
    book.go_live(1, NOON_MS)
    book.config_changed(0, a_change(), NOON_MS)
    book.config_changed(1, a_change(config_id=2, enabled=False), NOON_MS)
    assert book.counts_by_state() == {"enabled": 1, "disabled": 1}
    book.drop({0})
    assert book.get(1) is None
    assert book.get(2) is not None
    assert book.counts_by_state() == {"enabled": 0, "disabled": 1}


def test_only_the_state_with_the_first_anchors_is_published_at_once(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    assert book.run_finished(0, a_run(ended=NOON_MS, config=a_config()), LATER)
    assert not book.run_finished(0, a_run(ended=NOON_MS + 60_000, config=a_config()), LATER)
    assert anchors(book.get(1)) == {"1m": NOON_MS, "1h": NOON_MS - HOUR_MS}


def test_the_end_of_a_run_of_an_unknown_config_changes_nothing(book: Book) -> None:
    assert not book.run_finished(0, a_run(ended=NOON_MS, config=a_config()), LATER)


def test_replacing_an_entry_does_not_restore_a_removed_config(book: Book) -> None:
    book.put(an_entry(), NOON_MS)
    assert book.get(1) is None


def removed(config_id: int, now: int) -> ConfigRemoved:
    return ConfigRemoved(occurred_at=to_instant(now), config_id=config_id, version=9)


def test_a_removal_is_stored_for_one_day(book: Book) -> None:
    day = 24 * HOUR_MS
    for number in range(1, 101):
        book.config_removed(0, removed(number, NOON_MS), NOON_MS)
    assert book.config_changed(0, a_change(config_id=100), NOON_MS + day - 1) is None, "an older version, repeated"
    book.config_removed(0, removed(101, NOON_MS + day), NOON_MS + day)
    assert set(book._partitions[0].removed) == {101}


def test_old_removals_are_stored_until_the_partition_is_restored() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.config_removed(0, removed(1, NOON_MS), NOON_MS)
    later = NOON_MS + 48 * HOUR_MS
    book.config_removed(0, removed(2, later), later)
    assert set(book._partitions[0].removed) == {1, 2}
    book.go_live(0, later)
    assert set(book._partitions[0].removed) == {2}
