import asyncio
import gc
import warnings
from functools import partial

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from prometheus_client import CollectorRegistry

from contracts.event import Event
from contracts.ticks import TickDue
from contracts.topics import TICKS
from runtime.consumers.attempts import Handler
from runtime.consumers.concurrent import ConcurrentConsumer
from runtime.consumers.limits import InFlightLimits
from runtime.consumers.superseding import Superseding
from runtime.kafka.codec import encode
from runtime.metrics import ConsumerMetrics
from runtime.settings import KafkaSettings
from support.consuming import a_tick, number_of
from support.polling import eventually
from support.records import InMemoryDeadLetters, a_record

ZERO = TopicPartition("ticks", 0)


def consumer_of(
    handler: Handler, limits: InFlightLimits | None = None, superseding: Superseding | None = None
) -> ConcurrentConsumer:
    """A consumer without Kafka. Give it records with `_dispatch`."""
    consumer = ConcurrentConsumer(
        KafkaSettings(kafka_bootstrap_servers="nowhere:1"),
        TICKS,
        group="collector",
        handler=handler,
        dead_letters=InMemoryDeadLetters(),
        metrics=ConsumerMetrics(CollectorRegistry()),
        limits=limits,
        superseding=superseding,
    )
    consumer._commits.open()
    return consumer


async def test_a_message_that_is_dropped_before_its_first_step_leaves_no_coroutine_unawaited() -> None:
    handled: list[Event] = []

    async def handle(event: Event, _record: ConsumerRecord) -> None:
        handled.append(event)

    consumer = consumer_of(handle)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        consumer._dispatch({ZERO: [a_record(value=encode(a_tick())[0])]})
        assert consumer.in_flight == 1
        consumer._drop_partitions({ZERO})
        await eventually(lambda: consumer.in_flight == 0)
        gc.collect()
    assert handled == []
    assert [str(each.message) for each in caught] == []


def has_length(values: list[int], expected: int) -> bool:
    return len(values) == expected


async def test_what_a_dead_lane_keeps_in_memory_is_bounded_by_keys_and_delays_no_other_lane() -> None:
    """A thousand keys get a message each minute, and none of them is handled. Another lane shares the partition."""
    keys, minutes, offset = 1000, 12, 0
    healthy: list[int] = []
    reported: list[int] = []

    async def handle(event: Event, _record: ConsumerRecord) -> None:
        if event.key() == "dead":
            await asyncio.Event().wait()
        healthy.append(number_of(event))

    async def report(event: Event, _newer: Event) -> None:
        reported.append(number_of(event))

    rules = Superseding(key=number_of, is_newer=lambda _event, _than: True, report=report)
    limits = InFlightLimits(in_flight=10, per_lane=5, reserved_per_lane=2)
    consumer = consumer_of(handle, limits, rules)

    async def read(ticks: list[TickDue]) -> None:
        nonlocal offset
        for tick in ticks:
            consumer._dispatch({ZERO: [a_record(offset=offset, key=tick.lane.encode(), value=encode(tick)[0])]})
            offset += 1
            await asyncio.sleep(0)

    for minute in range(1, minutes + 1):
        ticks = [a_tick(number, lane="dead") for number in range(1, keys + 1)]
        await read([*ticks, a_tick(minute, lane="healthy")])
        await eventually(partial(has_length, healthy, minute), within=1)
        await eventually(lambda: consumer.in_flight == limits.per_lane)
        assert len(consumer._lanes) <= keys
        assert consumer._trackers[ZERO].unfinished <= keys + limits.per_lane
        assert consumer._capacity_of(ZERO) > 0
    assert len(reported) == keys * minutes - len(consumer._lanes) - limits.per_lane
    assert healthy == [*range(1, minutes + 1)]
    await consumer.stop()
    await consumer._messages.cancel_all()


@pytest.mark.parametrize("unreadable", [True, False], ids=["dead letters", "reports"])
async def test_nothing_is_read_while_too_many_reports_are_not_acknowledged(*, unreadable: bool) -> None:
    acknowledged = asyncio.Event()

    async def wait(*_: object) -> None:
        await acknowledged.wait()

    rules = Superseding(key=number_of, is_newer=lambda _event, _than: True, report=wait)
    consumer = consumer_of(wait, InFlightLimits(in_flight=1, per_lane=1, max_reports=3), rules)
    consumer._dead_letters._publish = wait  # type: ignore[method-assign,assignment]
    for offset in range(5):
        value = b"{" if unreadable and offset > 1 else encode(a_tick())[0]
        consumer._dispatch({ZERO: [a_record(offset=offset, value=value)]})
    assert consumer._capacity_of(ZERO) == 0
    acknowledged.set()
    await eventually(lambda: consumer.in_flight == 0)
    assert consumer._capacity_of(ZERO) > 0
    assert (consumer._trackers[ZERO].unfinished, consumer._trackers[ZERO].watermark) == (0, 5)
