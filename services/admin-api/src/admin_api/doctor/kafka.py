"""Checks a Kafka cluster: its address, brokers, the topics of `contracts`, and the consumer group of each service."""

import asyncio
from contextlib import AsyncExitStack

from aiokafka.errors import KafkaError

from admin_api.doctor.judging import PartitionReading, TopicReading, encryption_check, group_check, topic_check
from admin_api.doctor.kafka_brokers import broker_checks
from admin_api.doctor.results import Check, failed, ok, warning
from admin_api.services.groups import KafkaUnavailable, committed_offsets, read_groups
from admin_api.services.monitor import SERVICES
from contracts.topics import ALL_TOPICS
from runtime.kafka.client_lifecycle import close_consumer, close_in_time
from runtime.kafka.clients import build_admin, build_consumer, group_name, topic_name
from runtime.kafka.topics import ClusterReading, read_cluster, topic_configs
from runtime.settings import KafkaSettings

_TIMEOUT_SECONDS = 30.0


async def kafka_checks(settings: KafkaSettings) -> list[Check]:
    """The checks of Kafka. If the address does not answer, the result is only this one problem."""
    servers = settings.kafka_bootstrap_servers
    try:
        cluster = await read_cluster(settings, ALL_TOPICS)
    except (KafkaError, OSError, TimeoutError) as error:
        return [
            failed(
                "Kafka",
                f"{servers} does not answer: {str(error) or type(error).__name__}",
                "Check KAFKA_BOOTSTRAP_SERVERS, the network, the log of the broker, and its TLS and SASL settings.",
            )
        ]
    host = servers.split(",")[0].rpartition(":")[0]
    return [
        ok("Kafka", f"{servers} answers, {cluster.brokers} brokers"),
        encryption_check("Kafka", host, encrypted="SSL" in settings.kafka_security_protocol),
        *await broker_checks(settings),
        *_topic_checks(settings, cluster),
        *await _group_checks(settings),
    ]


def _topic_checks(settings: KafkaSettings, cluster: ClusterReading) -> list[Check]:
    checks = []
    for topic in ALL_TOPICS:
        name = topic_name(settings, topic)
        found = cluster.topics.get(name)
        reading = None if found is None else TopicReading(found.partitions, found.replicas, found.settings)
        wanted = topic_configs(topic, 1 if found is None else found.replicas)
        checks.append(topic_check(name, reading, partitions=topic.partitions, brokers=cluster.brokers, settings=wanted))
    return checks


async def _group_checks(settings: KafkaSettings) -> list[Check]:
    try:
        groups = await read_groups(settings, SERVICES)
        offsets = await _offsets(settings)
    except (KafkaUnavailable, KafkaError, OSError, TimeoutError) as error:
        return [warning("consumer groups", f"cannot be read: {error or type(error).__name__}", "Run the doctor again.")]
    return [group_check(name, groups[name], offsets[name]) for name in SERVICES]


async def _offsets(settings: KafkaSettings) -> dict[str, list[PartitionReading]]:
    """For each service: the committed offsets, and the offsets that Kafka still has."""
    async with asyncio.timeout(_TIMEOUT_SECONDS), AsyncExitStack() as stack:
        admin = build_admin(settings)
        stack.push_async_callback(close_in_time, admin.close(), "A client could not disconnect", action="doctor")
        await admin.start()
        consumer = build_consumer(settings, group="doctor", client_id="doctor", group_id=None)
        stack.push_async_callback(close_consumer, consumer)
        await consumer.start()
        found = {}
        for service in SERVICES:
            committed = await committed_offsets(admin, group_name(settings, service))
            beginnings = await consumer.beginning_offsets(list(committed))
            ends = await consumer.end_offsets(list(committed))
            found[service] = [
                PartitionReading(each.topic, offset, beginnings[each], ends[each]) for each, offset in committed.items()
            ]
        return found
