from datetime import datetime, timedelta

import pytest

from contracts.configs import ConfigRemoved
from scheduler.book import Book, ScheduleChange
from scheduler.entry import state_of
from scheduler.grid import to_instant
from support.schedules import HOUR_MS, NOON, NOON_MS, SPREAD_MS, a_change, a_config, a_run, an_entry

LATER = NOON_MS + HOUR_MS
END = NOON + timedelta(minutes=35)
OWED = len(range(int(an_entry().grid.slot_after(NOON_MS)), NOON_MS + 35 * 60_000 + 1, 600_000))


@pytest.fixture
def book() -> Book:
    """Owns partition 0, live and empty."""
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.go_live(0, NOON_MS)
    return book


def removal(version: int, config_id: int = 1, at: datetime = NOON) -> ConfigRemoved:
    return ConfigRemoved(occurred_at=at, config_id=config_id, version=version)


def test_a_new_config_is_news_and_may_fire(book: Book) -> None:
    assert book.config_changed(0, a_change(), NOON_MS).config_id == 1
    assert book.firing(1).due_at() == 0


def test_the_same_and_older_versions_are_no_news(book: Book) -> None:
    book.config_changed(0, a_change(version=3), NOON_MS)
    for version in (3, 2, 1):
        assert book.config_changed(0, a_change(version=version, interval_minutes=1), NOON_MS) is None
    assert book.get(1).plan.interval_minutes == 10


def test_a_removed_config_is_gone_and_older_versions_do_not_bring_it_back(book: Book) -> None:
    book.config_changed(0, a_change(version=3), NOON_MS)
    assert book.config_removed(0, removal(4), NOON_MS)
    assert book.get(1) is None
    book.config_forgotten(0, 1)
    assert book.config_changed(0, a_change(version=3), NOON_MS) is None


def test_an_older_removal_is_no_news(book: Book) -> None:
    book.config_changed(0, a_change(version=3), NOON_MS)
    assert not book.config_removed(0, removal(2), NOON_MS)
    assert book.get(1) is not None


def test_a_tombstone_alone_removes_a_config_too(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    assert book.config_forgotten(0, 1)
    assert not book.config_forgotten(0, 1)


def test_restoring_takes_news_in_any_order() -> None:
    state = state_of(an_entry(settled=NOON_MS, covered=NOON_MS), NOON_MS)
    for states_first in (True, False):
        book = Book(SPREAD_MS, 24 * HOUR_MS)
        if states_first:
            book.state_read(0, 1, state, LATER)
        book.config_changed(0, a_change(), LATER)
        if not states_first:
            book.state_read(0, 1, state, LATER)
        assert book.firing(1) is None
        restored = book.go_live(0, LATER)
        assert (restored.config_ids, restored.changes, restored.orphans) == ((1,), (), ())
        assert (book.firing(1).settled, book.firing(1).covered) == (NOON_MS, NOON_MS)


def test_restoring_notices_what_changed_since_the_state_was_published() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS), NOON_MS), LATER)
    book.config_changed(0, a_change(version=2, enabled=False), LATER)
    restored = book.go_live(0, LATER)
    assert [change.config_id for change in restored.changes] == [1]
    assert restored.changes[0].skipped_slots == 0, "the change is dated before the first slot that was owed"
    assert book.firing(1).due_at() is None


def test_restoring_a_config_without_state_owes_an_initial_tick() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.config_changed(0, a_change(), LATER)
    assert [change.config_id for change in book.go_live(0, LATER).changes] == [1]
    assert book.firing(1).due_at() == 0


def test_restoring_a_state_without_config_makes_an_orphan() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS), NOON_MS), LATER)
    assert book.go_live(0, LATER).orphans == (ScheduleChange(1),)
    assert book.get(1) is None


def test_restoring_a_removed_config_makes_an_orphan_of_its_state() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.config_changed(0, a_change(), LATER)
    book.config_removed(0, removal(2), NOON_MS)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS), NOON_MS), LATER)
    assert book.go_live(0, LATER).orphans == (ScheduleChange(1),)


def test_slots_that_a_removed_config_owed_are_told(book: Book) -> None:
    book.state_read(1, 1, state_of(an_entry(settled=NOON_MS), NOON_MS), NOON_MS)
    book.config_changed(1, a_change(), NOON_MS)
    book.go_live(1, NOON_MS)
    gone = removal(2, at=END)
    assert book.config_removed(1, gone, LATER) == ScheduleChange(1, OWED)
    assert book.config_removed(1, gone, LATER) is None, "they are told once"


def test_restoring_tells_slots_that_a_removed_config_owed_until_then() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS), NOON_MS), LATER)
    book.config_changed(0, a_change(), LATER)
    book.config_removed(0, removal(2, at=END), LATER)
    book.config_forgotten(0, 1)
    assert book.go_live(0, LATER).orphans == (ScheduleChange(1, OWED),)


@pytest.mark.parametrize("removed", [False, True])
def test_restoring_tells_slots_of_versions_that_came_and_went_unheard(removed: bool) -> None:
    asleep = state_of(an_entry(settled=NOON_MS, enabled=False), NOON_MS)
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.state_read(0, 1, asleep, LATER)
    book.config_changed(0, a_change(enabled=False), LATER)
    book.config_changed(0, a_change(version=2), LATER)
    if removed:
        book.config_removed(0, removal(3, at=END), LATER)
        assert book.go_live(0, LATER).orphans == (ScheduleChange(1, OWED),)
    else:
        book.config_changed(0, a_change(version=3, enabled=False, updated_at=END), LATER)
        assert book.go_live(0, LATER).changes == (ScheduleChange(1, OWED),)
        assert book.get(1).due_at() is None


