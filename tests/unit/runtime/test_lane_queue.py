from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from runtime.consumers.lane_queue import LaneQueue


def begun(room: LaneQueue[int]) -> list[int]:
    items = []
    while (next_one := room.begin()) is not None:
        items.append(next_one[1])
    return items


def test_what_is_urgent_overtakes_a_hundred_that_wait_in_its_lane() -> None:
    room = LaneQueue[int](shared=1, per_lane=1)
    for number in range(101):
        room.arrive("kraken", number)
    assert begun(room) == [0]
    room.arrive("kraken", 1000, urgent=True)
    room.arrive("kraken", 1001, urgent=True)
    for expected in (1000, 1001, 1):
        room.leave("kraken")
        assert begun(room) == [expected]


def test_lanes_that_are_stuck_cannot_take_the_places_of_another() -> None:
    room = LaneQueue[int](shared=10, per_lane=8, own=2)
    for lane in ("a", "b", "c"):
        for number in range(200):
            room.arrive(lane, number)
    assert len(begun(room)) == 10 + 3 * 2
    room.arrive("d", 7)
    room.arrive("d", 8)
    room.arrive("d", 9)
    assert begun(room) == [7, 8]
    room.leave("a")
    assert len(begun(room)) == 1


def test_lanes_are_called_in_turn() -> None:
    room = LaneQueue[int](shared=4, per_lane=4)
    for number in range(3):
        room.arrive("a", number)
    for number in range(10, 13):
        room.arrive("b", number)
    assert begun(room) == [0, 10, 1, 11]


def test_who_is_not_wanted_any_more_does_not_begin() -> None:
    room = LaneQueue[int](shared=1, per_lane=1)
    for number in range(6):
        room.arrive("a", number, urgent=number == 5)
    room.arrive("b", 7)
    room.keep(lambda number: number in {3, 4})
    assert len(room) == 2
    assert begun(room) == [3]


@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(0, 3),
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["arrive", "urgent", "leave"])), max_size=80),
)
def test_places_are_never_overdrawn_and_never_left_empty(
    shared: int, per_lane: int, own: int, steps: list[tuple[str, str]]
) -> None:
    room, running, waiting = LaneQueue[int](shared=shared, per_lane=per_lane, own=own), Counter[str](), Counter[str]()
    for lane, step in steps:
        if step != "leave":
            room.arrive(lane, 0, urgent=step == "urgent")
            waiting[lane] += 1
        elif running[lane]:
            room.leave(lane)
            running[lane] -= 1
        while (next_one := room.begin()) is not None:
            running[str(next_one[0])] += 1
            waiting[str(next_one[0])] -= 1
        taken = sum(max(0, count - own) for count in running.values())
        assert max(running.values(), default=0) <= per_lane
        assert taken <= shared
        assert len(room) == waiting.total()
        for each, count in waiting.items():
            mine = running[each]
            assert not count or mine == per_lane or (mine >= own and taken == shared)
