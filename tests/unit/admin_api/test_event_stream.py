"""Event streams of a feed that the test fills. Several feeds of the same messages stand for several instances."""

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
from admin_api.events.topics import PARTITIONS, Kind, Partition, StreamedEvent
from admin_api.http.errors import InvalidInput, TooManyEventStreams, TooManyRequests
from admin_api.metrics import Metrics

RUN, OTHER_RUN, EXCHANGE = ("run-events", 3), ("run-events", 4), ("exchange-health", 0)
EVERYTHING = EventFilter()


class Feed:
    """Replaces `EventFeed`. A wait for new events ends the stream, because the test has already added all events."""

    def __init__(self, buffer: EventBuffer, kafka_ends: Positions | None = None) -> None:
        """`kafka_ends` are the end offsets in Kafka; without them, Kafka has every position."""
        self.buffer = buffer
        self.is_stopping = False
        self._kafka_ends = kafka_ends

    async def kafka_reaches(self, positions: Positions) -> bool:
        ends = self._kafka_ends
        return ends is None or all(offset <= ends[partition] for partition, offset in positions.items())

    async def wait_for_new_events(self, timeout_seconds: float) -> bool:
        await asyncio.sleep(0)
        self.is_stopping = True
        return False


def an_event(partition: Partition, offset: int, **overrides: Any) -> StreamedEvent:
    values = {"kind": Kind.RUN, "exchange": "binance", "config_id": 7}
    if partition[0] == "exchange-health":
        values = {"kind": Kind.EXCHANGE, "exchange": "binance", "config_id": None}
    values |= {"timestamp_ms": 1_000 + offset, "data": f'"{partition[0]}/{partition[1]}/{offset}"'}
    return StreamedEvent(partition=partition, offset=offset, **(values | overrides))


def a_buffer(events: Sequence[StreamedEvent] = (), **limits: int) -> EventBuffer:
    buffer = EventBuffer(**limits)
    buffer.start(dict.fromkeys(PARTITIONS, 0))
    for event in events:
        buffer.add(event)
    return buffer


def streams_of(
    buffer: EventBuffer, max_streams: int = 10, max_per_caller: int = 10, kafka_ends: Positions | None = None
) -> EventStreams:
    return EventStreams(Feed(buffer, kafka_ends), Metrics(CollectorRegistry()), max_streams, max_per_caller)  # type: ignore[arg-type]


async def received(
    buffer: EventBuffer,
    last_event_id: str | None = None,
    event_filter: EventFilter = EVERYTHING,
    kafka_ends: Positions | None = None,
) -> list[ServerSentEvent]:
    with streams_of(buffer, kafka_ends=kafka_ends).admitted("me", event_filter, last_event_id) as event_stream:
        return [event async for event in event_stream.events(60)]


def datas(events: list[ServerSentEvent]) -> list[str]:
    return [event.raw_data.strip('"') for event in events if event.raw_data is not None]


def last_id(events: list[ServerSentEvent]) -> str:
    return next(event.id for event in reversed(events) if event.id is not None)


async def test_a_new_stream_starts_with_the_exchange_states_and_continues_with_new_events() -> None:
    buffer = a_buffer([an_event(EXCHANGE, 0), an_event(EXCHANGE, 1), an_event(RUN, 0)])
    first = await received(buffer)
    assert datas(first) == ["exchange-health/0/1"]
    buffer.add(an_event(RUN, 1))
    assert datas(await received(buffer, last_id(first))) == ["run-events/3/1"]


async def test_a_client_that_has_seen_all_events_receives_none_again() -> None:
    buffer = a_buffer([an_event(RUN, 0)])
    here = last_id(await received(buffer))
    again = await received(buffer, here)
    assert datas(again) == []
    assert last_id(again) == here


async def test_a_stream_sends_only_matching_events_and_its_position_includes_the_others() -> None:
    buffer = a_buffer(max_events=3)
    start = last_id(await received(buffer))
    events = [an_event(RUN, 0, config_id=1), an_event(RUN, 1, config_id=2), an_event(EXCHANGE, 0)]
    for event in events:
        buffer.add(event)
    event_filter = EventFilter(config_id=2)
    first = await received(buffer, start, event_filter)
    assert datas(first) == ["run-events/3/1"]
    for offset in range(2, 5):  # the buffer has dropped all earlier events
        buffer.add(an_event(RUN, offset, config_id=2))
    assert datas(await received(buffer, last_id(first), event_filter)) == [
        f"run-events/3/{offset}" for offset in (2, 3, 4)
    ]


