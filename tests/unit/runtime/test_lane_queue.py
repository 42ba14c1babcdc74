from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from runtime.consumers.lane_queue import LaneQueue, Place
from runtime.consumers.work_class import WorkClass


def started(queue: LaneQueue[int]) -> list[int]:
    items = []
    while (item := queue.start_next()) is not None:
        items.append(item[1])
    return items


def scheduled(lane: str) -> Place:
    return Place(lane, WorkClass.SCHEDULED)


def requested(lane: str) -> Place:
    return Place(lane, WorkClass.REQUESTED)


def background(lane: str) -> Place:
    return Place(lane, WorkClass.BACKGROUND)


def test_requested_and_scheduled_items_of_a_lane_start_in_turn() -> None:
    queue = LaneQueue[int](shared=1, per_lane=1)
    for number in range(101):
        queue.add("kraken", number)
    assert started(queue) == [0]
    for number in range(1000, 1100):
        queue.add("kraken", number, WorkClass.REQUESTED)
    place, order = scheduled("kraken"), []
    for _ in range(8):
        queue.release(place)
        next_item = queue.start_next()
        assert next_item is not None
        place, number = next_item
        order.append(number)
    assert order == [1000, 1, 1001, 2, 1002, 3, 1003, 4]


def test_requested_items_leave_half_of_the_places_of_a_lane_to_scheduled_ones() -> None:
    queue = LaneQueue[int](shared=100, per_lane=10)
    for number in range(50):
        queue.add("kraken", number, WorkClass.REQUESTED)
    assert started(queue) == [0, 1, 2, 3, 4]
    for number in range(100, 110):
        queue.add("kraken", number)
    assert started(queue) == [100, 101, 102, 103, 104]


def test_requested_items_leave_half_of_the_reserved_places_to_scheduled_ones() -> None:
    queue = LaneQueue[int](shared=3, per_lane=10, reserved=4)
    for number in range(50):
        queue.add("binance", number, WorkClass.REQUESTED)
        queue.add("kraken", number, WorkClass.REQUESTED)
    assert Counter(started(queue)) == Counter([0, 1, 2, 3, 0, 1, 2])  # three shared places and two of each lane
    queue.add("kraken", 100)
    queue.add("kraken", 101)
    queue.add("kraken", 102)
    assert started(queue) == [100, 101]


def test_a_lane_with_one_place_serves_both_kinds() -> None:
    queue = LaneQueue[int](shared=1, per_lane=1, reserved=1)
    queue.add("kraken", 1, WorkClass.REQUESTED)
    assert started(queue) == [1]
    queue.release(requested("kraken"))
    queue.add("kraken", 2)
    assert started(queue) == [2]


def test_a_scheduled_item_that_replaces_a_requested_one_does_not_wait_behind_other_requested_ones() -> None:
    queue = LaneQueue[int](shared=1, per_lane=1)
    for number in range(10):
        queue.add("kraken", number, WorkClass.REQUESTED, key=number)
    assert started(queue) == [0]
    queue.replace("kraken", 9, 100, WorkClass.SCHEDULED)
    assert (queue.waiting("kraken", 9), len(queue)) == (100, 9)
    queue.release(requested("kraken"))
    assert started(queue) == [100]


def test_a_background_item_that_replaces_a_scheduled_one_takes_no_place_of_scheduled_ones() -> None:
    """It waits as if it were the first with its key."""
    queue = LaneQueue[int](shared=1, per_lane=1, background=1)
    for number in range(3):
        queue.add("kraken", number, key=number)
        queue.add("kraken", 10 + number, WorkClass.BACKGROUND)
    assert started(queue) == [0, 10]
    queue.replace("kraken", 1, 100, WorkClass.BACKGROUND)
    queue.release(scheduled("kraken"))
    assert started(queue) == [2]
    queue.release(scheduled("kraken"))
    queue.release(background("kraken"))
    assert started(queue) == [11]
    queue.replace("kraken", 1, 101, WorkClass.SCHEDULED)
    assert started(queue) == [101]


