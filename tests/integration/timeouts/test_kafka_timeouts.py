"""Kafka that takes everything and answers nothing: each call that we make comes to an end by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from faststream.asgi import AsgiFastStream

from contracts.topics import ALL_TOPICS, CONFIG_CHANGES, DEAD_LETTERS, RUN_EVENTS, TICKS
from local_stack.kafka_real import RealKafka
from local_stack.ports import LOOPBACK
from log_writer.group_progress import caught_up_partitions
from runtime.consumers.commits import RebalanceSafeCommits
from runtime.consumers.table_positions import TablePositions
from runtime.dead_letters.reading import open_reader, open_replayer
from runtime.dead_letters.replays import Replay
from runtime.kafka.client_lifecycle import close_consumer, start_consumer, start_producer
from runtime.kafka.clients import _connect, bootstrap_list, build_broker, build_consumer, topic_name
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.kafka.topics import provision, verify
from runtime.process.startup import _stop_broker
from runtime.settings import KafkaSettings
from support.consuming import a_tick
from support.faults.ending import ends
from support.faults.kafka_detour import kafka_detour
from support.faults.proxy import Proxy
from support.polling import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.real_kafka]

TROUBLE = (KafkaError, PublishFailed, OSError)
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
            await provision(settings.model_copy(update={"kafka_bootstrap_servers": kafka.bootstrap}))
            yield settings, proxy
        finally:
            await kafka.stop()


async def test_no_call_to_kafka_outlasts_its_limit_in_a_black_hole(tmp_path: Path) -> None:
    async with kafka_behind_a_proxy(tmp_path) as (settings, proxy), AsyncExitStack() as stack:
        broker = build_broker(settings, "test")
        await broker.start()
        publisher = EventPublisher(broker, settings, "test")
        await publisher.publish(TICKS, a_tick())
        member, place = await a_member(settings)
        shelf = await stack.enter_async_context(open_reader(settings))
        replayer_opened = asyncio.Event()
        replaying = asyncio.create_task(replay_when_told(settings, replayer_opened))
        await replayer_opened.wait()
        positions = TablePositions(tables=[topic_name(settings, CONFIG_CHANGES)], live=[])
        app = AsgiFastStream(broker, logger=None)

        proxy.be("black hole")
        await asyncio.gather(
            ends("publishing", publisher.publish(TICKS, a_tick()), within=PUBLISH_SECONDS, raises=TROUBLE),
            ends(
                "a commit",
                RebalanceSafeCommits().commit(member, {place: (1, "")}, leaving=True),
                within=10,
                answers=False,
            ),
            ends("asking where tables end", positions.survey(member, {0}), within=10, raises=TROUBLE),
            ends("looking for topics", verify(settings, ALL_TOPICS), within=30, raises=TROUBLE),
            ends("connecting", _connect(settings), within=10 + CLOSE_SECONDS),
            ends(
                "starting a consumer",
                build_consumer(settings, group="x", client_id="x").start(),
                within=60,
                raises=TROUBLE,
            ),
            ends("starting a producer", start_producer(a_producer(settings)), within=60, raises=TROUBLE),
            ends("how far the group is", caught_up_partitions(settings, "x"), within=40, raises=TROUBLE),
            ends("reading dead letters", shelf_of(settings), within=30 + CLOSE_SECONDS, raises=TROUBLE),
            ends("replaying a dead letter", replaying, within=PUBLISH_SECONDS + CLOSE_SECONDS, raises=TROUBLE),
        )
        await asyncio.gather(
            ends("leaving the group", close_consumer(member), within=CLOSE_SECONDS),
            ends("stopping the broker", _stop_broker(app), within=CLOSE_SECONDS),
            ends("closing the dead letters", stack.aclose(), within=CLOSE_SECONDS),
        )
        assert shelf.unreadable == 0
        proxy.be("reset")


async def test_who_waits_for_kafka_can_be_told_to_stop(tmp_path: Path) -> None:
    async with kafka_detour() as (proxy, _):
        proxy.be("black hole")
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


async def shelf_of(settings: KafkaSettings) -> None:
    async with open_reader(settings):
        return


async def replay_when_told(settings: KafkaSettings, opened: asyncio.Event) -> None:
    async with open_replayer(settings) as replayer:
        opened.set()
        await asyncio.sleep(0.5)  # into the black hole
        topic = topic_name(settings, DEAD_LETTERS)
        await replayer.publish(Replay(topic=topic, partition=0, key=b"k", value=b"v", headers=()))
