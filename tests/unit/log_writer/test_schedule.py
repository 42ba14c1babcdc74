from datetime import timedelta

from contracts.schedule import JobScheduled
from log_writer.schedule import fold
from support.run_histories import NOON, a_state

LATER = NOON + timedelta(hours=1)


def told(config_id: int = 1, version: int = 1, seconds: int = 0) -> tuple[int, JobScheduled]:
    return config_id, a_state(config_id, version, seconds)


def test_a_batch_comes_to_the_newest_state_of_each_config() -> None:
    first, second, other = told(seconds=0), told(seconds=600), told(config_id=2)
    assert fold([other, first, second], LATER).states == (second[1], other[1])


def test_a_state_that_is_older_than_the_one_before_it_is_ignored() -> None:
    newer, older = told(seconds=600), told(seconds=0)
    assert fold([newer, older], LATER).states == (newer[1],)


def test_a_newer_version_of_the_config_counts_whatever_the_clocks_say() -> None:
    old, new = told(version=1, seconds=600), told(version=2, seconds=0)
    assert fold([new, old], LATER).states == fold([old, new], LATER).states == (new[1],)


def test_a_tombstone_removes_what_came_before_it() -> None:
    changes = fold([told(), (1, None)], LATER)
    assert (changes.removed, changes.states) == ((1,), ())


def test_after_a_tombstone_counting_begins_anew() -> None:
    reborn = told(version=1)
    changes = fold([told(version=9), (1, None), reborn], LATER)
    assert (changes.removed, changes.states) == ((1,), (reborn[1],))


def test_nothing_comes_to_nothing() -> None:
    changes = fold([], LATER)
    assert (changes.removed, changes.states) == ((), ())


def test_a_state_dated_by_a_clock_that_was_far_ahead_gives_way_to_the_next_but_not_to_an_older_version() -> None:
    lied, next_one, outdated = told(seconds=7200, version=2), told(seconds=600, version=2), told(seconds=600, version=1)
    assert fold([lied, next_one], LATER).states == (next_one[1],)
    assert fold([lied, outdated], LATER).states == (lied[1],)