@pytest.mark.parametrize(
    ("event_filter", "expected"),
    [
        (EventFilter(kinds=frozenset({Kind.EXCHANGE})), ["exchange-health/0/0"]),
        (EventFilter(exchange="kraken"), ["config-changes/0/0", "run-events/3/1"]),
        (EventFilter(exchange="kraken", config_id=9), ["run-events/3/1"]),
    ],
)
async def test_an_event_filter_selects_events(event_filter: EventFilter, expected: list[str]) -> None:
    buffer = a_buffer()
    start = last_id(await received(buffer))
    buffer.add(an_event(EXCHANGE, 0))
    buffer.add(an_event(("config-changes", 0), 0, kind=Kind.CONFIG, exchange=None, config_id=3))  # of a removed config
    buffer.add(an_event(RUN, 0))
    buffer.add(an_event(RUN, 1, exchange="kraken", config_id=9))
    assert datas(await received(buffer, start, event_filter)) == expected


async def test_a_client_that_was_disconnected_too_long_receives_a_reset() -> None:
    buffer = a_buffer(max_events=2)
    start = last_id(await received(buffer))
    for offset in range(3):
        buffer.add(an_event(RUN, offset))
    events = await received(buffer, start)
    assert [event.event for event in events if event.event] == ["reset"]
    assert datas(events) == []
    buffer.add(an_event(RUN, 3))
    assert datas(await received(buffer, last_id(events))) == ["run-events/3/3"]


async def test_the_buffer_is_bounded_by_size_and_by_number_of_events() -> None:
    buffer = a_buffer(max_characters=100)
    start = last_id(await received(buffer))
    buffer.add(replace(an_event(RUN, 0), data="x" * 101))
    assert (buffer.first_number, buffer.next_number) == (1, 1)
    assert [event.event for event in await received(buffer, start) if event.event] == ["reset"]


async def test_a_client_that_reads_too_slowly_receives_a_reset_and_the_stream_continues() -> None:
    buffer = a_buffer(max_events=250)
    start = last_id(await received(buffer))
    for offset in range(250):
        buffer.add(an_event(RUN, offset))
    events: list[ServerSentEvent] = []
    with streams_of(buffer).admitted("me", EVERYTHING, start) as event_stream:
        async for event in event_stream.events(60):
            events.append(event)
            if event.raw_data == '"run-events/3/0"':  # many events arrive while the client handles the first one
                for offset in range(250, 700):
                    buffer.add(an_event(RUN, offset))
    kinds = [event.event for event in events if event.event]
    assert kinds.count("reset") == 1
    assert kinds[-1] == "reset"


def resets(events: list[ServerSentEvent]) -> int:
    return [event.event for event in events].count("reset")


async def test_a_connected_client_receives_a_reset_when_a_topic_is_created_again() -> None:
    buffer = a_buffer([an_event(RUN, 0), an_event(RUN, 1)])
    feed = Feed(buffer)
    waits = 0

    async def new_topic(timeout_seconds: float) -> bool:
        nonlocal waits
        waits += 1
        if waits == 1:  # the client has read everything; now the topic is created again
            buffer.start(buffer.positions | {RUN: 0})
            for offset in range(3):
                buffer.add(an_event(RUN, offset, timestamp_ms=5_000 + offset))
            return True
        feed.is_stopping = True
        return False

    feed.wait_for_new_events = new_topic  # type: ignore[method-assign]
    event_streams = EventStreams(feed, Metrics(CollectorRegistry()), 1, 1)  # type: ignore[arg-type]
    with event_streams.admitted("me", EVERYTHING, None) as event_stream:
        events = [event async for event in event_stream.events(60)]
    assert resets(events) == 1
    buffer.add(an_event(RUN, 3, timestamp_ms=5_003))
    assert datas(await received(buffer, last_id(events))) == ["run-events/3/3"]


@pytest.mark.parametrize("new_events", [1, 2, 3, 4, 9])
async def test_a_returning_client_receives_a_reset_after_a_topic_was_created_again(new_events: int) -> None:
    """Also if the new topic has at least as many events as the client had seen of the earlier one."""
    buffer = a_buffer([an_event(RUN, offset) for offset in range(3)])
    before = last_id(await received(buffer))
    buffer.start(buffer.positions | {RUN: 0})
    for offset in range(new_events):
        buffer.add(an_event(RUN, offset, timestamp_ms=5_000 + offset))
    events = await received(buffer, before, kafka_ends=buffer.positions)
    assert resets(events) == 1
    buffer.add(an_event(RUN, new_events, timestamp_ms=6_000))
    assert datas(await received(buffer, last_id(events))) == [f"run-events/3/{new_events}"]


