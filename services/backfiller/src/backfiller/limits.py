"""Decides how many chunks of each lane may be requested now. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from contracts.ticks import lane_of


class LanePlaces(NamedTuple):
    """The free places of a lane. A lane has the chunks of its exchange whose config id, divided by the number of lanes,
    has this remainder.
    """

    lane: str
    exchange: str
    lanes: int
    """The number of lanes of the exchange."""
    remainder: int
    places: int


def free_places(
    exchanges: Iterable[str],
    outstanding: Mapping[str, int],
    paused: Iterable[str],
    lanes: Mapping[str, int],
    per_lane: int,
) -> list[LanePlaces]:
    """The lanes of these exchanges that may get requests. `outstanding` and `paused` are by lane."""
    resting = set(paused)
    result = []
    for exchange in sorted(exchanges):
        count = lanes.get(exchange, 1)
        for remainder in range(count):
            lane = lane_of(exchange, remainder, lanes)
            places = per_lane - outstanding.get(lane, 0)
            if places > 0 and lane not in resting:
                result.append(LanePlaces(lane, exchange, count, remainder, places))
    return result


class DueChunk(NamedTuple):
    """A chunk that may be requested now."""

    id: int
    lane: str
    is_retry: bool


def choose(due: Iterable[DueChunk], places: Iterable[LanePlaces], total: int) -> list[int]:
    """The ids of the chunks to request, at most `total`. `due` has the chunks of each lane, the most urgent first.

    Lanes take turns, so that none takes the places of all others. In a lane, new chunks and retries take turns, so that
    many chunks that prove nothing do not delay the others.
    """
    by_lane: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for chunk in due:
        by_lane[chunk.lane][chunk.is_retry].append(chunk.id)
    of_lanes = [_in_turns(by_lane[each.lane])[: each.places] for each in places]
    return _in_turns(of_lanes)[: max(0, total)]


def _in_turns(queues: Sequence[list[int]]) -> list[int]:
    longest = max(map(len, queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
