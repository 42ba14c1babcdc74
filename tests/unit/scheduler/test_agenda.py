from hypothesis import given
from hypothesis import strategies as st

from scheduler.agenda import Agenda


def test_what_is_due_comes_earliest_first_and_once() -> None:
    due = {1: 30, 2: 10, 3: 20, 4: 99}
    agenda = Agenda(due.get)
    for config_id in due:
        agenda.add(config_id)
    assert agenda.pop_due(30, 10) == [2, 3, 1]
    assert agenda.pop_due(30, 10) == []
    assert agenda.next_at() == 99


def test_an_outdated_time_is_skipped() -> None:
    due = {1: 10}
    agenda = Agenda(due.get)
    agenda.add(1)
    due[1] = 50
    agenda.add(1)
    assert agenda.pop_due(20, 10) == []
    assert agenda.pop_due(50, 10) == [1]


def test_what_is_never_due_is_not_on_it() -> None:
    agenda = Agenda({}.get)
    agenda.add(1)
    assert agenda.next_at() is None


def test_no_more_are_handed_out_than_asked_for() -> None:
    agenda = Agenda(lambda _: 5)
    for config_id in range(10):
        agenda.add(config_id)
    assert len(agenda.pop_due(5, 4)) == 4
    assert len(agenda.pop_due(5, 100)) == 6


def test_only_something_earlier_wakes() -> None:
    due = {1: 10, 2: 20, 3: 5}
    agenda = Agenda(due.get)
    agenda.add(1)
    agenda.earlier.clear()
    agenda.add(2)
    assert not agenda.earlier.is_set()
    agenda.add(3)
    assert agenda.earlier.is_set()


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 50)), max_size=40), st.integers(0, 50))
def test_exactly_what_is_due_by_its_latest_time_is_handed_out(changes: list[tuple[int, int]], now: int) -> None:
    due: dict[int, int] = {}
    agenda = Agenda(due.get)
    for config_id, at in changes:
        due[config_id] = at
        agenda.add(config_id)
    assert set(agenda.pop_due(now, 1000)) == {config_id for config_id, at in due.items() if at <= now}
