"""The arithmetic of spans, compared with sets of single instants."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from contracts.spans import Interval, Intervals, hull, intersect, subtract, union

INTERVALS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)


def _instants(spans: list[Interval] | Intervals) -> set[int]:
    return {instant for start, end in spans for instant in range(start, end)}


def _is_normal(spans: Intervals) -> bool:
    return all(start < end for start, end in spans) and all(
        one[1] < other[0] for one, other in itertools.pairwise(spans)
    )


@given(INTERVALS, INTERVALS)
def test_results_hold_the_same_instants_as_sets_do(one: list[Interval], other: list[Interval]) -> None:
    assert _instants(union([*one, *other])) == _instants(one) | _instants(other)
    assert _instants(subtract(one, other)) == _instants(one) - _instants(other)
    assert _instants(intersect(one, other)) == _instants(one) & _instants(other)


@given(INTERVALS, INTERVALS)
def test_results_are_ascending_and_neither_overlap_nor_touch(one: list[Interval], other: list[Interval]) -> None:
    assert _is_normal(union(one))
    assert _is_normal(subtract(one, other))
    assert _is_normal(intersect(one, other))


def test_the_hull_reaches_from_the_first_start_to_the_last_end() -> None:
    assert hull([(5, 6), (1, 2)]) == ((1, 6),)
    assert hull([]) == ()