async def test_an_id_ahead_of_the_topics_leads_to_a_reset() -> None:
    buffer = a_buffer([an_event(RUN, 0)])
    forged = encode(buffer.positions | {RUN: 1_000}, 2**50)
    assert resets(await received(buffer, forged, kafka_ends=buffer.positions)) == 1


async def test_an_id_of_an_instance_that_has_read_further_is_accepted() -> None:
    ahead, behind = a_buffer([an_event(RUN, 0), an_event(RUN, 1)]), a_buffer([an_event(RUN, 0)])
    events = await received(behind, last_id(await received(ahead)), kafka_ends=ahead.positions)
    assert resets(events) == 0
    for offset in (1, 2):
        behind.add(an_event(RUN, offset))
    assert datas(await received(behind, last_id(events))) == ["run-events/3/2"]


async def test_the_number_of_streams_is_limited_and_a_closed_stream_frees_its_place() -> None:
    event_streams = streams_of(a_buffer(), max_streams=1)
    with event_streams.admitted("me", EVERYTHING, None):
        with pytest.raises(TooManyEventStreams) as refused, event_streams.admitted("you", EVERYTHING, None):
            pass
        assert refused.value.headers["Retry-After"]
    with event_streams.admitted("me", EVERYTHING, None):
        pass


async def test_a_caller_has_a_share_of_the_streams_and_gets_429_beyond_it() -> None:
    event_streams = streams_of(a_buffer(), max_streams=3, max_per_caller=2)
    with event_streams.admitted("me", EVERYTHING, None), event_streams.admitted("me", EVERYTHING, None):
        with pytest.raises(TooManyRequests, match="MAX_EVENT_STREAMS_PER_CALLER") as refused:
            event_streams.admitted("me", EVERYTHING, None).__enter__()
        assert refused.value.headers["Retry-After"]
        with event_streams.admitted("you", EVERYTHING, None), pytest.raises(TooManyEventStreams):
            event_streams.admitted("she", EVERYTHING, None).__enter__()
    assert event_streams.count == 0
    with event_streams.admitted("me", EVERYTHING, None):
        assert event_streams.count == 1


def test_a_foreign_id_is_refused_before_the_stream_begins() -> None:
    with pytest.raises(InvalidInput, match="leave it out"), streams_of(a_buffer()).admitted("me", EVERYTHING, "17"):
        pass


async def test_a_stream_waits_while_kafka_has_never_answered_and_ends_in_time() -> None:
    now = iter([0.0, 0.0, 0.0, 61.0, 61.0])
    feed = SimpleNamespace(buffer=EventBuffer(), is_stopping=False)

    async def no_events(timeout_seconds: float) -> bool:
        return False

    feed.wait_for_new_events = no_events
    with EventStreams(feed, Metrics(CollectorRegistry()), 1, 1).admitted(
        "me", EVERYTHING, None, lambda: next(now)
    ) as event_stream:
        comments = [event.comment async for event in event_stream.events(60)]
    assert comments == ["connected", "waiting for Kafka"]


@given(st.randoms(use_true_random=False), st.integers(1, 30), st.integers(1, 6))
def test_each_event_is_received_once_and_in_order_over_any_instances_and_reconnections(
    rng: random.Random, count: int, connections: int
) -> None:
    """Each instance reads the partitions in another order; a client switches between the instances meanwhile."""

    async def receive_all() -> list[str]:
        buffers = [a_buffer(), a_buffer()]
        reads = [list(_interleaved(count, rng)) for _ in buffers]
        position = last_id(await received(buffers[0]))
        data: list[str] = []
        for connection in range(connections + 1):
            for buffer, read in zip(buffers, reads, strict=True):
                amount = len(read) if connection == connections else rng.randint(0, len(read))
                for event in read[:amount]:
                    buffer.add(event)
                del read[:amount]
            events = await received(rng.choice(buffers), position)
            data += datas(events)
            position = last_id(events) if any(event.id for event in events) else position
        return data

    data = asyncio.run(receive_all())
    assert sorted(data) == sorted(
        f"run-events/{partition[1]}/{n}" for partition in (RUN, OTHER_RUN) for n in range(count)
    )
    for partition in (3, 4):
        offsets = [int(each.rsplit("/", 1)[1]) for each in data if each.startswith(f"run-events/{partition}/")]
        assert offsets == sorted(offsets)


def _interleaved(count: int, rng: random.Random) -> Iterator[StreamedEvent]:
    offsets = {RUN: 0, OTHER_RUN: 0}
    while offsets:
        partition = rng.choice(list(offsets))
        yield an_event(partition, offsets[partition])
        offsets[partition] += 1
        if offsets[partition] == count:
            del offsets[partition]
