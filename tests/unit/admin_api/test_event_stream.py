"""Listeners of a feed that a test fills by hand. Several feeds of the same messages are several instances."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.sse import ServerSentEvent
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from admin_api.events.buffer import EventBuffer
from admin_api.events.positions import Positions, encode
from admin_api.events.stream import EventFilter, EventStreams
from admin_api.events.topics import PLACES, Kind, Place, StreamedEvent
from admin_api.http.errors import InvalidInput, TooManyEventStreams
from admin_api.metrics import Metrics

RUN, OTHER_RUN, EXCHANGE = ("run-events", 3), ("run-events", 4), ("exchange-health", 0)
EVERYTHING = EventFilter()


class Feed:
    """As EventFeed is to a listener. Waiting for news ends the stream: a test has put in all that there will be."""

    def __init__(self, buffer: EventBuffer, kafka_ends: Positions | None = None) -> None:
        """Without `kafka_ends`, Kafka has every position."""
        self.buffer = buffer
        self.is_stopping = False
        self._kafka_ends = kafka_ends

    async def reach(self, positions: Positions) -> bool:
        ends = self._kafka_ends
        return ends is None or all(offset <= ends[place] for place, offset in positions.items())

    async def news(self, within: float) -> bool:
        await asyncio.sleep(0)
        self.is_stopping = True
        return False


def an_event(place: Place, offset: int, **overrides: Any) -> StreamedEvent:
    about = {"kind": Kind.RUN, "exchange": "binance", "config_id": 7}
    if place[0] == "exchange-health":
        about = {"kind": Kind.EXCHANGE, "exchange": "binance", "config_id": None}
    about |= {"timestamp_ms": 1_000 + offset, "data": f'"{place[0]}/{place[1]}/{offset}"'}
    return StreamedEvent(place=place, offset=offset, **(about | overrides))


def a_ring(events: Sequence[StreamedEvent] = (), **limits: int) -> EventBuffer:
    buffer = EventBuffer(**limits)
    buffer.begin(dict.fromkeys(PLACES, 0))
    for event in events:
        buffer.add(event)
    return buffer


def listeners_of(buffer: EventBuffer, most: int = 10, kafka_ends: Positions | None = None) -> EventStreams:
    return EventStreams(Feed(buffer, kafka_ends), Metrics(CollectorRegistry()), most)  # type: ignore[arg-type]


async def heard(
    buffer: EventBuffer,
    last_event_id: str | None = None,
    event_filter: EventFilter = EVERYTHING,
    kafka_ends: Positions | None = None,
) -> list[ServerSentEvent]:
    with listeners_of(buffer, kafka_ends=kafka_ends).admitted(event_filter, last_event_id) as event_stream:
        return [event async for event in event_stream.events(60)]


def datas(events: list[ServerSentEvent]) -> list[str]:
    return [event.raw_data.strip('"') for event in events if event.raw_data is not None]


def last_id(events: list[ServerSentEvent]) -> str:
    return next(event.id for event in reversed(events) if event.id is not None)


async def test_a_new_listener_hears_how_exchanges_fare_and_then_what_happens_from_now_on() -> None:
    buffer = a_ring([an_event(EXCHANGE, 0), an_event(EXCHANGE, 1), an_event(RUN, 0)])
    first = await heard(buffer)
    assert datas(first) == ["exchange-health/0/1"]
    buffer.add(an_event(RUN, 1))
    assert datas(await heard(buffer, last_id(first))) == ["run-events/3/1"]


async def test_who_is_up_to_date_hears_nothing_again() -> None:
    buffer = a_ring([an_event(RUN, 0)])
    here = last_id(await heard(buffer))
    again = await heard(buffer, here)
    assert datas(again) == []
    assert last_id(again) == here


async def test_a_listener_gets_only_what_it_wants_and_keeps_its_place_meanwhile() -> None:
    buffer = a_ring(max_events=3)
    start = last_id(await heard(buffer))
    events = [an_event(RUN, 0, config_id=1), an_event(RUN, 1, config_id=2), an_event(EXCHANGE, 0)]
    for event in events:
        buffer.add(event)
    wants = EventFilter(config_id=2)
    listened = await heard(buffer, start, wants)
    assert datas(listened) == ["run-events/3/1"]
    for offset in range(2, 5):  # the ring has dropped all that came before
        buffer.add(an_event(RUN, offset, config_id=2))
    assert datas(await heard(buffer, last_id(listened), wants)) == [f"run-events/3/{offset}" for offset in (2, 3, 4)]


@pytest.mark.parametrize(
    ("event_filter", "expected"),
    [
        (EventFilter(kinds=frozenset({Kind.EXCHANGE})), ["exchange-health/0/0"]),
        (EventFilter(exchange="kraken"), ["config-changes/0/0", "run-events/3/1"]),
        (EventFilter(exchange="kraken", config_id=9), ["run-events/3/1"]),
    ],
)
async def test_interests(event_filter: EventFilter, expected: list[str]) -> None:
    buffer = a_ring()
    start = last_id(await heard(buffer))
    buffer.add(an_event(EXCHANGE, 0))
    buffer.add(an_event(("config-changes", 0), 0, kind=Kind.CONFIG, exchange=None, config_id=3))  # a removed config's
    buffer.add(an_event(RUN, 0))
    buffer.add(an_event(RUN, 1, exchange="kraken", config_id=9))
    assert datas(await heard(buffer, start, event_filter)) == expected


async def test_who_was_away_too_long_is_told_to_start_over() -> None:
    buffer = a_ring(max_events=2)
    start = last_id(await heard(buffer))
    for offset in range(3):
        buffer.add(an_event(RUN, offset))
    events = await heard(buffer, start)
    assert [event.event for event in events if event.event] == ["reset"]
    assert datas(events) == []
    buffer.add(an_event(RUN, 3))
    assert datas(await heard(buffer, last_id(events))) == ["run-events/3/3"]


async def test_bytes_are_bounded_as_well_as_events() -> None:
    buffer = a_ring(max_characters=100)
    start = last_id(await heard(buffer))
    buffer.add(replace(an_event(RUN, 0), data="x" * 101))
    assert (buffer.first, buffer.end) == (1, 1)
    assert [event.event for event in await heard(buffer, start) if event.event] == ["reset"]


async def test_a_listener_that_is_too_slow_is_told_so_and_goes_on() -> None:
    buffer = a_ring(max_events=250)
    start = last_id(await heard(buffer))
    for offset in range(250):
        buffer.add(an_event(RUN, offset))
    seen: list[ServerSentEvent] = []
    with listeners_of(buffer).admitted(EVERYTHING, start) as event_stream:
        async for event in event_stream.events(60):
            seen.append(event)
            if event.raw_data == '"run-events/3/0"':  # while it is busy with its first, much happens
                for offset in range(250, 700):
                    buffer.add(an_event(RUN, offset))
    kinds = [event.event for event in seen if event.event]
    assert kinds.count("reset") == 1
    assert kinds[-1] == "reset"


def resets(events: list[ServerSentEvent]) -> int:
    return [event.event for event in events].count("reset")


async def test_a_connected_listener_is_reset_when_a_topic_is_created_again() -> None:
    buffer = a_ring([an_event(RUN, 0), an_event(RUN, 1)])
    feed = Feed(buffer)
    waits = 0

    async def news(within: float) -> bool:
        nonlocal waits
        waits += 1
        if waits == 1:  # the listener has read everything; now the topic begins again
            buffer.begin(buffer.positions | {RUN: 0})
            for offset in range(3):
                buffer.add(an_event(RUN, offset, timestamp_ms=5_000 + offset))
            return True
        feed.is_stopping = True
        return False

    feed.news = news  # type: ignore[method-assign]
    event_streams = EventStreams(feed, Metrics(CollectorRegistry()), 1)  # type: ignore[arg-type]
    with event_streams.admitted(EVERYTHING, None) as event_stream:
        events = [event async for event in event_stream.events(60)]
    assert resets(events) == 1
    buffer.add(an_event(RUN, 3, timestamp_ms=5_003))
    assert datas(await heard(buffer, last_id(events))) == ["run-events/3/3"]


@pytest.mark.parametrize("new_events", [1, 2, 3, 4, 9])
async def test_a_returning_listener_is_reset_when_a_topic_was_created_again(new_events: int) -> None:
    """Also if the new topic has as many events as the listener had seen of the earlier one, or more."""
    buffer = a_ring([an_event(RUN, offset) for offset in range(3)])
    before = last_id(await heard(buffer))
    buffer.begin(buffer.positions | {RUN: 0})
    for offset in range(new_events):
        buffer.add(an_event(RUN, offset, timestamp_ms=5_000 + offset))
    events = await heard(buffer, before, kafka_ends=buffer.positions)
    assert resets(events) == 1
    buffer.add(an_event(RUN, new_events, timestamp_ms=6_000))
    assert datas(await heard(buffer, last_id(events))) == [f"run-events/3/{new_events}"]


async def test_an_id_ahead_of_the_topics_is_told_to_start_over() -> None:
    buffer = a_ring([an_event(RUN, 0)])
    forged = encode(buffer.positions | {RUN: 1_000}, 2**50)
    assert resets(await heard(buffer, forged, kafka_ends=buffer.positions)) == 1


async def test_an_id_of_an_instance_that_has_read_further_is_accepted() -> None:
    ahead, behind = a_ring([an_event(RUN, 0), an_event(RUN, 1)]), a_ring([an_event(RUN, 0)])
    events = await heard(behind, last_id(await heard(ahead)), kafka_ends=ahead.positions)
    assert resets(events) == 0
    for offset in (1, 2):
        behind.add(an_event(RUN, offset))
    assert datas(await heard(behind, last_id(events))) == ["run-events/3/2"]


async def test_no_more_listeners_than_allowed_and_one_that_leaves_makes_room() -> None:
    event_streams = listeners_of(a_ring(), most=1)
    with event_streams.admitted(EVERYTHING, None):
        with pytest.raises(TooManyEventStreams) as refused, event_streams.admitted(EVERYTHING, None):
            pass
        assert refused.value.headers["Retry-After"]
    with event_streams.admitted(EVERYTHING, None):
        pass


def test_a_foreign_id_is_refused_before_the_stream_begins() -> None:
    with pytest.raises(InvalidInput, match="leave it out"), listeners_of(a_ring()).admitted(EVERYTHING, "17"):
        pass


async def test_while_kafka_was_never_there_the_stream_waits_and_ends_in_time() -> None:
    now = iter([0.0, 0.0, 0.0, 61.0, 61.0])
    feed = SimpleNamespace(buffer=EventBuffer(), is_stopping=False)

    async def none_ever(within: float) -> bool:
        return False

    feed.news = none_ever
    with EventStreams(feed, Metrics(CollectorRegistry()), 1).admitted(
        EVERYTHING, None, lambda: next(now)
    ) as event_stream:
        comments = [event.comment async for event in event_stream.events(60)]
    assert comments == ["connected", "waiting for Kafka"]


@given(st.randoms(use_true_random=False), st.integers(1, 30), st.integers(1, 6))
def test_over_any_instances_and_reconnections_each_event_is_heard_once_and_in_order(
    chance: random.Random, count: int, connections: int
) -> None:
    """Each instance reads the partitions in another order; a listener hops between them while they read."""

    async def listen() -> list[str]:
        rings = [a_ring(), a_ring()]
        reads = [list(_interleaved(count, chance)) for _ in rings]
        position = last_id(await heard(rings[0]))
        got: list[str] = []
        for connection in range(connections + 1):
            for buffer, read in zip(rings, reads, strict=True):
                amount = len(read) if connection == connections else chance.randint(0, len(read))
                for event in read[:amount]:
                    buffer.add(event)
                del read[:amount]
            events = await heard(chance.choice(rings), position)
            got += datas(events)
            position = last_id(events) if any(event.id for event in events) else position
        return got

    got = asyncio.run(listen())
    assert sorted(got) == sorted(f"run-events/{place[1]}/{n}" for place in (RUN, OTHER_RUN) for n in range(count))
    for partition in (3, 4):
        offsets = [int(each.rsplit("/", 1)[1]) for each in got if each.startswith(f"run-events/{partition}/")]
        assert offsets == sorted(offsets)


def _interleaved(count: int, chance: random.Random) -> Iterator[StreamedEvent]:
    left = {RUN: 0, OTHER_RUN: 0}
    while left:
        place = chance.choice(list(left))
        yield an_event(place, left[place])
        left[place] += 1
        if left[place] == count:
            del left[place]
