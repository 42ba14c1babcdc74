"""Arithmetic with spans of time: half-open intervals of milliseconds since the epoch. Pure.

A set of spans is a tuple of `(start, end)` pairs: ascending, not empty, neither overlapping nor touching. All functions
return such a set, and take spans in any order.
"""

from collections.abc import Iterable

Interval = tuple[int, int]
"""An interval from the first number up to, but not including, the second one, in milliseconds since the epoch."""

Intervals = tuple[Interval, ...]


def union(spans: Iterable[Interval]) -> Intervals:
    """The time in any of the spans. Empty spans are dropped."""
    merged: list[Interval] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def subtract(spans: Iterable[Interval], removed: Iterable[Interval]) -> Intervals:
    """The time in `spans` that is not in `removed`."""
    cuts = union(removed)
    result: list[Interval] = []
    first = 0
    for start, end in union(spans):
        while first < len(cuts) and cuts[first][1] <= start:
            first += 1  # the removed span ends before this span, and so before all later spans
        position, index = start, first
        while index < len(cuts) and cuts[index][0] < end:
            if cuts[index][0] > position:
                result.append((position, cuts[index][0]))
            position = cuts[index][1]
            index += 1
        if position < end:
            result.append((position, end))
        first = max(first, index - 1)  # the last of these spans may overlap the next one
    return tuple(result)


def intersect(spans: Iterable[Interval], others: Iterable[Interval]) -> Intervals:
    """The time that is in `spans` and in `others`."""
    spans = union(spans)
    return subtract(spans, subtract(spans, others))


def hull(spans: Iterable[Interval]) -> Intervals:
    """The one span from the first start to the last end; empty if there are no spans."""
    spans = union(spans)
    return ((spans[0][0], spans[-1][1]),) if spans else ()
