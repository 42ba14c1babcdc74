from contracts.schedule import JobScheduled
from log_writer.schedule import fold
from support.run_histories import a_state


def told(config_id: int = 1, version: int = 1, seconds: int = 0) -> tuple[int, JobScheduled]:
    return config_id, a_state(config_id, version, seconds)


def test_a_batch_comes_to_the_newest_state_of_each_config() -> None:
    first, second, other = told(seconds=0), told(seconds=600), told(config_id=2)
    assert fold([other, first, second]).states == (second[1], other[1])


def test_a_state_that_is_older_than_the_one_before_it_is_ignored() -> None:
    newer, older = told(seconds=600), told(seconds=0)
    assert fold([newer, older]).states == (newer[1],)


def test_a_newer_version_of_the_config_counts_whatever_the_clocks_say() -> None:
    old, new = told(version=1, seconds=600), told(version=2, seconds=0)
    assert fold([new, old]).states == fold([old, new]).states == (new[1],)


def test_a_tombstone_removes_what_came_before_it() -> None:
    changes = fold([told(), (1, None)])
    assert (changes.removed, changes.states) == ((1,), ())


def test_after_a_tombstone_counting_begins_anew() -> None:
    reborn = told(version=1)
    changes = fold([told(version=9), (1, None), reborn])
    assert (changes.removed, changes.states) == ((1,), (reborn[1],))


def test_nothing_comes_to_nothing() -> None:
    changes = fold([])
    assert (changes.removed, changes.states) == ((), ())
