import asyncio
import dataclasses
import os
import sys
from datetime import timedelta

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from contracts.topics import ALL_TOPICS, TICKS
from local_stack.keeper import KeptKafka
from runtime.kafka.clients import topic_name
from runtime.kafka.topics import NoTopicAdministration, TopicMismatch, TopicsNotReady, provision, topic_configs, verify
from runtime.settings import KafkaSettings
from support.kafka import administration, delete_topics
from support.polling import eventually

pytestmark = pytest.mark.kafka


async def test_declared_topics_pass_and_missing_ones_are_named_with_the_command(kafka_settings: KafkaSettings) -> None:
    await verify(kafka_settings, ALL_TOPICS)
    other = dataclasses.replace(TICKS, name="tocks")
    with pytest.raises(TopicsNotReady, match=r"tocks.*python -m runtime\.kafka\.topics provision"):
        await verify(kafka_settings, (TICKS, other))


@pytest.mark.real_kafka
async def test_provisioning_twice_changes_nothing(kafka_settings: KafkaSettings) -> None:
    assert await provision(kafka_settings) == []


@pytest.mark.real_kafka
async def test_a_changed_declaration_is_applied_to_an_existing_topic(kafka_settings: KafkaSettings) -> None:
    shorter = dataclasses.replace(TICKS, retention=timedelta(hours=1))
    (done,) = await provision(kafka_settings, (shorter,))
    assert "retention.ms=3600000" in done

    async def settled() -> bool:  # brokers apply a changed configuration a moment later
        return await provision(kafka_settings, (shorter,)) == []

    await eventually(settled)


@pytest.mark.real_kafka
async def test_settings_of_a_topic_that_are_not_declared_survive_provisioning(kafka_settings: KafkaSettings) -> None:
    name = topic_name(kafka_settings, TICKS)
    set_by_operator = {"retention.bytes": "123456789", "segment.bytes": "7654321"}
    declared = topic_configs(TICKS, 1)
    async with administration(kafka_settings) as admin:
        changed = {**declared, **set_by_operator}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=changed)])

        async def settings_are(wanted: dict[str, str]) -> bool:
            (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
            found = {entry[0]: entry[1] for entry in response.resources[0][4]}
            assert {key: found[key] for key in wanted} == wanted
            return True

        await eventually(lambda: settings_are(set_by_operator))
        shorter = dataclasses.replace(TICKS, retention=timedelta(hours=1))
        (done,) = await provision(kafka_settings, (shorter,))
        assert "retention.ms=3600000" in done
        await eventually(lambda: settings_are({"retention.ms": "3600000", **set_by_operator}))


@pytest.mark.real_kafka
async def test_another_number_of_partitions_is_refused_and_nothing_is_changed(kafka_settings: KafkaSettings) -> None:
    wider = dataclasses.replace(TICKS, partitions=48, retention=timedelta(hours=1))
    new = dataclasses.replace(TICKS, name="tocks")
    with pytest.raises(TopicMismatch, match="ticks has 24 partitions where 48 are declared"):
        await provision(kafka_settings, (new, wider))
    with pytest.raises(TopicsNotReady, match="missing"):
        await verify(kafka_settings, (new,))


async def test_a_broker_without_administration_is_named_as_such(
    kafka: KeptKafka, kafka_settings: KafkaSettings
) -> None:
    if kafka.is_real:
        pytest.skip("the real Kafka has topic administration")
    with pytest.raises(NoTopicAdministration, match="its own tool"):
        await provision(kafka_settings, (dataclasses.replace(TICKS, name="tocks"),))


async def run_command(settings: KafkaSettings, *words: str, **environment: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "runtime.kafka.topics",
        *words,
        env={
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": settings.kafka_topic_prefix,
            **environment,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.real_kafka
async def test_the_command_creates_missing_topics_and_lists_them(
    kafka: KeptKafka, kafka_settings: KafkaSettings
) -> None:
    empty = kafka_settings.model_copy(update={"kafka_topic_prefix": f"{kafka_settings.kafka_topic_prefix}new."})
    code, _, err = await run_command(empty, "describe")
    assert code == 1
    assert err.startswith("TopicsNotReady: missing: ")
    assert "Traceback" not in err
    code, out, _ = await run_command(empty, "provision")
    assert code == 0
    assert out.count("created ") == len(ALL_TOPICS)
    assert (await run_command(empty, "provision"))[:2] == (0, f"All {len(ALL_TOPICS)} topics are as declared.\n")
    assert (await run_command(empty, "describe"))[0] == 0
    await delete_topics(kafka, empty)


async def test_the_command_names_a_missing_setting(kafka_settings: KafkaSettings) -> None:
    code, _, err = await run_command(kafka_settings, "provision", KAFKA_BOOTSTRAP_SERVERS="")
    assert code == 2
    assert err.startswith("KAFKA_BOOTSTRAP_SERVERS is not valid")
    assert len(err.splitlines()) == 1
