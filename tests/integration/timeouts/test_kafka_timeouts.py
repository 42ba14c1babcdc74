"""Every call to a Kafka that accepts data but never responds ends by a timeout."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from contracts.topics import ALL_TOPICS, CONFIG_CHANGES, DEAD_LETTERS, RUN_EVENTS, TICKS
from local_stack.kafka_real import RealKafka
from local_stack.ports import LOOPBACK
from log_writer.group_progress import caught_up_partitions
from runtime.consumers.commits import RebalanceSafeCommits
from runtime.consumers.retention_check import RetentionCheck
from runtime.consumers.table_positions import TablePositions
from runtime.dead_letters.reading import open_reader, open_replayer
from runtime.dead_letters.replays import Replay
from runtime.kafka.client_lifecycle import abandon_producer, close_consumer, start_consumer, start_producer
from runtime.kafka.clients import _connect, bootstrap_list, build_broker, build_consumer, topic_name
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.kafka.topics import provision, verify
from runtime.metrics import ConsumerMetrics
from runtime.process.startup import _stop_broker
from runtime.settings import KafkaSettings
from support.consuming import a_tick
from support.faults.ending import ends
from support.faults.kafka_detour import kafka_detour
from support.faults.proxy import Proxy
from support.polling import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.real_kafka]

OUTAGE_ERRORS = (KafkaError, PublishFailed, OSError)
REQUEST_SECONDS = 2.0
PUBLISH_SECONDS = 3.0
CLOSE_SECONDS = 3.0


@asynccontextmanager
async def kafka_behind_a_proxy(folder: Path) -> AsyncIterator[tuple[KafkaSettings, Proxy]]:
    async with kafka_detour() as (proxy, ports):
        kafka = await RealKafka.start(data=folder / "data", logs=folder / "logs", run=folder / "run", ports=ports)
        try:
            settings = KafkaSettings(
                kafka_bootstrap_servers=f"{LOOPBACK}:{proxy.listens_on}",
                kafka_session_timeout_ms=6_000,
                kafka_request_timeout_ms=int(REQUEST_SECONDS * 1000),
                kafka_publish_timeout_seconds=PUBLISH_SECONDS,
            )
            # Creating topics may take longer than the short request timeout of the tests.
            patient = {"kafka_bootstrap_servers": kafka.bootstrap, "kafka_request_timeout_ms": 40_000}
            await provision(settings.model_copy(update=patient))
            yield settings, proxy
        finally:
            await kafka.stop()


async def test_no_call_to_kafka_exceeds_its_timeout_in_a_black_hole(tmp_path: Path) -> None:
    async with kafka_behind_a_proxy(tmp_path) as (settings, proxy), AsyncExitStack() as stack:
        broker = build_broker(settings, "test")
        await broker.start()
        publisher = EventPublisher(broker, settings, "test")
        await publisher.publish(TICKS, a_tick())
        member, partition = await a_member(settings)
        reader = await stack.enter_async_context(open_reader(settings))
        replayer_opened = asyncio.Event()
        replaying = asyncio.create_task(replay_after_opening(settings, replayer_opened))
        await replayer_opened.wait()
        positions = TablePositions(
            tables=[topic_name(settings, CONFIG_CHANGES)],
            live=[],
            retention=RetentionCheck("x", ConsumerMetrics(CollectorRegistry())),
        )

        proxy.set_mode("black hole")
        await asyncio.gather(
            ends("publishing", publisher.publish(TICKS, a_tick()), within=PUBLISH_SECONDS, raises=OUTAGE_ERRORS),
            ends(
                "a commit",
                RebalanceSafeCommits().commit(member, {partition: (1, "")}, leaving=True),
                within=10,
                answers=False,
            ),
            ends(
                "reading the end offsets of tables",
                positions.plan_recovery(member, {0}),
                within=10,
                raises=OUTAGE_ERRORS,
            ),
            ends("checking the topics", verify(settings, ALL_TOPICS), within=30, raises=OUTAGE_ERRORS),
            ends("trying a connection", _connect(settings), within=10 + CLOSE_SECONDS),
            ends(
                "starting a consumer",
                start_a_consumer(settings),
                within=60,
                raises=OUTAGE_ERRORS,
            ),
            ends("starting a producer", start_a_producer(settings), within=60, raises=OUTAGE_ERRORS),
            ends(
                "reading the offsets of the group", caught_up_partitions(settings, "x"), within=40, raises=OUTAGE_ERRORS
            ),
            ends("reading dead letters", read_dead_letters(settings), within=30 + CLOSE_SECONDS, raises=OUTAGE_ERRORS),
            ends("replaying a dead letter", replaying, within=PUBLISH_SECONDS + CLOSE_SECONDS, raises=OUTAGE_ERRORS),
        )
        await asyncio.gather(
            ends("leaving the group", close_consumer(member), within=CLOSE_SECONDS),
            ends("stopping the broker", _stop_broker(broker), within=CLOSE_SECONDS),
            ends("closing the dead letters", stack.aclose(), within=CLOSE_SECONDS),
        )
        assert reader.unreadable == 0
        proxy.set_mode("reset")


async def test_a_wait_for_kafka_ends_when_the_process_stops(tmp_path: Path) -> None:
    async with kafka_detour() as (proxy, _):
        proxy.set_mode("black hole")
        settings = KafkaSettings(
            kafka_bootstrap_servers=f"{LOOPBACK}:{proxy.listens_on}", kafka_request_timeout_ms=1_000
        )
        stopping = asyncio.Event()
        waiting = asyncio.create_task(
            start_consumer(lambda: build_consumer(settings, group="x", client_id="x"), stopping, group="x")
        )
        await eventually(lambda: proxy.connections > 1, within=10)
        stopping.set()
        assert await asyncio.wait_for(waiting, 5) is None


async def a_member(settings: KafkaSettings) -> tuple[AIOKafkaConsumer, TopicPartition]:
    consumer = build_consumer(settings, group="tiny", client_id="tiny")
    await consumer.start()
    consumer.subscribe([topic_name(settings, RUN_EVENTS)])

    async def polled() -> bool:
        await consumer.getmany(timeout_ms=100)
        return bool(consumer.assignment())

    await eventually(polled, within=20)
    return consumer, TopicPartition(topic_name(settings, RUN_EVENTS), 0)


def a_producer(settings: KafkaSettings) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap_list(settings),
        enable_idempotence=True,
        request_timeout_ms=settings.kafka_request_timeout_ms,
    )


def a_consumer(settings: KafkaSettings) -> AIOKafkaConsumer:
    return build_consumer(settings, group="x", client_id="x")


async def read_dead_letters(settings: KafkaSettings) -> None:
    async with open_reader(settings):
        return


async def replay_after_opening(settings: KafkaSettings, opened: asyncio.Event) -> None:
    async with open_replayer(settings) as replayer:
        opened.set()
        await asyncio.sleep(0.5)  # by now Kafka does not respond any more
        topic = topic_name(settings, DEAD_LETTERS)
        await replayer.publish(Replay(topic=topic, partition=0, key=b"k", value=b"v", headers=()))


async def start_a_consumer(settings: KafkaSettings) -> None:
    consumer = a_consumer(settings)
    try:
        await consumer.start()
    finally:
        await close_consumer(consumer)


async def start_a_producer(settings: KafkaSettings) -> None:
    producer = a_producer(settings)
    try:
        await start_producer(producer)
    finally:
        await abandon_producer(producer)
