import gc
import warnings

from aiokafka import ConsumerRecord, TopicPartition
from prometheus_client import CollectorRegistry

from contracts.event import Event
from contracts.topics import TICKS
from runtime.consumers.concurrent import ConcurrentConsumer
from runtime.kafka.codec import encode
from runtime.metrics import ConsumerMetrics
from runtime.settings import KafkaSettings
from support.consuming import a_tick
from support.polling import eventually
from support.records import InMemoryDeadLetters, a_record

ZERO = TopicPartition("ticks", 0)


async def test_a_message_that_is_dropped_before_its_first_step_leaves_no_coroutine_unawaited() -> None:
    handled: list[Event] = []

    async def handle(event: Event, _record: ConsumerRecord) -> None:
        handled.append(event)

    dead_letters = InMemoryDeadLetters()
    consumer = ConcurrentConsumer(
        KafkaSettings(kafka_bootstrap_servers="nowhere:1"),
        TICKS,
        group="collector",
        handler=handle,
        dead_letters=dead_letters,
        metrics=ConsumerMetrics(CollectorRegistry()),
    )
    consumer._commits.open()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        consumer._dispatch({ZERO: [a_record(value=encode(a_tick())[0])]})
        assert consumer.in_flight == 1
        consumer._drop_partitions({ZERO})
        await eventually(lambda: consumer.in_flight == 0)
        gc.collect()
    assert handled == []
    assert [str(each.message) for each in caught] == []