def test_a_state_that_was_forgotten_is_not_restored() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS), NOON_MS), LATER)
    book.state_read(0, 1, None, LATER)
    assert book.go_live(0, LATER).orphans == ()


def test_our_own_echo_on_a_live_partition_says_nothing(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    book.put(an_entry(settled=NOON_MS, covered=NOON_MS), NOON_MS)
    before = book.get(1)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS - 1, covered=NOON_MS), NOON_MS), LATER)
    book.state_read(0, 1, None, LATER)
    assert book.get(1) is before


def test_what_another_instance_did_while_it_owned_a_partition_is_not_done_again(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    book.hold(0)
    book.state_read(0, 1, state_of(an_entry(settled=LATER, covered=LATER), LATER), LATER)
    book.go_live(0, LATER)
    assert book.firing(1).due_at() == an_entry(settled=LATER).due_at()
    assert book.firing(1).covered == LATER


def test_a_state_from_the_future_is_righted_when_it_is_restored() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.config_changed(0, a_change(), NOON_MS)
    book.state_read(0, 1, state_of(an_entry(settled=LATER, covered=LATER), LATER), NOON_MS)
    assert book.go_live(0, NOON_MS).clamped == (1,)
    assert book.firing(1).due_at() == an_entry(settled=NOON_MS).due_at()


def test_an_echo_from_before_the_clock_was_set_back_teaches_nothing(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    book.put(an_entry(settled=LATER, covered=NOON_MS), LATER)
    assert book.right(NOON_MS) == (1,)
    before = book.get(1)
    book.state_read(0, 1, state_of(an_entry(settled=LATER, covered=NOON_MS), LATER), NOON_MS + 10)
    assert book.get(1) is before
    assert book.right(NOON_MS) == ()


def test_a_tick_that_was_acknowledged_after_the_clock_was_set_back_does_not_bring_its_time_back(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    book.put(an_entry(settled=LATER, covered=NOON_MS), NOON_MS)
    assert book.get(1).settled == NOON_MS


def test_the_echo_of_an_older_version_does_not_pay_for_an_initial_tick(book: Book) -> None:
    book.config_changed(0, a_change(version=2), NOON_MS)
    book.state_read(0, 1, state_of(an_entry(settled=NOON_MS), NOON_MS), LATER)
    assert book.get(1).due_at() == 0


def test_a_held_partition_fires_nothing_but_takes_news_and_goes_on_when_given_back(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    book.hold(0)
    assert (book.firing(1), book.live_partitions) == (None, 0)
    book.config_changed(0, a_change(version=2, interval_minutes=1), NOON_MS)
    assert book.go_live(0, NOON_MS).config_ids == (1,)
    assert book.firing(1).plan.interval_minutes == 1


def test_dropping_a_partition_forgets_its_configs_only(book: Book) -> None:
    book.go_live(1, NOON_MS)
    book.config_changed(0, a_change(), NOON_MS)
    book.config_changed(1, a_change(config_id=2, enabled=False), NOON_MS)
    assert book.census() == {"enabled": 1, "disabled": 1}
    book.drop({0})
    assert book.get(1) is None
    assert book.get(2) is not None
    assert book.census() == {"enabled": 0, "disabled": 1}


def test_only_the_first_success_must_be_remembered_at_once(book: Book) -> None:
    book.config_changed(0, a_change(), NOON_MS)
    assert book.run_finished(0, a_run(ended=NOON_MS, config=a_config()), LATER)
    assert not book.run_finished(0, a_run(ended=NOON_MS + 60_000, config=a_config()), LATER)
    assert book.get(1).covered == NOON_MS + 60_000


def test_the_end_of_a_run_whose_config_is_not_held_is_no_news(book: Book) -> None:
    assert not book.run_finished(0, a_run(ended=NOON_MS, config=a_config()), LATER)


def test_putting_an_entry_back_does_not_bring_a_removed_one_back(book: Book) -> None:
    book.put(an_entry(), NOON_MS)
    assert book.get(1) is None


def removed(config_id: int, now: int) -> ConfigRemoved:
    return ConfigRemoved(occurred_at=to_instant(now), config_id=config_id, version=9)


def test_a_removal_is_remembered_for_a_day_so_that_deleted_configs_do_not_fill_the_memory(book: Book) -> None:
    day = 24 * HOUR_MS
    for number in range(1, 101):
        book.config_removed(0, removed(number, NOON_MS), NOON_MS)
    assert book.config_changed(0, a_change(config_id=100), NOON_MS + day - 1) is None, "an older version, repeated"
    book.config_removed(0, removed(101, NOON_MS + day), NOON_MS + day)
    assert set(book._partitions[0].removed) == {101}


def test_removals_of_long_ago_are_kept_until_the_partition_is_restored() -> None:
    book = Book(SPREAD_MS, 24 * HOUR_MS)
    book.config_removed(0, removed(1, NOON_MS), NOON_MS)
    later = NOON_MS + 48 * HOUR_MS
    book.config_removed(0, removed(2, later), later)
    assert set(book._partitions[0].removed) == {1, 2}
    book.go_live(0, later)
    assert set(book._partitions[0].removed) == {2}
