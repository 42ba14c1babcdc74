from datetime import timedelta

from contracts.topics import SCHEDULE_STATE
from log_writer.schedule import fold
from runtime.kafka.codec import Tombstone
from support.run_histories import NOON, a_state

LATER = NOON + timedelta(hours=1)


GONE = Tombstone(SCHEDULE_STATE, "1")


def test_the_newest_state_of_each_config_counts() -> None:
    first, second, other = a_state(seconds=0), a_state(seconds=600), a_state(config_id=2)
    assert fold([other, first, second], LATER).states == (second, other)


def test_a_state_that_is_older_than_the_one_before_it_is_ignored() -> None:
    newer, older = a_state(seconds=600), a_state(seconds=0)
    assert fold([newer, older], LATER).states == (newer,)


def test_a_newer_version_of_the_config_counts_even_if_it_has_an_older_timestamp() -> None:
    old, new = a_state(version=1, seconds=600), a_state(version=2, seconds=0)
    assert fold([new, old], LATER).states == fold([old, new], LATER).states == (new,)


def test_a_tombstone_removes_the_states_before_it() -> None:
    changes = fold([a_state(), GONE], LATER)
    assert (changes.removed, changes.states) == ((1,), ())


def test_a_state_after_a_tombstone_counts_even_with_an_older_version() -> None:
    new = a_state(version=1)
    changes = fold([a_state(version=9), GONE, new], LATER)
    assert (changes.removed, changes.states) == ((1,), (new,))


def test_an_empty_batch_changes_nothing() -> None:
    changes = fold([], LATER)
    assert (changes.removed, changes.states) == ((), ())


def test_a_state_from_far_in_the_future_is_replaced_by_the_next_but_not_by_an_older_version() -> None:
    future, next_one, outdated = (
        a_state(seconds=7200, version=2),
        a_state(seconds=600, version=2),
        a_state(seconds=600, version=1),
    )
    assert fold([future, next_one], LATER).states == (next_one,)
    assert fold([future, outdated], LATER).states == (future,)