def test_background_items_have_their_own_places_in_each_lane_and_take_no_others() -> None:
    queue = LaneQueue[int](shared=2, per_lane=3, reserved=1, background=2)
    for number in range(50):
        for lane in ("binance", "kraken"):
            queue.add(lane, number, WorkClass.BACKGROUND)
    assert started(queue) == [0, 0, 1, 1]
    assert not queue.has_place("binance", WorkClass.BACKGROUND)
    for number in range(100, 110):
        queue.add("binance", number)
    assert started(queue) == [100, 101, 102], "all places of the lane"
    queue.release(scheduled("binance"))
    assert started(queue) == [103], "not a background item"
    queue.release(background("binance"))
    assert started(queue) == [2], "not a scheduled item"


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
    queue.release(scheduled("a"))
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
        queue.add("a", number, WorkClass.REQUESTED if number == 5 else WorkClass.SCHEDULED)
    queue.add("b", 7)
    queue.keep_only(lambda number: number in {3, 4})
    assert len(queue) == 2
    assert started(queue) == [3]


STEPS = st.tuples(st.sampled_from("abc"), st.sampled_from(WorkClass), st.sampled_from(["add", "add", "end"]))


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 4), st.integers(1, 3), st.lists(STEPS, max_size=80))
def test_the_limits_of_places_hold_and_scheduled_items_start_at_least_every_second_time(
    shared: int, per_lane: int, reserved: int, own: int, steps: list[tuple[str, WorkClass, str]]
) -> None:
    """The model counts the items of each class and knows the limits, but not how the queue keeps them."""
    queue = LaneQueue[int](shared=shared, per_lane=per_lane, reserved=reserved, background=own)
    running, waiting = Counter[Place](), Counter[Place]()
    only_scheduled, requested_in_a_row = min(reserved, per_lane) // 2, Counter[str]()

    def shared_of(lane: str, more: Place | None = None) -> int:
        others = min(reserved, per_lane) - only_scheduled
        counts = running + Counter([] if more is None else [more])
        return max(0, max(0, counts[scheduled(lane)] - only_scheduled) + counts[requested(lane)] - others)

    for lane, work_class, step in steps:
        changed = Place(lane, work_class)
        if step == "add":
            queue.add(lane, 0, work_class)
            waiting[changed] += 1
        elif running[changed]:
            queue.release(changed)
            running[changed] -= 1
        while (item := queue.start_next()) is not None:
            place = item[0]
            name = str(place.lane)
            if place != background(name):
                behind = place == requested(name) and waiting[scheduled(name)]
                requested_in_a_row[name] = requested_in_a_row[name] + 1 if behind else 0
            assert requested_in_a_row[name] <= 1
            running[place] += 1
            waiting[place] -= 1
        assert len(queue) == waiting.total()
        taken = sum(map(shared_of, "abc"))
        assert taken <= shared
        for each in "abc":
            in_lane = running[scheduled(each)] + running[requested(each)]
            assert in_lane <= per_lane
            assert running[requested(each)] <= max(1, per_lane // 2)
            assert running[background(each)] <= own
            assert not waiting[background(each)] or running[background(each)] == own
            # No place is left free that a waiting item could take.
            for place in (scheduled(each), requested(each)):
                at_limit = place == requested(each) and running[place] == max(1, per_lane // 2)
                no_shared = taken == shared and shared_of(each, place) > shared_of(each)
                assert not waiting[place] or in_lane == per_lane or at_limit or no_shared


def test_idle_lanes_are_forgotten() -> None:
    queue = LaneQueue[int](shared=5, per_lane=5)
    for number in range(1000):
        queue.add(number, number)
        assert started(queue) == [number]
        queue.release(Place(number, WorkClass.SCHEDULED))
    assert queue._lanes == {}
