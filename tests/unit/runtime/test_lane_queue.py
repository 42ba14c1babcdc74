from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from runtime.consumers.lane_queue import LaneQueue


def started(queue: LaneQueue[int]) -> list[int]:
    items = []
    while (item := queue.start_next()) is not None:
        items.append(item[1])
    return items


def test_an_urgent_item_overtakes_a_hundred_waiting_ones_of_its_lane() -> None:
    queue = LaneQueue[int](shared=1, per_lane=1)
    for number in range(101):
        queue.add("kraken", number)
    assert started(queue) == [0]
    queue.add("kraken", 1000, urgent=True)
    queue.add("kraken", 1001, urgent=True)
    for expected in (1000, 1001, 1):
        queue.release("kraken")
        assert started(queue) == [expected]


def test_stuck_lanes_cannot_take_the_reserved_places_of_another_lane() -> None:
    queue = LaneQueue[int](shared=10, per_lane=8, reserved=2)
    for lane in ("a", "b", "c"):
        for number in range(200):
            queue.add(lane, number)
    assert len(started(queue)) == 10 + 3 * 2
    queue.add("d", 7)
    queue.add("d", 8)
    queue.add("d", 9)
    assert started(queue) == [7, 8]
    queue.release("a")
    assert len(started(queue)) == 1


def test_lanes_are_served_in_turn() -> None:
    queue = LaneQueue[int](shared=4, per_lane=4)
    for number in range(3):
        queue.add("a", number)
    for number in range(10, 13):
        queue.add("b", number)
    assert started(queue) == [0, 10, 1, 11]


def test_a_removed_item_does_not_start() -> None:
    queue = LaneQueue[int](shared=1, per_lane=1)
    for number in range(6):
        queue.add("a", number, urgent=number == 5)
    queue.add("b", 7)
    queue.keep_only(lambda number: number in {3, 4})
    assert len(queue) == 2
    assert started(queue) == [3]


@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(0, 3),
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["add", "urgent", "release"])), max_size=80),
)
def test_places_are_never_exceeded_and_never_left_free(
    shared: int, per_lane: int, reserved: int, steps: list[tuple[str, str]]
) -> None:
    queue, running, waiting = (
        LaneQueue[int](shared=shared, per_lane=per_lane, reserved=reserved),
        Counter[str](),
        Counter[str](),
    )
    for lane, step in steps:
        if step != "release":
            queue.add(lane, 0, urgent=step == "urgent")
            waiting[lane] += 1
        elif running[lane]:
            queue.release(lane)
            running[lane] -= 1
        while (item := queue.start_next()) is not None:
            running[str(item[0])] += 1
            waiting[str(item[0])] -= 1
        taken = sum(max(0, count - reserved) for count in running.values())
        assert max(running.values(), default=0) <= per_lane
        assert taken <= shared
        assert len(queue) == waiting.total()
        for each, count in waiting.items():
            in_lane = running[each]
            assert not count or in_lane == per_lane or (in_lane >= reserved and taken == shared)
