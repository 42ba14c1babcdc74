from hypothesis import given
from hypothesis import strategies as st

from scheduler.due_queue import DueQueue


def test_due_configs_are_returned_once_and_the_earliest_first() -> None:
    due = {1: 30, 2: 10, 3: 20, 4: 99}
    due_queue = DueQueue(due.get)
    for config_id in due:
        due_queue.add(config_id)
    assert due_queue.pop_due(30, 10) == [2, 3, 1]
    assert due_queue.pop_due(30, 10) == []
    assert due_queue.next_at() == 99


def test_an_outdated_time_is_skipped() -> None:
    due = {1: 10}
    due_queue = DueQueue(due.get)
    due_queue.add(1)
    due[1] = 50
    due_queue.add(1)
    assert due_queue.pop_due(20, 10) == []
    assert due_queue.pop_due(50, 10) == [1]


def test_a_config_that_is_never_due_is_not_added() -> None:
    due_queue = DueQueue({}.get)
    due_queue.add(1)
    assert due_queue.next_at() is None


def test_no_more_configs_are_returned_than_requested() -> None:
    due_queue = DueQueue(lambda _: 5)
    for config_id in range(10):
        due_queue.add(config_id)
    assert len(due_queue.pop_due(5, 4)) == 4
    assert len(due_queue.pop_due(5, 100)) == 6


def test_only_an_earlier_due_time_wakes_the_loop() -> None:
    due = {1: 10, 2: 20, 3: 5}
    due_queue = DueQueue(due.get)
    due_queue.add(1)
    due_queue.earlier.clear()
    due_queue.add(2)
    assert not due_queue.earlier.is_set()
    due_queue.add(3)
    assert due_queue.earlier.is_set()


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 50)), max_size=40), st.integers(0, 50))
def test_exactly_the_configs_whose_latest_time_is_due_are_returned(changes: list[tuple[int, int]], now: int) -> None:
    due: dict[int, int] = {}
    due_queue = DueQueue(due.get)
    for config_id, at in changes:
        due[config_id] = at
        due_queue.add(config_id)
    assert set(due_queue.pop_due(now, 1000)) == {config_id for config_id, at in due.items() if at <= now}
